"""Sets of pictures that the datasets library wrote: every form of them has the same pictures, labels and parts."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from labwright import Classes, Image, LabwrightError
from labwright_vision.data.hub import Datasets
from PIL import Image as Pillow

NAMES = ["cat", "dog", "owl"]


def stored(number: int) -> bytes:
    file, draws = io.BytesIO(), np.random.default_rng(number)
    Pillow.fromarray(draws.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def rows(count: int, first: int = 0, **more: Any) -> datasets.Dataset:
    columns = {
        "image": [{"bytes": stored(first + n), "path": None} for n in range(count)],
        "label": [n % 3 for n in range(count)],
    }
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)}
    return datasets.Dataset.from_dict(columns | more).cast(
        datasets.Features(features | {key: datasets.Value("string") for key in more})
    )


def parts() -> datasets.DatasetDict:
    return datasets.DatasetDict({"train": rows(30), "validation": rows(6, 100), "test": rows(9, 200)})


def prepared(folder: Path, **settings: Any) -> Datasets:
    data = Datasets(**{"dataset": str(folder), "size": 8} | settings)  # type: ignore[arg-type]
    data.prepare()
    return data


def saved(folder: Path) -> None:
    parts().save_to_disk(str(folder))


def as_parquet(folder: Path) -> None:
    folder.mkdir()
    for name, part in parts().items():
        part.to_parquet(str(folder / f"{name}-00000-of-00001.parquet"))


def as_files(folder: Path) -> None:
    for name, part in parts().items():
        for n, row in enumerate(part):
            place = folder / name / NAMES[row["label"]]  # type: ignore[call-overload]
            place.mkdir(parents=True, exist_ok=True)
            row["image"].save(place / f"{n:02d}.png")  # type: ignore[call-overload]


@pytest.mark.parametrize("write", [saved, as_parquet, as_files])
def test_pictures_and_labels_are_read_from_each_form(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "set")
    data = prepared(tmp_path / "set")
    assert data.ports() == (Image(3, 8, 8), Classes(tuple(NAMES)))
    sizes = {name: len(data.split(name) or ()) for name in ("train", "valid", "test")}
    assert sizes == {"train": 30, "valid": 6, "test": 9} and list(data.left_out()) == list(data.remarks()) == []
    split = data.split("test")
    assert split is not None
    batch = split.fetch(torch.arange(9), 0, 0)
    (tmp_path / "first.png").write_bytes(stored(200))  # of the first cat
    assert batch.targets.bincount().tolist() == [3, 3, 3]
    assert torch.equal(batch.inputs[0][0], data.read(tmp_path / "first.png")[0][0])
    assert data.place("test", 0) == f"dataset '{tmp_path}/set', split 'test', row 0"


def test_parts_that_are_not_there_are_held_out_by_content_and_rows_without_labels_left_out(tmp_path: Path) -> None:
    labels = [-1, *(n % 3 for n in range(1, 60))]
    made = (
        rows(60)
        .remove_columns("label")
        .add_column("label", labels)
        .cast_column(  # type: ignore[arg-type]
            "label", datasets.ClassLabel(names=NAMES)
        )
    )
    made.save_to_disk(str(tmp_path / "set"))
    made.select(range(59, -1, -1)).save_to_disk(str(tmp_path / "turned"))
    one, other = (prepared(tmp_path / name, valid=0.2, test=0.1) for name in ("set", "turned"))
    assert [len(one.split(part) or ()) for part in ("train", "valid", "test")] == [41, 12, 6]
    assert [(left.count, left.why) for left in one.left_out()] == [(1, "without a label")]
    for part in ("train", "valid", "test"):
        assert sorted(one.identity(part)) == sorted(other.identity(part))


def test_what_is_learned_is_kept_and_other_sets_are_measured_and_answered(tmp_path: Path) -> None:
    saved(tmp_path / "set")
    data = prepared(tmp_path / "set")
    (tmp_path / "kept").mkdir()
    data.save(tmp_path / "kept")
    loaded = Datasets(dataset="gone", size=8)
    loaded.load(tmp_path / "kept")
    rows(9, 300).save_to_disk(str(tmp_path / "new"))
    other = loaded.on(tmp_path / "new").split("test")
    assert other is not None and other.labels.tolist() == [n % 3 for n in range(9)]
    inputs = dict(loaded.inputs(tmp_path / "new") or ())
    (x_BCHW,) = inputs[f"dataset '{tmp_path}/new', split 'train', row 4"]()
    assert torch.equal(x_BCHW[0], other.fetch(torch.tensor([4]), 0, 0).inputs[0][0])
    assert loaded.inputs(tmp_path) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image": "imgae"}, r"there is no column 'imgae'; did you mean 'image'\? .* task\.data\.image says"),
        ({"label": "class"}, r"there is no column 'class'.* task\.data\.label says"),
        ({"image": "note"}, r"the column 'note' holds .*, no pictures; those are in image\. task\.data\.image says"),
        ({"dataset": "./nowhere"}, r"task\.data\.dataset: there is no folder"),
        ({"valid": 0.6, "test": 0.5}, "leave nothing to learn from"),
    ],
)
def test_a_slip_is_answered_in_one_message(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    rows(30, note=["a"] * 30).save_to_disk(str(tmp_path / "set"))
    with pytest.raises(LabwrightError, match=words):
        prepared(tmp_path / "set", **settings)


def test_damaged_pictures_are_named_or_left_out_and_several_labels_refused(tmp_path: Path) -> None:
    broken = [{"bytes": b"x" if n == 3 else stored(n), "path": None} for n in range(30)]
    made = datasets.Dataset.from_dict({"image": broken, "label": [n % 3 for n in range(30)]})
    made.save_to_disk(str(tmp_path / "set"))
    with pytest.raises(LabwrightError, match=r"1 of 30 pictures can't be read \(dataset .*, split 'train', row 3: it"):
        prepared(tmp_path / "set")
    data = prepared(tmp_path / "set", on_damaged="leave-out", valid=0.0, test=0.0)
    assert len(data.split("train") or ()) == 29 and data.names == ("0", "1", "2")
    made.remove_columns("label").add_column("label", [[0, 1]] * 30).save_to_disk(str(tmp_path / "several"))  # type: ignore[arg-type]
    with pytest.raises(LabwrightError, match=r"such as \[0, 1\]; a label is a class.*'vision/table'"):
        prepared(tmp_path / "several")
