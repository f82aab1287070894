"""Texts in row groups: read some at a time, each once, resumed exactly, the same as in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright import LabwrightError
from labwright_nlp.data.parquet_texts import ParquetTexts, Rows
from labwright_nlp.data.text_files import TextFiles
from labwright_tasks.classification import Classification
from labwright_tasks.fold_data import Fold
from labwright_tasks.row_groups import RowGroups
from labwright_testing.verify_resume import verify_resume

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NAMES = ("apple", "pear", "plum")


def rows_of(count: int, name: str = "") -> list[tuple[str, Any]]:
    return [(f"number {number} of {name} is a ripe {NAMES[number % 3]}", NAMES[number % 3]) for number in range(count)]


def write(path: Path, rows: Sequence[tuple[str, Any]], size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts, labels = zip(*rows, strict=True)
    parquet.write_table(pyarrow.table({"text": texts, "label": labels}), path, row_group_size=size)
    return path


def prepared(path: Path, **settings: Any) -> ParquetTexts:
    data = ParquetTexts(path=path, **settings)
    data.prepare()
    return data


def samples(split: Any) -> list[tuple[list[int], int]]:
    batch = split.fetch(torch.arange(len(split)), 0, 0)
    rows = zip(batch.inputs[0].tolist(), batch.inputs[1].tolist(), batch.targets.tolist(), strict=True)
    return [(ids[:length], label) for ids, length, label in rows]


@pytest.mark.parametrize("kind", ["word", "char", "byte"])
def test_samples_are_those_that_the_same_files_have_in_memory(tmp_path: Path, kind: Any) -> None:
    for part, count in (("train", 60), ("valid", 20), ("test", 25)):
        write(tmp_path / f"{part}.parquet", rows_of(count, part), 7)
    ours = prepared(tmp_path, tokenizer=kind)
    theirs = TextFiles(path=tmp_path, tokenizer=kind)
    theirs.prepare()
    assert ours.ports() == theirs.ports()
    for part in ("train", "valid", "test"):
        assert samples(ours.split(part)) == samples(theirs.split(part))
        assert torch.equal(ours.split(part).labels, theirs.split(part).labels)  # type: ignore[union-attr]


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    group=st.integers(1, 20),
    window=st.integers(1, 5),
    size=st.integers(1, 30),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_an_epoch_has_each_row_once_and_reads_each_row_group_once_or_at_a_seam_again(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], group: int, window: int, size: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    for number, count in enumerate(sizes):
        write(folder / f"train-{number}.parquet", rows_of(count + 3, str(number)), group)
    data = ParquetTexts(path=folder, valid=0.0, window=window, tokenizer="byte")
    task = Classification(data)
    task.prepare()
    split = data._splits["train"]
    reads: list[int] = []
    before = Rows.texts
    texts, batches = [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rows, "texts", lambda rows: reads.append(rows.number) or before(rows))
        for batch in task.batches("train", size=size, seed=seed, epoch=2) or ():
            texts += data.show(batch.inputs)
            batches += 1
    assert sorted(texts) == sorted(text for n, count in enumerate(sizes) for text, _ in rows_of(count + 3, str(n)))
    windows = -(-len(split.row_groups) // window)  # type: ignore[attr-defined]
    seams = min(windows - 1, batches)
    assert len(reads) <= len(split.row_groups) + 2 * window * seams  # type: ignore[attr-defined]
    assert len(split._texts) <= window  # type: ignore[attr-defined]


def test_row_groups_are_held_out_evenly_over_the_files(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", rows_of(100, "a"), 10)
    write(tmp_path / "train-1.parquet", rows_of(100, "b"), 10)
    data = prepared(tmp_path, valid=0.1, test=0.2)
    groups = {
        part: [(one.file.path.name, one.number) for one in data._splits[part].row_groups] for part in data._splits
    }  # type: ignore[attr-defined]
    assert len(groups["test"]) == 4 and len(groups["valid"]) == 2 and len(groups["train"]) == 14
    assert not set(groups["train"]) & {*groups["test"], *groups["valid"]}
    assert (
        {name for name, _ in groups["test"]}
        == {name for name, _ in groups["valid"]}
        == {
            "train-0.parquet",
            "train-1.parquet",
        }
    )


def test_rows_without_a_label_are_left_out_and_said(tmp_path: Path) -> None:
    rows = [(text, None if number % 4 == 1 else label) for number, (text, label) in enumerate(rows_of(40))]
    data = prepared(write(tmp_path / "texts.parquet", rows, 10), valid=0.0, tokenizer="byte")
    split = data.split("train")
    assert split is not None and len(split) == 30
    shown = data.show(split.fetch(torch.arange(30), 0, 0).inputs)
    assert shown == [text for text, label in rows if label]
    assert [(part.count, part.why) for part in data.left_out()] == [(10, "no label, in train")]


def test_a_tokenizer_is_learned_from_as_many_texts_as_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "texts.parquet", rows_of(1000), 10)
    few, all_of_them = (prepared(path, valid=0.0, learn_from=count) for count in (30, 1000))
    assert few.tokens is not None and all_of_them.tokens is not None
    assert few.tokens.size < 60 < 1000 < all_of_them.tokens.size


def test_a_tokenizer_is_learned_from_row_groups_evenly_over_the_part(tmp_path: Path) -> None:
    rows = [(f"group{number // 10}", NAMES[number % 3]) for number in range(190)]
    path = write(tmp_path / "texts.parquet", rows, 10)
    data = prepared(path, valid=0.0, learn_from=100)  # ten of 19 row groups
    assert data.tokens is not None
    known = [number for number in range(19) if data.tokens.encode([f"group{number}"])[0][0] != data.tokens.unknown]
    assert known == [number * 19 // 10 for number in range(10)]
    data.refit({"train": torch.arange(190)})
    assert all(int(ids[0]) != data.tokens.unknown for ids in data.tokens.encode(["group0", "group18"]))


def experiment(path: Path, workers: int) -> lw.Experiment:
    return lw.Experiment(
        task={"name": "classification", "data": {"name": "nlp/parquet", "path": str(path), "window": 2}},
        model={"name": "nlp/bag", "width": 8},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 1e-2},
        device={"name": "cpu", "threads": 1, "workers": workers},
        train={"epochs": 3, "batch_size": 16, "seed": 1, "evaluate_every": "3 steps"},
        log=[],
    )


@pytest.mark.long
def test_a_resumed_run_is_the_uninterrupted_one_and_workers_change_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "texts.parquet", rows_of(200), 10)
    verdict = verify_resume(experiment(path, 2), 17)
    assert verdict.exact and verdict.stopped_at == 17
    runs = [experiment(path, workers).run(tmp_path / str(workers)) for workers in (0, 1)]
    assert runs[0].metrics == runs[1].metrics


def test_files_are_told_apart_by_labels_and_by_what_their_footers_say(tmp_path: Path) -> None:
    before = prepared(write(tmp_path / "a" / "t.parquet", rows_of(100), 10)).identity("train")
    assert prepared(write(tmp_path / "b" / "t.parquet", rows_of(100), 10)).identity("train") == before
    assert prepared(write(tmp_path / "c" / "t.parquet", rows_of(100, "more"), 10)).identity("train") != before
    assert prepared(write(tmp_path / "d" / "t.parquet", [*rows_of(99), ("", "pear")], 10)).identity("train") != before


def test_what_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "texts.parquet", rows_of(40), 40)
    with pytest.raises(LabwrightError, match=r"task.data.valid: 0.1 of 1 row groups are 0, .*row_group_size"):
        prepared(path)
    with pytest.raises(LabwrightError, match="there is no column 'txt'; did you mean 'text'"):
        prepared(path, text="txt")
    with pytest.raises(LabwrightError, match="there is no file or folder"):
        prepared(tmp_path / "nowhere")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(LabwrightError, match=r"torn.parquet can't be read as Parquet"):
        prepared(tmp_path / "torn.parquet")
    write(tmp_path / "parts" / "train.parquet", rows_of(40), 10)
    write(tmp_path / "parts" / "valid.parquet", [("a text", "quince")], 10)
    with pytest.raises(LabwrightError, match=r"valid.parquet, row 1: no training text has the label 'quince'"):
        prepared(tmp_path / "parts")


def test_a_row_group_is_read_alone_and_its_rows_are_counted_from_the_file_s_first(tmp_path: Path) -> None:
    groups = RowGroups(write(tmp_path / "t.parquet", rows_of(25), 10), {"text": "text"})
    assert groups.rows == [10, 10, 5]
    assert groups.cells(1, "text") == [text for text, _ in rows_of(25)[10:20]]
    assert groups.where(2, 4) == f"{tmp_path / 't.parquet'}, row 25"


def visits(path: Path, size: int = 7) -> Path:
    """80 texts of 12 authors, a day after the other in an order of their own, every ninth without a label."""
    columns = {
        "text": [f"text {number}" for number in range(80)],
        "label": [None if number % 9 == 0 else NAMES[number % 3] for number in range(80)],
        "sure": [number / 4 for number in range(80)],
        "author": [f"a{number % 12}" for number in range(80)],
        "day": [f"2024-{1 + number * 7 % 80 // 28:02d}-{1 + number * 7 % 80 % 28:02d}" for number in range(80)],
    }
    parquet.write_table(pyarrow.table(columns), path, row_group_size=size)
    return path


def numbers(data: ParquetTexts | Fold, part: str) -> list[int]:
    """The numbers of a part's texts."""
    split = data.split(part)
    assert split is not None
    return [int(text.split()[1]) for text in data.show(split.fetch(torch.arange(len(split)), 0, 0).inputs)]  # type: ignore[union-attr]


def test_each_text_has_the_weight_the_group_and_the_time_of_its_row(tmp_path: Path) -> None:
    settings = {"weight": "sure", "group": "author", "time": "day", "tokenizer": "byte", "valid": 0.0}
    data = prepared(visits(tmp_path / "t.parquet"), **settings)
    theirs = TextFiles(path=tmp_path / "t.parquet", test=0.0, **settings)  # type: ignore[arg-type]
    theirs.prepare()
    train, other, rows = data.split("train"), theirs.split("train"), numbers(data, "train")
    assert train is not None and rows == [number for number in range(80) if number % 9]
    picked = torch.tensor([3, 0, 60])
    assert train.fetch(picked, 0, 0).weights.tolist() == [rows[place] / 4 for place in picked]  # type: ignore[attr-defined]
    assert train.weights.tolist() == [number / 4 for number in rows]  # type: ignore[attr-defined]
    for known in ("groups", "times"):
        assert torch.equal(getattr(train, known), getattr(other, known))
    assert "rows weigh 0.25 to 19.75 in the loss, by 'sure'; metrics count each row alike." in data.remarks()
    assert data.identity("train") != prepared(tmp_path / "t.parquet", tokenizer="byte", valid=0.0).identity("train")


def test_groups_and_what_is_later_are_held_out_wherever_their_rows_lie(tmp_path: Path) -> None:
    path = visits(tmp_path / "t.parquet")
    data = prepared(path, group="author", valid=0.25, test=0.25, tokenizer="byte")
    parts = {part: numbers(data, part) for part in ("train", "valid", "test")}
    authors = {part: {number % 12 for number in rows} for part, rows in parts.items()}
    assert sum(map(len, authors.values())) == 12 and all(len(some) >= 2 for some in authors.values())
    assert sorted(number for rows in parts.values() for number in rows) == [n for n in range(80) if n % 9]
    assert [(part.count, part.why) for part in data.left_out()] == [(9, "no label, in train")]

    data = prepared(path, time="day", valid=0.2, test=0.2, tokenizer="byte")
    days = {part: sorted(number * 7 % 80 for number in numbers(data, part)) for part in ("train", "valid", "test")}
    assert days["train"][-1] < days["valid"][0] <= days["valid"][-1] < days["test"][0]
    assert [len(days[part]) for part in ("train", "valid", "test")] == [43, 14, 14]  # 0.2 of 71 rows with a label
    fold = Fold(ParquetTexts(path=path, time="day", valid=0.0, tokenizer="byte"), number=2, of=3)
    fold.prepare()
    assert max(n * 7 % 80 for n in numbers(fold, "train")) < min(n * 7 % 80 for n in numbers(fold, "test"))


def test_a_vocabulary_knows_nothing_of_rows_that_are_held_out(tmp_path: Path) -> None:
    data = prepared(visits(tmp_path / "t.parquet"), group="author", valid=0.25)
    valid = data.split("valid")
    assert valid is not None
    assert set(data.show(valid.fetch(torch.arange(len(valid)), 0, 0).inputs)) == {"text <unk>"}


def test_a_row_that_has_no_weight_group_or_time_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = {"text": ["a", "b", "c"], "label": ["x", "y", "x"], "w": [1.0, 2.0, -1.0], "g": ["p", "q", None]}
    parquet.write_table(pyarrow.table(table | {"t": ["2024-01-01", "2024-01-02", "soon"]}), path, row_group_size=2)
    for setting, words in (
        ("weight", r"t\.parquet, row 3: the weight is '-1'"),
        ("group", r"t\.parquet, row 3: task\.data\.group: the row has no group"),
        ("time", r"t\.parquet, row 3: the time is 'soon'"),
    ):
        with pytest.raises(LabwrightError, match=words):
            prepared(path, valid=0.0, **{setting: setting[0]})
