"""The user's own pictures in tar shards, as WebDataset writes them, found by an index. S shards, N samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, Self

import torch
from labwright import LabwrightError, listed, located, nearest, sentence
from labwright_tasks import other_data
from labwright_tasks.other_data import drift, none_known, unknown
from labwright_tasks.parts import part_named
from pydantic import Field
from torch import Tensor

from labwright_vision.data.augment import Augment, Crop, Flip, Grey, Jitter, Rotate, Scale, Shift
from labwright_vision.data.folders import Tally, expanded, name_below, plural
from labwright_vision.data.own_pictures import Background, Channels, Files, OwnPictures, Reader, Size, White
from labwright_vision.data.pictures import Share
from labwright_vision.data.policies import Erase, Policy
from labwright_vision.data.shard_index import Members, ShardIndex, index_of

_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_GZIP = b"\x1f\x8b"
_THREADS = 8
_HASHES = 2.0**64  # there are


class Shards(OwnPictures):
    """Pictures in tar files: NAME.jpg, of any format Pillow reads, and beside it NAME.cls or NAME.json with its class.

    Shards in sub-folders `train`, `valid` and `test`, or whose names begin so, such as train-0000.tar, are these parts;
    else all are to learn from. What is held out for a part without shards is chosen by a hash of the pictures' names.

    Where each picture lies is looked up once and kept beside the shard, as NAME.tar.index.npz, or in the user's cache
    if nothing can be written there, until the shard changes. Pictures are then read by their offsets, one by one: none
    is decoded before it is needed, and a damaged one ends the run. Compressed shards are refused.

    Shards come in random order. Settings of pictures are those of `vision/image-folder`.

    Args:
        folder: folder of the tar files, or of sub-folders with them.
        label: key of the class in NAME.json; the whole text of NAME.cls is one.
    """

    source = "shards of yours"
    licence = "yours"
    kept = "shards.json"

    def __init__(
        self,
        *,
        folder: Path,
        label: str = "label",
        window: Annotated[int, Field(ge=1, description="shards whose pictures are mixed at a time.")] = 8,
        size: Size = 64,
        channels: Channels = 3,
        background: Background = "white",
        white: White | None = None,
        valid: Share = 0.1,
        test: Share = 0.1,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
        flip: Flip = False,
        crop: Crop = 0.0,
        jitter: Jitter = 0.0,
        grey: Grey = 0.0,
        policy: Policy = None,
        erase: Erase = 0.0,
    ) -> None:
        super().__init__(
            size=size,
            channels=channels,
            background=background,
            white=white,
            rotate=rotate,
            shift=shift,
            scale=scale,
            flip=flip,
            crop=crop,
            jitter=jitter,
            grey=grey,
            policy=policy,
            erase=erase,
        )
        if valid + test >= 1:
            raise LabwrightError(f"task.data: valid {valid} and test {test} leave nothing to learn from.")
        self.folder, self.label, self.window, self.valid, self.test = folder, label, window, valid, test

    def prepare(self) -> None:
        root = expanded(self.folder)
        if not root.is_dir():
            raise LabwrightError(f"task.data.folder: there is no folder {located(root)}.")
        tally = Tally()
        paths = _shards_of_parts(root, tally)
        # reading headers is waiting for a disk
        with ThreadPoolExecutor(_THREADS) as pool:
            parts = {part: [*pool.map(partial(index_of, label=self.label), some)] for part, some in paths.items()}
        whole = [index for some in parts.values() for index in some]
        for index in whole:
            for what, why, count in index.left_out:
                tally.add(what, why, index.path.name, count)
        self._left_out, self._remarks = tally.left_out(), _told([index for index in whole if index.made])
        names = {name for index in parts["train"] for name in index.classes}
        # numbers by their size, before other names
        self.names = tuple(sorted(names, key=lambda name: (not name.isdecimal(), name.isdecimal() and int(name), name)))
        parts |= self._held_out(parts["train"], [name for name in ("valid", "test") if name not in parts])
        for part, some in parts.items():
            count = sum(map(len, some))
            if not count:
                raise LabwrightError(f"{root} has no pictures with a class for {part!r}.")
            augment = self.augment(count) if part == "train" else ()
            labels = torch.cat([self._labels(index) for index in some])
            lacking = [name for label, name in enumerate(self.names) if not (labels == label).any()]
            if lacking:
                self._remarks = [*self._remarks, f"{part} has no picture of {listed(lacking)}."]
            self._splits[part] = ShardedFiles(some, labels, self.reader(), augment, self.window)
            self._identities[part] = [f"{name_below(index.path, root)} {index.digest()}" for index in some]
        self.facts = other_data.facts(
            {}, self._splits["train"].labels, self.names
        )  # none is decoded before it is needed

    def on(self, path: Path) -> Self:
        """A tar shard, or all of a folder, whatever part they are of."""
        root, tally = expanded(path), Tally()
        paths = sorted(root.rglob("*.tar")) if root.is_dir() else [root]
        indexes = [index_of(file, label=self.label) for file in paths]
        given = [index.classes[label] for index in indexes for label in index.labels_N.tolist()]
        strange = [name for name in given if name not in self.names]
        if len(strange) == len(given):
            raise none_known(root, given, self.names)
        for index in indexes:
            for what, why, count in index.left_out:
                tally.add(what, why, index.path.name, count)
        some = [index.where(self._numbered(index).numpy() >= 0) for index in indexes]
        some = [index for index in some if len(index)]
        labels = torch.cat([self._numbered(index) for index in some])
        split = ShardedFiles(some, labels, self.reader(), (), self.window)
        other = copy(self)
        other._splits = {"test": split}
        other._identities = {"test": [f"{index.path.name} {index.digest()}" for index in some]}
        other._left_out = [*unknown(strange, "pictures"), *tally.left_out()]
        other._remarks = [
            *_told([index for index in indexes if index.made]),
            *drift(other_data.facts({}, labels, self.names), self.facts, len(split)),
        ]
        return other

    def _held_out(self, train: Sequence[ShardIndex], missing: Sequence[str]) -> dict[str, list[ShardIndex]]:
        """The shares of the parts that are missing, and what is left to learn from."""
        parts, begin = {}, 0.0
        for part in [*(name for name in missing if getattr(self, name)), "train"]:
            end = 1.0 if part == "train" else begin + getattr(self, part)
            shares = [index.hashes_N / _HASHES for index in train]
            parts[part] = [
                index.where((share_N >= begin) & (share_N < end)) for index, share_N in zip(train, shares, strict=True)
            ]
            begin = end
        return parts

    def _labels(self, index: ShardIndex) -> Tensor:
        """The classes of a shard's samples as numbers of all classes, (N,) int64."""
        strange = sorted({*index.classes} - {*self.names})
        if strange:
            raise LabwrightError(
                f"{index.path} has classes that are not among the training pictures: {listed(strange)}"
                f"{sentence(nearest(strange[0], self.names, ''))}"
            )
        return self._numbered(index)

    def _numbered(self, index: ShardIndex) -> Tensor:
        number = {name: place for place, name in enumerate(self.names)}
        numbers = torch.tensor([number.get(name, -1) for name in index.classes], dtype=torch.int64)
        return numbers[torch.from_numpy(index.labels_N).long()]


class ShardedFiles(Files):
    """A split of pictures in shards."""

    def __init__(
        self,
        indexes: Sequence[ShardIndex],
        labels: Tensor,
        reader: Reader,
        augment: Sequence[Augment],
        window: int,
    ) -> None:
        super().__init__(Members(indexes), labels, reader, augment)
        self.indexes, self.window = indexes, window
        self.shards = torch.tensor([len(index) for index in indexes])

    def plain(self) -> ShardedFiles:
        return ShardedFiles(self.indexes, self.labels, self.reader, (), self.window)


def _shards_of_parts(root: Path, tally: Tally) -> dict[str, list[Path]]:
    """The shards of each part: by the folder they are in, by how their names begin, or all to learn from."""
    parts: dict[str | None, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        name = path.name.lower()
        if not path.is_file() or name.startswith(".") or name.endswith(".index.npz"):
            continue
        if name.endswith(_PACKED) or (name.endswith(".tar") and _is_gzipped(path)):
            raise LabwrightError(
                f"{path} is compressed as a whole, so that no picture in it can be found without unpacking all before "
                f"it. Unpack it to a plain tar file, such as by `gunzip {path.name}`: pictures are compressed anyway."
            )
        if not name.endswith(".tar"):
            tally.other(path.name)
            continue
        begins = re.match(r"[a-z]+", name)
        above = [part for folder in path.relative_to(root).parts[:-1] if (part := part_named(folder))]
        part = above[0] if above else part_named(begins[0]) if begins else None
        parts.setdefault(part, []).append(path)
    of_none = parts.pop(None, [])
    if not parts and of_none:
        return {"train": of_none}
    if "train" not in parts:
        raise LabwrightError(
            f"{root} has no tar shards to learn from; it has {listed([*map(str, parts)] or ['none at all'])}."
        )
    tally.add("shard", "of no part", of_none[0].name if of_none else "", len(of_none))
    return {part: some for part, some in parts.items() if part is not None}


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def _told(made: Sequence[ShardIndex]) -> list[str]:
    """A sentence if indexes were made: where they are kept."""
    if not made:
        return []
    places = sorted({"nowhere" if index.place is None else str(index.place.parent) for index in made})
    of = f"{len(made):,} tar {plural('shard', len(made))}"
    return [f"looked up where the pictures of {of} lie; that is kept in {listed(places, 3)}."]
