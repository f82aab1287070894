"""The user's own pictures: a folder with a sub-folder for each class."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from labwright.data import Batch, Data
from labwright.errors import LabwrightError, listed
from labwright.ports import Classes, Image, Port
from pydantic import Field
from torch import Tensor

from labwright_vision.data.augment import Affine, Flip, Rotate, Scale, Shift
from labwright_vision.data.pictures import SUFFIXES, held_out, read_picture, scaled

# What pretrained networks expect: mean and deviation over ImageNet, values 0..1; for grey pictures the channels' mean.
_MEAN = {3: (0.485, 0.456, 0.406), 1: (0.449,)}
_DEVIATION = {3: (0.229, 0.224, 0.225), 1: (0.226,)}
_KEPT = "image_folder.json"


@dataclass(frozen=True)
class _Found:
    """The pictures of one part, ordered by class and path: files, labels, and a number made of each file's name."""

    paths: tuple[Path, ...]
    labels: np.ndarray
    keys: tuple[int, ...]

    def __getitem__(self, mask: np.ndarray) -> _Found:
        chosen = np.flatnonzero(mask)
        return _Found(tuple(self.paths[i] for i in chosen), self.labels[chosen], tuple(self.keys[i] for i in chosen))


class ImageFolder(Data):
    """Pictures of any format Pillow reads, in one sub-folder for each class; the sub-folders' names are the classes.

    Sub-folders `train`, `valid` (or `val`) and `test` with the classes below them are taken as they are. A part without
    a folder is held out: `valid` and `test` are its shares of the pictures there are to learn from, each class in
    proportion; 0 is no such part. The choice follows from the files' names, so that new pictures move few old ones.

    A picture is cut to a square around its middle and resized to `size` pixels, with 3 or 1 `channels`; values are
    scaled by the mean and deviation of ImageNet. `rotate`, `shift`, `scale` and `flip` augment the training pictures.
    """

    item = Image
    target = Classes
    source = "a folder of yours"
    licence = "yours"
    suffixes = SUFFIXES
    in_memory = False

    def __init__(
        self,
        *,
        folder: Path,
        size: Annotated[int, Field(ge=4, description="pixels along a side")] = 64,
        channels: Literal[1, 3] = 3,
        valid: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        test: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
        flip: Flip = False,
    ) -> None:
        self.folder, self.size, self.channels = folder, size, channels
        self.valid, self.test = valid, test
        self.rotate, self.shift, self.scale, self.flip = rotate, shift, scale, flip
        self.names: tuple[str, ...] = ()
        self._splits: dict[str, Files] = {}

    def prepare(self) -> None:
        root = self.folder.expanduser()
        if not root.is_dir():
            raise LabwrightError(f"task.data.folder: there is no folder {str(root)!r}.")
        own = root / "train"
        base = own if own.is_dir() and _folders(own) else root
        self.names = tuple(folder.name for folder in _folders(base))
        if not self.names:
            raise LabwrightError(f"{base} has no sub-folders: put the pictures of each class into one of its own.")
        if len(self.names) == 1:
            raise LabwrightError(f"{base} has one class only, {self.names[0]!r}: there is nothing to tell apart.")
        rest = _found(base, self.names, all_classes=True)
        parts = {}
        for name, folder in (("test", "test"), ("valid", "val"), ("valid", "valid")):
            if base == own and (root / folder).is_dir():
                parts[name] = _found(root / folder, self.names, all_classes=False)
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in parts and getattr(self, name)}
        if sum(shares.values()) >= 1:
            raise LabwrightError(
                f"task.data: valid and test leave nothing to learn from, given {self.valid}, {self.test}."
            )
        left = 1.0
        for name, share in shares.items():
            mask = held_out(rest.labels.tolist(), share / left, rest.keys)
            parts[name], rest = rest[mask], rest[~mask]
            left -= share
            if not mask.any():
                raise LabwrightError(
                    f"{base} has so few pictures that {share} of them is none: raise task.data.{name}, or set it to 0."
                )
        missing = [self.names[label] for label in set(range(len(self.names))) - set(rest.labels.tolist())]
        if missing:
            raise LabwrightError(
                f"{base}: no picture of {listed(missing)} is left to learn from; valid and test took all."
            )
        affine = Affine(len(rest.paths), rotate=self.rotate, shift=self.shift, scale=self.scale, flip=self.flip)
        self._splits = {name: self._files(part) for name, part in parts.items()}
        self._splits["train"] = self._files(rest, affine)

    def ports(self) -> tuple[Port, Port]:
        return Image(self.channels, self.size, self.size), Classes(self.names)

    def split(self, name: str) -> Files | None:
        return self._splits.get(name)

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return (_normal(read_picture(path, channels=self.channels, height=self.size, width=self.size)[None]),)

    def save(self, folder: Path) -> None:
        kept = {"classes": self.names, "size": self.size, "channels": self.channels}
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.names, self.size, self.channels = tuple(kept["classes"]), kept["size"], kept["channels"]

    def _files(self, part: _Found, augment: Affine | None = None) -> Files:
        return Files(part.paths, torch.from_numpy(part.labels), self.channels, self.size, augment)


class Files:
    """A split that reads a batch's pictures when they are asked for. N samples; labels_N int64."""

    def __init__(
        self, paths: Sequence[Path], labels: Tensor, channels: int, size: int, augment: Affine | None = None
    ) -> None:
        self.paths, self.labels, self.channels, self.size = paths, labels, channels, size
        self.augment = augment if augment is not None and augment.active else None

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        chosen = (self.paths[index] for index in indices.tolist())
        pixels = [read_picture(path, channels=self.channels, height=self.size, width=self.size) for path in chosen]
        x_BCHW = _normal(np.stack(pixels))
        if self.augment is not None:
            x_BCHW = self.augment(x_BCHW, indices, epoch, seed)
        return Batch((x_BCHW,), self.labels[indices])


def _normal(pixels: np.ndarray) -> Tensor:
    channels = pixels.shape[1]
    mean, deviation = torch.tensor(_MEAN[channels]), torch.tensor(_DEVIATION[channels])
    return scaled(pixels, mean[:, None, None], deviation[:, None, None])


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _folders(folder: Path) -> list[Path]:
    """The classes' folders, sorted; hidden ones are left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _found(base: Path, names: tuple[str, ...], *, all_classes: bool) -> _Found:
    """The pictures below `base`. Raises LabwrightError naming a folder that is no class, or one without pictures."""
    strange = [folder.name for folder in _folders(base) if folder.name not in names]
    if strange:
        raise LabwrightError(f"{base} has classes that are not among the training pictures: {listed(strange)}.")
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        of_class = _pictures(base / name)
        if all_classes and not of_class:
            raise LabwrightError(
                f"{base / name} has no pictures: put some there ({listed(SUFFIXES)}), or take it away."
            )
        paths += of_class
        labels += [label] * len(of_class)
    if not paths:
        raise LabwrightError(f"{base} has no pictures: put some there ({listed(SUFFIXES)}), or take it away.")
    keys = (hashlib.sha256(path.relative_to(base).as_posix().encode()).digest()[:8] for path in paths)
    return _Found(tuple(paths), np.array(labels), tuple(int.from_bytes(key) for key in keys))
