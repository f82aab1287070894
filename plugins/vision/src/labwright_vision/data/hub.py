"""Pictures with labels out of the Hugging Face datasets library."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from labwright import LabwrightError, listed, nearest
from labwright_tasks.answers import natural
from labwright_tasks.hub import loaded, written_by_library
from labwright_tasks.other_data import drift, none_known, unknown
from labwright_tasks.parts import part_named
from torch import Tensor

from labwright_vision.data.augment import Crop, Flip, Grey, Jitter, Rotate, Scale, Shift
from labwright_vision.data.folders import Tally
from labwright_vision.data.own_pictures import Background, Channels, Files, OnDamaged, OwnPictures, Reader, Size, White
from labwright_vision.data.pictures import Share, held_out
from labwright_vision.data.policies import Erase, Policy
from labwright_vision.data.reading import facts
from labwright_vision.data.seen import Picture, missing, of_pictures, readable, remarks

_NEEDS = "data 'vision/datasets' needs the datasets library: `pip install 'labwright-vision[datasets]'` brings it."
_THREADS = 8  # Pillow decodes beside Python
_AT_ONCE = 1000  # pictures; each that waits for its turn takes a kilobyte


class Datasets(OwnPictures):
    """A set of pictures of the Hugging Face hub by its name, or a folder that the datasets library wrote or can read.

    Its splits `train`, `validation` and `test`, or what else they are called, are taken as they are. One that it lacks,
    or has without labels, is held out, of each class in proportion, by the pictures' content. Rows without a label are
    left out. Needs the extra `labwright-vision[datasets]`.

    Every picture is decoded once before a run begins, and again when it is asked for, from where the library keeps it.
    Settings of pictures are those of `vision/image-folder`.

    Args:
        dataset: a folder, if there is one of that name, as `save_to_disk` makes it or with Parquet files; else a name
            on the hub, such as "beans".
        subset: configuration of the dataset on the hub, where it has several.
        image: column of pictures.
        label: column of labels: classes, texts or whole numbers.
    """

    source = "the Hugging Face hub, or a folder"
    licence = "the dataset's own; see its page"
    kept = "picture_dataset.json"

    def __init__(
        self,
        *,
        dataset: str,
        subset: str | None = None,
        image: str = "image",
        label: str = "label",
        size: Size = 64,
        channels: Channels = 3,
        background: Background = "white",
        white: White | None = None,
        on_damaged: OnDamaged = "refuse",
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
        moved: dict[str, Any] = {"rotate": rotate, "shift": shift, "scale": scale, "flip": flip, "crop": crop}
        shown: dict[str, Any] = {"jitter": jitter, "grey": grey, "policy": policy, "erase": erase}
        super().__init__(size=size, channels=channels, background=background, white=white, **moved, **shown)
        if valid + test >= 1:
            raise LabwrightError(f"task.data: valid {valid} and test {test} leave nothing to learn from.")
        self.dataset, self.subset, self.image, self.label = dataset, subset, image, label
        self.on_damaged, self.valid, self.test = on_damaged, valid, test

    def prepare(self) -> None:
        tally, rows = Tally(), dict[str, Labelled]()
        splits = loaded(self.dataset, self.subset, needs=_NEEDS)
        for name, split in splits.items():
            part = part_named(name)
            if part in rows:
                raise LabwrightError(f"dataset {self.dataset!r} has two splits for {part!r}: it has {listed(splits)}.")
            labelled = self._labelled(self.dataset, name, split) if part else None
            if part is None or not any(label is not None for label in labelled or ()):
                why = "in a split without labels" if part else "in a split of no part's name"
                tally.add("picture", why, name, split.num_rows)
                continue
            rows[part] = labelled or []
        if "train" not in rows:
            raise LabwrightError(f"dataset {self.dataset!r} has no split 'train' with labels; it has {listed(splits)}.")
        self.names = _names(
            rows["train"], next(splits[name] for name in splits if part_named(name) == "train").features[self.label]
        )
        parts = self._held_out(self._usable(self.dataset, rows, tally))
        augment = self.augment(len(parts["train"]))
        for part, some in parts.items():
            self._take(part, some, augment if part == "train" else ())
        self.facts = self.facts_of(self._splits["train"])
        self._left_out = tally.left_out()
        lacking = [sentence for part, some in parts.items() for sentence in missing(part, some, self.names)]
        seen = remarks(parts, background=self.background, white=self.white, channels=self.channels)
        self._remarks = [*lacking, *seen]

    def on(self, path: Path) -> Self:
        """Another folder that the datasets library wrote or can read, all its splits together."""
        other, tally = copy(self), Tally()
        splits = loaded(str(path), None, needs=_NEEDS)
        rows = [row for name, split in splits.items() for row in self._labelled(str(path), name, split)]
        given = [label for label in (row.label for row in rows) if label is not None]
        strange = [label for label in given if label not in self.names]
        if len(strange) == len(given):
            raise none_known(path, given, self.names, "label")
        known = [row for row in rows if row.label is None or row.label in self.names]
        part = other._usable(str(path), {"test": known}, tally)["test"]
        other._splits, other._identities = {}, {}
        other._take("test", part, ())
        other._left_out = [*unknown(strange, "pictures"), *tally.left_out()]
        other._remarks = [
            *of_pictures(part, background=self.background, white=self.white, channels=self.channels),
            *drift(other.facts_of(other._splits["test"]), self.facts, len(part)),
        ]
        return other

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """The pictures of a folder that the datasets library wrote, with labels or without."""
        if not written_by_library(path):
            return None
        splits, reader = loaded(str(path), None, needs=_NEEDS), self.reader()
        rows = (row for name, split in splits.items() for row in self._rows(str(path), name, split))
        return ((str(row), partial(_read, reader, row)) for row in rows)

    def place(self, split: str, index: int) -> str:
        return str(self._splits[split].paths[index])

    def _rows(self, dataset: str, name: str, split: Any) -> list[Row]:
        """The pictures of a split. Raises LabwrightError for a column that isn't there, or that holds none."""
        import datasets

        origin = f"dataset {dataset!r}, split {name!r}"
        _check_column(origin, split, self.image, "image")
        column = split.select_columns([self.image])
        kind = column.features[self.image]
        if isinstance(kind, datasets.Image):
            column = column.cast_column(self.image, datasets.Image(decode=False))
        elif not (isinstance(kind, dict) and "bytes" in kind) and getattr(kind, "dtype", "") != "binary":
            of_pictures = [key for key, of in split.features.items() if isinstance(of, datasets.Image)]
            raise LabwrightError(
                f"{origin}: the column {self.image!r} holds {kind}, no pictures; those are in "
                f"{listed(of_pictures)}. task.data.image says which one is meant."
            )
        return [Row(column, self.image, number, origin) for number in range(split.num_rows)]

    def _labelled(self, dataset: str, name: str, split: Any) -> Labelled:
        """The pictures of a split with their labels by name; None where there is none, which the hub marks by -1."""
        rows, origin = self._rows(dataset, name, split), f"dataset {dataset!r}, split {name!r}"
        _check_column(origin, split, self.label, "label")
        names, labels = getattr(split.features[self.label], "names", None), list(split[self.label])
        for label in labels:
            if isinstance(label, list | dict | float):
                raise LabwrightError(
                    f"{origin}: the column {self.label!r} holds {split.features[self.label]}, such as {label!r}; a "
                    "label is a class, a text or a whole number. Several of a picture are read by 'vision/table'."
                )
        if names:
            labels = [None if label is None or label < 0 else names[label] for label in labels]
        said = (None if label is None else str(label).strip() or None for label in labels)
        return [Named(row, label) for row, label in zip(rows, said, strict=True)]

    def _usable(self, dataset: str, rows: Mapping[str, Labelled], tally: Tally) -> dict[str, list[Picture]]:
        """The pictures with a known label that can be read. Raises LabwrightError for damaged ones, and for none."""
        number = {name: label for label, name in enumerate(self.names)}
        parts = {}
        for part, some in rows.items():
            strange = Counter(label for _, label in some if label is not None and label not in number)
            if strange:
                raise LabwrightError(
                    f"dataset {dataset!r}: {part} has labels that no picture to learn from has: {listed(strange)}."
                )
            with_label = [(row, number[label]) for row, label in some if label is not None]
            tally.add("picture", "without a label", count=len(some) - len(with_label))
            parts[part] = _looked_at(with_label)
        whole = readable(Path(dataset), parts, tally, leave_out=self.on_damaged == "leave-out", white=self.white)
        for part, pictures in whole.items():
            if not pictures:
                raise LabwrightError(f"dataset {dataset!r}: no picture of {part} can be read.")
        return whole

    def _held_out(self, parts: dict[str, list[Picture]]) -> dict[str, list[Picture]]:
        """The parts, with shares of `train` for those that are wanted and aren't there."""
        parts, rest, left = dict(parts), parts["train"], 1.0
        for name in ("test", "valid"):
            share = 0.0 if name in parts else getattr(self, name)
            if not share:
                continue
            out = held_out([picture.label for picture in rest], share / left, [picture.key for picture in rest])
            parts[name] = [picture for picture, is_out in zip(rest, out, strict=True) if is_out]
            rest = [picture for picture, is_out in zip(rest, out, strict=True) if not is_out]
            left -= share
            if not parts[name] or not rest:
                raise LabwrightError(
                    f"dataset {self.dataset!r} has too few pictures to hold out {share} of them: change "
                    f"task.data.{name}, or set it to 0."
                )
        return parts | {"train": rest}

    def _take(self, part: str, some: Sequence[Picture], augment: Sequence[Any]) -> None:
        labels = torch.tensor([picture.label for picture in some], dtype=torch.int64)
        self._splits[part] = Files([picture.path for picture in some], labels, self.reader(), augment)
        self._identities[part] = [f"{self.names[picture.label]} {picture.facts.digest}" for picture in some]


@dataclass(frozen=True, slots=True)
class Row:
    """The picture in a row, as it is stored: its bytes, or the file that the row names."""

    part: Any = field(repr=False, compare=False)
    column: str
    number: int
    origin: str

    def __str__(self) -> str:
        return f"{self.origin}, row {self.number}"

    def read_bytes(self) -> bytes:
        stored = self.part[self.number][self.column]
        if isinstance(stored, dict):
            content: bytes | None = stored.get("bytes")
            return Path(stored["path"]).read_bytes() if content is None and stored.get("path") else content or b""
        return stored or b""


class Named(NamedTuple):
    """A picture and its label by name; None where it has none."""

    row: Row
    label: str | None


Labelled = list[Named]


def _read(reader: Reader, row: Row) -> tuple[Tensor, ...]:
    return (reader([row]),)


def _check_column(origin: str, split: Any, column: str, setting: str) -> None:
    if column not in split.column_names:
        raise LabwrightError(
            f"{origin}: there is no column {column!r}{nearest(column, split.column_names)} It has "
            f"{listed(split.column_names)}; task.data.{setting} says which one holds the {setting}."
        )


def _names(rows: Labelled, feature: Any) -> tuple[str, ...]:
    """The classes: those that the set declares, in its order, or the labels there are to learn from."""
    declared = getattr(feature, "names", None)
    return tuple(declared) if declared else tuple(sorted({label for _, label in rows if label}, key=natural))


def _looked_at(rows: Sequence[tuple[Row, int]]) -> list[Picture]:
    """Each picture with what one look at it tells; what is held out is chosen by its content."""
    pictures = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            for (row, label), seen in zip(some, pool.map(facts, [row for row, _ in some]), strict=True):
                key = int(seen.digest[:16] or "0", 16)
                pictures.append(Picture(row, label, seen, str(row), key))  # type: ignore[arg-type]  # it is read alike
    return pictures
