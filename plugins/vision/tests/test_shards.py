"""Tar shards: pictures by an index of offsets, each once, resumed exactly, the same as from a folder."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labwright import LabwrightError
from labwright_tasks.classification import Classification
from labwright_testing.verify_resume import verify_resume
from labwright_vision.data.image_folder import ImageFolder
from labwright_vision.data.shards import Shards
from PIL import Image

NAMES = ("cat", "dog", "owl")


def png(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    output = io.BytesIO()
    Image.fromarray(pixels).save(output, "PNG")
    return output.getvalue()


def shard(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def numbered(first: int, count: int) -> dict[str, bytes]:
    files = {}
    for number in range(first, first + count):
        files |= {f"{number:04}.png": png(number), f"{number:04}.cls": NAMES[number % 3].encode()}
    return files


def shards(folder: Path, counts: list[int], part: str = "train") -> Path:
    first = 1000 * len(list(folder.rglob("*.tar")))
    for number, count in enumerate(counts):
        shard(folder / f"{part}-{number:04}.tar", numbered(first, count))
        first += count
    return folder


def prepared(folder: Path, **settings: Any) -> Shards:
    data = Shards(folder=folder, **{"size": 12, "valid": 0.0, "test": 0.0, **settings})
    data.prepare()
    return data


def test_pictures_are_those_that_the_same_files_have_in_a_folder(tmp_path: Path) -> None:
    shards(tmp_path / "shards", [10, 7])
    for number in range(17):
        file = tmp_path / "folder" / NAMES[number % 3] / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(number))
    ours, theirs = prepared(tmp_path / "shards"), ImageFolder(folder=tmp_path / "folder", size=12, valid=0.0, test=0.0)
    theirs.prepare()
    assert ours.ports() == theirs.ports()
    splits = [data.split("train") for data in (ours, theirs)]
    batches = [split.fetch(torch.arange(17), 0, 0) for split in splits if split is not None]
    orders = [batch.inputs[0].flatten(1).sum(1).argsort() for batch in batches]
    assert torch.equal(*(batch.inputs[0][order] for batch, order in zip(batches, orders, strict=True)))
    assert torch.equal(*(batch.targets[order] for batch, order in zip(batches, orders, strict=True)))


@given(
    counts=st.lists(st.integers(3, 9), min_size=1, max_size=5),
    window=st.integers(1, 6),
    size=st.integers(1, 12),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_an_epoch_has_each_picture_once_wherever_it_begins(
    tmp_path_factory: pytest.TempPathFactory,
    counts: list[int],
    window: int,
    size: int,
    seed: int,
    data: st.DataObject,
) -> None:
    task = Classification(
        Shards(folder=shards(tmp_path_factory.mktemp("shards"), counts), size=12, valid=0.0, test=0.0, window=window)
    )
    task.prepare()
    whole = list(task.batches("train", size=size, seed=seed, epoch=1) or ())
    sums = torch.cat([batch.inputs[0].flatten(1).double().sum(1) for batch in whole])
    assert len(sums) == sum(counts) == len(sums.unique())
    start = data.draw(st.integers(0, len(whole) - 1))
    rest = task.batches("train", size=size, seed=seed, epoch=1, start=start)
    for resumed, expected in zip(rest or (), whole[start:], strict=True):
        assert torch.equal(resumed.inputs[0], expected.inputs[0]) and torch.equal(resumed.targets, expected.targets)


def test_shares_are_chosen_by_names_and_cover_all_pictures(tmp_path: Path) -> None:
    folder = shards(tmp_path, [300, 300])
    data = prepared(folder, valid=0.2, test=0.1)
    places = {
        name: {(index.path.name, int(offset)) for index in split.indexes for offset in index.offsets_N}
        for name in ("train", "valid", "test")
        if (split := data.split(name)) is not None
    }
    assert sum(map(len, places.values())) == 600 == len(set.union(*places.values()))
    # of a binomial of 600 draws within four deviations
    assert abs(len(places["valid"]) - 120) < 40 and abs(len(places["test"]) - 60) < 30
    shard(folder / "train-0002.tar", numbered(5000, 300))
    more = prepared(folder, valid=0.2, test=0.1).split("valid")
    assert more is not None
    kept = {(index.path.name, int(offset)) for index in more.indexes for offset in index.offsets_N}
    assert {place for place in kept if place[0] != "train-0002.tar"} == places["valid"]


def test_classes_that_a_part_lacks_are_told(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", numbered(0, 9))
    shard(tmp_path / "valid-0.tar", numbered(9, 1))
    assert prepared(tmp_path).remarks()[1:] == ["valid has no picture of dog, owl."]


@pytest.mark.parametrize("way", ["names", "folders", "names in a folder", "folders in a folder"])
def test_parts_are_told_by_names_or_folders(tmp_path: Path, way: str) -> None:
    for part, count in (("train", 9), ("val", 6), ("test", 3)):
        root = tmp_path / "set" if way.endswith("in a folder") else tmp_path
        target = root / part / "0.tar" if way.startswith("folders") else root / f"{part}-0.tar"
        shard(target, numbered(100 * count, count))
    data = prepared(tmp_path, valid=0.1, test=0.1)
    lengths = {name: len(split) for name in ("train", "valid", "test") if (split := data.split(name)) is not None}
    assert lengths == {"train": 9, "valid": 6, "test": 3}


def test_classes_come_from_json_too_and_what_is_not_used_is_said(tmp_path: Path) -> None:
    files = {
        "a/1.png": png(1), "a/1.json": json.dumps({"label": 10, "more": [1]}).encode(),
        "a/2.png": png(2), "a/2.json": json.dumps({"label": "9"}).encode(), "a/2.txt": b"a caption",
        "a/3.png": png(3), "a/3.json": b"{}",
        "a/4.png": png(4), "a/4.jpg": png(4), "a/4.cls": b"9\n",
        "a/._5.png": b"of macOS",
    }  # fmt: skip
    shard(tmp_path / "some.tar", files)
    (tmp_path / "notes.txt").write_text("of mine")
    data = prepared(tmp_path)
    assert data.names == ("9", "10")
    assert data.split("train").labels.tolist() == [1, 0, 0]  # type: ignore[union-attr]
    assert {(part.count, part.what, part.why.split(",")[0]) for part in data.left_out()} == {
        (1, "file", "no picture: .txt"),
        (1, "picture", "without a class"),
        (1, "file", "a second picture of a sample"),
        (1, "file", "hidden"),
        (1, "file", ".txt"),
    }


def test_an_index_is_kept_beside_the_shard_and_made_anew_when_the_shard_or_it_changes(tmp_path: Path) -> None:
    folder = shards(tmp_path, [6])
    assert prepared(folder).remarks() == [f"looked up where the pictures of 1 tar shard lie; that is kept in {folder}."]
    index = folder / "train-0000.tar.index.npz"
    assert index.is_file() and not prepared(folder).remarks()
    before = list(prepared(folder).identity("train"))
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1  # a bit of it
    index.write_bytes(content)
    assert prepared(folder).remarks() and list(prepared(folder).identity("train")) == before
    shard(folder / "train-0000.tar", numbered(0, 5))
    changed = prepared(folder)
    assert changed.remarks() and len(changed.split("train") or ()) == 5
    assert list(changed.identity("train")) != before
    os.utime(folder / "train-0000.tar", ns=(1, 1))
    assert prepared(folder).remarks() and list(prepared(folder).identity("train")) == list(changed.identity("train"))


def test_where_nothing_can_be_written_the_index_is_kept_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = shards(tmp_path / "shards", [6])
    (folder / "train-0000.tar.index.npz" / "in the way").mkdir(parents=True)  # who runs the tests may write anywhere
    place = tmp_path / "cache" / "labwright" / "shards"
    assert prepared(folder).remarks()[0].endswith(f"is kept in {place}.")
    assert not prepared(folder).remarks()


def test_a_shard_that_is_compressed_or_torn_is_refused(tmp_path: Path) -> None:
    plain = shards(tmp_path / "a", [6]) / "train-0000.tar"
    for name in ("train-0000.tar.gz", "disguised.tar"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(gzip.compress(plain.read_bytes()))
        with pytest.raises(LabwrightError, match=rf"{name} is compressed as a whole, .* plain tar file, such as by"):
            prepared(folder)
    plain.write_bytes(plain.read_bytes()[:700])
    with pytest.raises(LabwrightError, match=r"train-0000.tar can't be read as a tar shard: it is cut off in 0000.png"):
        prepared(tmp_path / "a")
    plain.write_bytes(b"no tar at all" * 100)
    with pytest.raises(LabwrightError, match=r"train-0000.tar can't be read as a tar shard"):
        prepared(tmp_path / "a")


def test_what_else_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match="there is no folder"):
        prepared(tmp_path / "nowhere")
    with pytest.raises(LabwrightError, match=r"has no tar shards to learn from; it has none at all"):
        prepared(tmp_path)
    shards(tmp_path, [6])
    shard(tmp_path / "valid-0.tar", {"1.png": png(1), "1.cls": b"owls"})
    with pytest.raises(LabwrightError, match=r"valid-0.tar has classes .* training pictures: owls; did you mean 'owl'"):
        prepared(tmp_path)
    shard(tmp_path / "b" / "0.tar", {"1.png": png(1), "1.json": b'{"label": [1, 2]}'})
    with pytest.raises(LabwrightError, match=r"0.tar: 1.json has \[1, 2\] as 'label'; a class is a text or a whole"):
        prepared(tmp_path / "b")


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", {**numbered(0, 3), "torn.png": png(7)[:90], "torn.cls": b"cat"})
    split = prepared(tmp_path).split("train")
    assert split is not None and len(split) == 4
    with pytest.raises(LabwrightError, match=r"0.tar: torn.png can't be read as a picture"):
        split.fetch(torch.arange(4), 0, 0)


def test_what_a_worker_is_given_is_a_few_numbers_a_picture(tmp_path: Path) -> None:
    data = prepared(shards(tmp_path, [200]))
    assert len(pickle.dumps(data)) < 200 * 50 + 5000


def experiment(folder: Path, workers: int) -> lw.Experiment:
    data = {"name": "vision/shards", "folder": str(folder), "size": 12, "window": 2, "shift": 0.1, "flip": True}
    return lw.Experiment(
        task={"name": "classification", "data": data},
        model={"name": "vision/mlp", "width": 8},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 1e-2},
        device={"name": "cpu", "threads": 1, "workers": workers},
        train={"epochs": 3, "batch_size": 16, "seed": 1, "evaluate_every": "3 steps"},
        log=[],
    )


def test_a_resumed_run_is_the_uninterrupted_one_and_workers_change_nothing(tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards", [40, 30, 35])
    verdict = verify_resume(experiment(folder, 2), 7)
    assert verdict.exact and verdict.stopped_at == 7
    runs = [experiment(folder, workers).run(tmp_path / str(workers)) for workers in (0, 1)]
    assert runs[0].metrics == runs[1].metrics
