"""What was read is said, kept beside the run, and compared with what is read later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.data.summary import DataSummary, read_summary, summarised
from parts import Blobs, sorting

FEW = {"epochs": 1, "batch_size": 15}


class Told(Blobs):
    """Says what it left out, and what its samples are."""

    def __init__(self, *, size: int = 90, names: str = "one") -> None:
        super().__init__(size=size, held_out=30)
        self.names = names

    def left_out(self) -> Sequence[lw.LeftOut]:
        return [lw.LeftOut(10, "files", ".jfif"), lw.LeftOut(1, "row", "no label")]

    def remarks(self) -> Sequence[str]:
        return ["44 % of the texts are cut: set task.data.length."]

    def identity(self, split: str) -> Iterable[str]:
        return (f"{self.names}-{split}-{number}" for number in range(len(self.splits[split])))


class Labelled(Blobs):
    """In memory, with labels that are known without fetching."""

    def __init__(self, *, rare: int = 30) -> None:
        super().__init__(held_out=30)
        self.rare = rare

    def prepare(self) -> None:
        super().prepare()
        labels = torch.zeros(90, dtype=torch.int64)
        labels[: self.rare] = torch.arange(self.rare) % 2 + 1
        self.parts = {"train": lw.TensorSplit((self.splits["train"].x_ND,), labels)}

    def split(self, name: str) -> Any:
        return self.parts.get(name)


def summary(data: lw.Data) -> DataSummary:
    data.prepare()
    return summarised(data)


def test_the_line_counts_samples_classes_and_what_was_left_out() -> None:
    assert summary(Told()).line() == "train 90, valid 30, test 30; 10 files left out: .jfif; 1 row left out: no label"
    assert summary(Labelled()).line() == "train 90; 3 classes (a 60, b 15, c 15)"


def test_many_classes_are_counted_and_not_all_named() -> None:
    names = [f"c{number}" for number in range(30)]
    many = DataSummary({"train": 3000}, {"train": dict.fromkeys(names, 100)})
    assert many.line() == "train 3,000; 30 classes (c0 100, c1 100, c2 100, c3 100, c4 100, ...)"


def test_nearly_all_samples_of_one_class_is_said() -> None:
    assert not summary(Labelled()).remarks
    (remark,) = summary(Labelled(rare=3)).remarks
    assert remark.startswith("96.7% of the training samples are of class 'a'")


def test_it_says_the_same_after_it_was_kept(tmp_path: Path) -> None:
    told = summary(Told())
    told.write(tmp_path)
    assert json.loads((tmp_path / "read.json").read_text())["samples"] == told.samples
    assert not told.differences(read_summary(tmp_path) or {})
    assert read_summary(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Told(size=80), ["train had 90 samples and has 80"]),
        (
            Told(names="two"),
            [f"{split} holds other samples, as many as before" for split in ("train", "valid", "test")],
        ),
    ],
    ids=["other lengths", "other names"],
)
def test_other_data_is_told_from_what_was_read(tmp_path: Path, other: lw.Data, said: list[str]) -> None:
    summary(Told()).write(tmp_path)
    now = summary(other)
    assert now.differences(read_summary(tmp_path) or {}) == said
    assert now.differences(read_summary(tmp_path) or {}, ["test"]) == [one for one in said if one.startswith("test")]


def test_samples_in_memory_are_told_apart_by_their_values(tmp_path: Path) -> None:
    data = Labelled()
    summary(data).write(tmp_path)
    data.parts["train"].inputs[0][50, 1] += 1e-3
    assert summarised(data).differences(read_summary(tmp_path) or {}) == [
        "train holds other samples, as many as before"
    ]


def test_a_run_says_it_keeps_it_and_tells_listeners(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sorting(Told(), train=FEW, log=["progress"]).run(tmp_path / "run")
    said = capsys.readouterr().err
    assert "data: train 90, valid 30, test 30; 10 files left out: .jfif; 1 row left out: no label\n" in said
    assert "note: 44 % of the texts are cut: set task.data.length.\n" in said
    assert run.data is not None and run.data.samples["train"] == 90
    outcome = json.loads((tmp_path / "run/outcome.json").read_text())
    assert outcome["notes"] == ["44 % of the texts are cut: set task.data.length."]
    assert outcome["data"]["left_out"][0] == {"count": 10, "what": "files", "why": ".jfif"}


def test_what_a_task_learned_anew_is_compared_always(tmp_path: Path) -> None:
    class Learns(Blobs):
        def __init__(self, *, word: str = "a") -> None:
            super().__init__()
            self.word = word

        def save(self, folder: Path) -> None:
            (folder / "words.json").write_text(json.dumps([self.word]))

    sorting(Learns(), train=FEW).trainer(tmp_path / "run").fit(until=2)
    with pytest.raises(lw.LabwrightError, match=r"learns something else of this data .*words\.json"):
        sorting(Learns(word="b"), train=FEW).resumed(tmp_path / "run", other_data=True)
