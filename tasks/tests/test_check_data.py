"""What check-data finds: faults put into data, each by the check that is for it, and nothing in sound data."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from labwright import (
    Audio,
    Batch,
    Classes,
    Data,
    Features,
    Finding,
    Image,
    LabwrightError,
    Pictures,
    Port,
    Table,
    Tokens,
    Values,
)
from labwright_tasks.checking.look import Look, look
from labwright_tasks.checking.page import parts
from torch import Tensor

Parts = dict[str, tuple[tuple[Tensor, ...], Tensor]]


class Part:
    def __init__(self, inputs: tuple[Tensor, ...], targets: Tensor, torn: frozenset[int] = frozenset()) -> None:
        self.inputs, self.targets, self.torn = inputs, targets, torn

    def __len__(self) -> int:
        return len(self.targets)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        if self.torn & set(indices.tolist()):
            raise OSError("the file is torn")
        return Batch(tuple(tensor[indices] for tensor in self.inputs), self.targets[indices])


class Given(Data):
    item, target = Port, Port
    source, licence = "made up", "CC0"

    def __init__(self, port: Port, target: Port, parts: Parts, torn: dict[str, frozenset[int]] | None = None) -> None:
        self.offered, self.parts, self.torn = (port, target), parts, torn or {}

    def prepare(self) -> None: ...

    def ports(self) -> tuple[Port, Port]:
        return self.offered

    def split(self, name: str) -> Part | None:
        return Part(*self.parts[name], self.torn.get(name, frozenset())) if name in self.parts else None


def blobs(count: int, seed: int, classes: int = 3, spread: float = 0.3) -> tuple[tuple[Tensor], Tensor]:
    """Points around corners of a square, 4 features."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.eye(4)[:classes]
    return (centres[labels] + spread * torch.randn(count, 4, generator=generator),), labels


def found(data: Data, **options: Any) -> Look:
    return look(data, **({"most": 10_000, "seed": 0} | options), say=lambda line: None)


def of(look: Look, check: str) -> list[Finding]:
    return [finding for finding in look.findings if finding.check == check]


@pytest.fixture
def points() -> Callable[..., Given]:
    def make(**parts: tuple[tuple[Tensor, ...], Tensor]) -> Given:
        usual = {"train": blobs(150, 0), "test": blobs(60, 1)}
        return Given(Features((4,)), Classes(("a", "b", "c")), usual | parts)

    return make


def test_nothing_is_found_in_sound_data(points):
    result = found(points())
    assert result.findings == []
    assert result.sizes == {"train": 150, "test": 60}
    assert result.classes["train"] == {"a": 50, "b": 50, "c": 50}
    assert result.skipped == {}


def test_copies_across_parts_are_wrong_and_within_a_part_only_odd(points):
    (x,), y = blobs(60, 1)
    (train,), _ = blobs(150, 0)
    x[[3, 8]] = train[[0, 8]]  # of the same classes
    x[11] = x[5]
    y[11] = y[5]
    across, within = of(found(points(test=((x,), y))), "duplicates")
    assert across.wrong and across.samples == (("test", 3), ("test", 8))
    assert across.details == ("the same as train 0", "the same as train 8")
    assert "2 of 60 samples of test" in across.sentence
    assert not within.wrong and within.samples == (("test", 11),)


def test_the_same_sample_under_two_labels_is_wrong(points):
    (x,), y = blobs(150, 0)
    x[1] = x[0]
    torn = next(finding for finding in of(found(points(train=((x,), y))), "duplicates") if finding.wrong)
    assert torn.samples == (("train", 0), ("train", 1))
    assert torn.details == ("labelled 'a'", "labelled 'b'")


def test_a_class_nothing_is_learned_of_is_wrong_and_a_rare_one_odd(points):
    (x,), y = blobs(150, 0)
    kept = (y != 2).nonzero()[:, 0]
    (missing,) = [one for one in of(found(points(train=((x[kept],), y[kept]))), "balance") if one.wrong]
    assert missing.sentence == "train has no sample of c: it can't be learned."
    few = torch.cat([kept, (y == 2).nonzero()[:4, 0]])
    sentences = [one.sentence for one in of(found(points(train=((x[few],), y[few]))), "balance")]
    assert sentences[0] == "classes of fewer than 10 training samples: c 4."
    assert "12 times as many training samples as 'c'" in sentences[1]


def test_wrong_labels_are_found(points):
    (x,), y = blobs(150, 0, spread=0.15)
    y = y.clone()
    y[[5, 20, 77, 101]] = (y[[5, 20, 77, 101]] + 1) % 3
    (doubt,) = of(found(points(train=((x,), y))), "labels")
    assert set(doubt.samples) == {("train", index) for index in (5, 20, 77, 101)}
    assert doubt.wrong  # 4 of 210
    assert doubt.details[0].startswith("labelled ")


def test_labels_of_tiny_classes_are_not_judged(points):
    (x,), y = blobs(150, 0)
    y = torch.where(torch.arange(150) == 4, 2, y % 2)  # one sample of c
    (x2,), y2 = blobs(60, 1)
    result = found(points(train=((x,), y), test=((x2,), y2 % 2)))
    assert all(("train", 4) not in finding.samples for finding in of(result, "labels"))


def test_a_sample_far_from_all_others_is_named(points):
    (x,), y = blobs(150, 0)
    x[17] = 40.0
    far = of(found(points(train=((x,), y))), "outliers")[0]
    assert far.samples[0] == ("train", 17)
    assert not far.wrong


def test_parts_that_differ_are_told(points):
    (x,), y = blobs(120, 1)
    moved, mixed = found(points(test=((x + 0.6,), y))), found(points(test=((x[y == 0],), y[y == 0])))
    assert any("can be told from those of train" in finding.sentence for finding in of(moved, "drift"))
    # all 40 are of the first class of three: two thirds would have to be of another one
    assert any("67% of the samples" in finding.sentence for finding in of(mixed, "drift"))


def test_what_cannot_be_fetched_is_named_with_its_reason_and_the_rest_is_looked_at():
    data = Given(
        Features((4,)), Classes(("a", "b", "c")), {"train": blobs(150, 0)}, torn={"train": frozenset({3, 140})}
    )
    result = found(data)
    (torn,) = of(result, "damaged")
    assert torn.wrong and torn.samples == (("train", 3), ("train", 140))
    assert torn.details == ("the file is torn.",) * 2
    assert sum(result.classes["train"].values()) == 148


def test_values_that_are_no_numbers_are_wrong(points):
    (x,), y = blobs(150, 0)
    x[4, 2], x[9, 0] = torch.nan, torch.inf
    (bad,) = of(found(points(train=((x,), y))), "damaged")
    assert bad.wrong and bad.samples == (("train", 4), ("train", 9))


def test_pictures_of_one_colour_are_wrong():
    x = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x[7] = torch.tensor([0.1, 0.5, 0.9])[:, None, None]  # each channel has its value
    data = Given(Image(3, 8, 8), Classes(("a", "b")), {"train": ((x,), torch.arange(60) % 2)})
    (flat,) = of(found(data), "damaged")
    assert flat.wrong and flat.samples == (("train", 7),)
    assert "of one colour" in flat.sentence


def test_pictures_that_are_nearly_the_same_are_told_before_those_of_one_part():
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(90, 3, 4, 4, generator=generator), size=16, mode="bicubic")
    train, test = x[:60], x[60:].clone()
    train[7] = train[3] + 0.01 * torch.randn(3, 16, 16, generator=generator)
    test[5] = train[20] + 0.01 * torch.randn(3, 16, 16, generator=generator)
    labels = torch.arange(60) % 2
    parts = {"train": ((train,), labels), "test": ((test,), labels[:30])}
    (near,) = of(found(Given(Image(3, 16, 16), Classes(("a", "b")), parts)), "duplicates")
    assert near.samples == (("test", 5), ("train", 7)) and not near.wrong
    assert near.details == ("nearly the same as train 20", "nearly the same as train 3")
    assert "2 samples are nearly the same as another, 1 of them in another part" in near.sentence


def test_recordings_that_are_silent_clipped_or_short_are_told_apart():
    x = 0.3 * torch.randn(40, 1600, generator=torch.Generator().manual_seed(0)).clamp(-3, 3)
    lengths = torch.full((40,), 1600)
    x[3], x[5] = 0.0, x[5].sign()
    lengths[8] = 200
    x[8, 200:] = 1.0  # what it is filled up with isn't looked at
    data = Given(Audio(8000, 1600), Classes(("a", "b")), {"train": ((x, lengths), torch.arange(40) % 2)})
    told = {finding.sentence.split(" (")[0]: finding for finding in of(found(data), "damaged")}
    assert told["1 recordings that are silent"].samples == (("train", 3),)
    assert told["1 recordings that are silent"].wrong
    assert told["1 recordings that are clipped"].samples == (("train", 5),)
    assert told["1 recordings shorter than 0.1 s."].samples == (("train", 8),)


def test_texts_of_other_lengths_are_compared_without_their_padding():
    ids = torch.tensor([[4, 5, 6, 0], [4, 5, 6, 0], [4, 5, 6, 6], [7, 0, 0, 0]])
    longer = torch.nn.functional.pad(ids[:1], (0, 3))
    data = Given(
        Tokens(9, 7),
        Classes(("a", "b")),
        {
            "train": ((ids, torch.tensor([3, 3, 4, 1])), torch.tensor([0, 0, 1, 1])),
            "test": ((longer, torch.tensor([3])), torch.tensor([0])),
        },
    )
    result = found(data)
    across, within = of(result, "duplicates")
    assert across.samples == (("test", 0),) and within.samples == (("train", 1),)
    assert of(result, "damaged")[0].sentence == "1 texts of a single token."
    assert "outliers" in result.skipped


def test_targets_that_are_no_classes_skip_what_needs_labels(points):
    (x,), _ = blobs(150, 0)
    result = found(Given(Features((4,)), Values(1), {"train": ((x,), x[:, :1])}))
    assert set(result.skipped) == {"balance", "labels"}
    assert "Values" in result.skipped["labels"]


def test_of_much_data_a_share_is_looked_at_and_said(points):
    result = found(points(train=blobs(1500, 0), test=blobs(300, 1)), most=600)
    assert result.looked_at == 600
    assert any("600 of 1,800 samples are looked at" in note for note in result.notes)


def test_the_same_is_found_again_under_the_same_seed(points):
    (x,), y = blobs(900, 0)
    y = torch.where(torch.arange(900) % 50 == 0, (y + 1) % 3, y)
    data = points(train=((x,), y))
    assert found(data, most=400) == found(data, most=400)


def test_what_only_the_data_knows_is_told_with_the_rest(points):
    data = points()
    data.checks = lambda: [Finding("labels of authors", "1 author wrote all of it.", (("train", 2),))]
    data.place = lambda split, index: f"{split}.csv, line {index + 2}"
    result = found(data)
    assert result.sought["labels of authors"] == "what Given looks for"
    (finding,) = result.json(data)["findings"]
    assert finding["samples"] == [{"split": "train", "index": 2, "place": "train.csv, line 4"}]


def test_a_stream_is_refused(points):
    data = points()
    data.split = lambda name: iter(()) if name == "train" else None
    with pytest.raises(LabwrightError, match="'train' of Given is a stream"):
        found(data)


# ---------------------------------------------------------------------------------------------- the command line


def test_a_recipe_is_looked_at_and_wrong_data_has_its_exit_code(command, tmp_path):
    code, out, err = command("check-data", "vision/digits", "--json")
    told = json.loads(out)
    assert code == 0, err
    assert told["samples"] == {"train": 1293, "valid": 144, "test": 360}
    assert not any(finding["wrong"] for finding in told["findings"])


def test_data_is_looked_at_by_its_own_name_and_settings(command, tmp_path):
    rows = [f"{'good' if n % 2 else 'bad'} text number {n},{n % 2}" for n in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows, *rows[:2]]) + "\n")
    code, out, err = command("check-data", "nlp/text-files", f"path={tmp_path / 'rows.csv'}", "test=0", "valid=0.2")
    assert code == 0, err
    assert "2 classes (0 " in out
    assert "twice or more within a part" in out


def test_damaged_pictures_are_wrong_and_the_others_are_looked_at(command, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 12, 12, 3), dtype=np.uint8)
    for number, picture in enumerate(pixels):
        folder = tmp_path / ("cat", "dog")[number % 2]
        folder.mkdir(exist_ok=True)
        PIL.Image.fromarray(picture).save(folder / f"{number}.png")
    (tmp_path / "cat" / "torn.png").write_bytes(b"no picture")
    code, out, err = command("check-data", "vision/image-folder", f"folder={tmp_path}", "size=12", "--json")
    (damaged,) = [finding for finding in json.loads(out)["findings"] if finding["check"] == "damaged"]
    assert code == 1 and damaged["wrong"] and "1 of 41 pictures can't be read (cat/torn.png" in damaged["sentence"], err
    assert json.loads(out)["looked_at"] == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vision/digts"], "neither data nor a recipe; did you mean 'vision/digits'?"),
        (["vision/image-folder", "folder"], "'task.data.folder' is no assignment"),
        (["nlp/text-files", "path"], "'path' sets nothing"),
        (["nlp/text-files", "pth=x"], "has no setting 'pth'; did you mean 'path'?"),
        (["vision/image-folder", "fodler=x"], "has no setting 'fodler'; did you mean 'folder'?"),
        (["vision/image-folder", "folder=/nowhere"], "there is no folder '/nowhere'"),
        (["vision/digits", "--most", "10"], "--most"),
    ],
)
def test_a_slip_is_answered_in_one_message(command, arguments, message):
    code, _, err = command("check-data", *arguments)
    assert code == 2 and message in err.replace("\n", " ") and "Traceback" not in err


def test_a_page_shows_findings_classes_and_drift(command, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (80, 12, 12, 3), dtype=np.uint8)
    for part, some in (("train", pixels[:50]), ("test", np.concatenate([pixels[50:] // 3, pixels[:2]]))):
        for number, picture in enumerate(some):
            folder = tmp_path / "photos" / part / ("cat", "dog")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(picture).save(folder / f"{number}.png")
    photos = ["vision/image-folder", f"folder={tmp_path / 'photos'}", "size=12", "valid=0"]
    code, _, err = command("check-data", *photos, "--out", str(tmp_path / "page"))
    page = (tmp_path / "page" / "report.html").read_text()
    assert code == 1 and f"page: {tmp_path / 'page' / 'report.html'}" in err
    for heading in ("Findings", "Classes", "Duplicates", "Drift", "Can test be told from train?", "Class balance"):
        assert f">{heading}<" in page
    assert page.count("data:image/png") >= 4  # both copies, each beside what it is the same as
    assert f"{tmp_path / 'photos' / 'test' / 'cat' / '30.png'}" in page
    # what lies there isn't written over, and nothing is said of a run to go on with
    code, _, err = command("check-data", *photos, "--out", str(tmp_path / "page"))
    assert code == 2 and "page isn't empty. Give another one." in err and "resume" not in err


def test_a_page_names_all_copies_of_which_it_shows_some() -> None:
    pictures = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    data = Given(Image(1, 8, 8), Classes(("a", "b")), {"train": ((pictures,), torch.arange(24) % 2)})
    data.show = lambda inputs: [*inputs[0]]  # type: ignore[method-assign]
    seen = found(data)
    (copies,) = (finding for finding in seen.findings if finding.check == "duplicates")
    shown, listed = parts(seen, data)["Duplicates"]
    assert isinstance(shown, Pictures) and len(shown.images) == 16
    assert isinstance(listed, Table) and [row[0] for row in listed.rows] == [data.place(*at) for at in copies.samples]
    assert len(listed.rows) == 12


def test_a_page_has_recordings_to_listen_to_and_texts_to_read(command, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    noise = np.random.default_rng(0).normal(0, 0.1, (40, 4000))
    noise[3] = noise[2]
    for number, wave in enumerate(noise):
        folder = tmp_path / "words" / ("yes", "no")[number // 2 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{number}.wav", wave, 8000)
    code, _, err = command(
        "check-data", "speech/folder", f"folder={tmp_path / 'words'}", "rate=8000", "--out", str(tmp_path / "heard")
    )
    assert code in (0, 1), err
    assert "data:audio/wav" in (tmp_path / "heard" / "report.html").read_text()
    rows = [f"text number {n} <b>,{n % 2}" for n in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows, *rows[:2]]) + "\n")
    command(
        "check-data",
        "nlp/text-files",
        f"path={tmp_path / 'rows.csv'}",
        "tokenizer=char",
        "--out",
        str(tmp_path / "read"),
    )
    assert "text number 1 &lt;b&gt;" in (tmp_path / "read" / "report.html").read_text()


def test_what_drift_is_measured_by_is_worked_out_by_hand(points):
    (x,), y = blobs(60, 1)
    drift = found(points(test=((x + 0.6,), torch.where(y == 2, 0, y)))).drift["test"]
    # a third of the samples of test are of class a instead of c
    assert drift.moved == pytest.approx(1 / 3)
    assert drift.deviation == pytest.approx(((150 + 60 + 1) / (12 * 150 * 60)) ** 0.5)
    train, test = drift.scores_N
    assert drift.area == pytest.approx(float((test[:, None] > train).float().mean()), abs=1e-3)
    assert len(drift.unlike) == 50 and all(part == "test" for part, _ in drift.unlike)


def test_of_pictures_that_are_all_broken_it_is_said_that_they_are() -> None:
    broken = (torch.full((30, 1, 32, 32), float("nan")),)
    seen = found(Given(Image(1, 32, 32), Classes(("a", "b")), {"train": (broken, torch.arange(30) % 2)}))
    assert [finding.check for finding in seen.findings if finding.wrong and len(finding.samples) == 30] == ["damaged"]
