"""Pictures that lie in arrays of bytes, in memory: what data of them shares.

N samples, B batch, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from labwright import Batch, Classes, Data, Heads, Image, LabwrightError, LeftOut, Port, derived_seed
from labwright_tasks import other_data
from labwright_tasks.other_data import Facts, drift, none_known, unknown
from torch import Tensor

from labwright_vision.data.augment import Augment
from labwright_vision.data.folders import Tally, known_pictures, pictures
from labwright_vision.data.pictures import held_out, rows_of, scaled
from labwright_vision.data.reading import SUFFIXES, read_picture
from labwright_vision.data.steps import check_changes, steps

_KEPT = "arrays.json"
_FLAT = 1e-3  # of a channel that is the same everywhere
_DIGESTED = 4096  # pictures
_AT_ONCE = 1000  # pictures


@dataclass(frozen=True)
class Pixels:
    """Pictures of a part (N, C, H, W) uint8, and their labels: (N,), or (N, L) of 0 and 1 where each has several."""

    pictures: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> Pixels:
        return Pixels(self.pictures[rows], self.labels[rows])


class ArrayPart:
    """A split in memory as bytes, scaled when it is fetched; labels (N,) int64, or by head."""

    def __init__(
        self, pixels: np.ndarray, labels: Any, mean: Tensor, deviation: Tensor, augment: Sequence[Augment] = ()
    ) -> None:
        self.pixels, self.labels, self.mean, self.deviation, self.augment = pixels, labels, mean, deviation, augment

    def __len__(self) -> int:
        return len(self.pixels)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        x_BCHW = scaled(self.pixels[indices.numpy()], self.mean, self.deviation)
        for step in self.augment:
            x_BCHW = step(x_BCHW, indices, epoch, seed)
        return Batch((x_BCHW,), rows_of(self.labels, indices))

    def plain(self) -> ArrayPart:
        return ArrayPart(self.pixels, self.labels, self.mean, self.deviation)


class PictureArrays(Data, ABC):
    """Pictures of one size in arrays, scaled by the mean and deviation of each channel of the training pictures.

    A part that isn't there is held out: `valid` is its share of the training pictures, the same ones each time, each
    class in proportion.
    """

    item = Image
    target: type[Port] = Classes  # type: ignore[misc]  # of a set with several labels Heads
    suffixes = SUFFIXES

    def __init__(self, *, valid: float, **changes: Any) -> None:
        self.valid, self.changes = valid, changes
        self.names: tuple[str, ...] = ()  # of the classes, or of the heads
        self.shape: tuple[int, int, int] = (1, 1, 1)
        self.mean: tuple[float, ...] = (0.0,)
        self.deviation: tuple[float, ...] = (1.0,)
        self._splits: dict[str, ArrayPart] = {}
        self._left_out: Sequence[LeftOut] = ()
        self._remarks: Sequence[str] = ()
        self.facts: Facts = {}  # of the training pictures

    @abstractmethod
    def parts(self) -> tuple[dict[str, Pixels], tuple[str, ...]]:
        """The pictures of `train`, and of other parts there are; and the names of classes, or of heads."""

    @abstractmethod
    def others(self, path: Path) -> list[Pixels]:
        """The pictures and labels of other files of this layout, with one or no part; none: it is another layout."""

    def prepare(self) -> None:
        parts, self.names = self.parts()
        parts = self._held_out(parts)
        train = parts["train"].pictures
        _, channels, height, width = train.shape
        self.shape = (channels, height, width)
        check_changes(self.changes, self.shape[0])
        for name, part in parts.items():
            if (part.pictures.shape[1:], part.labels.shape[1:]) != (train.shape[1:], parts["train"].labels.shape[1:]):
                raise LabwrightError(
                    f"task.data: {name} has pictures of {part.pictures.shape[1:]} with labels of "
                    f"{part.labels.shape[1:] or 'one'}; those of train are {self.shape} with "
                    f"{parts['train'].labels.shape[1:] or 'one'}."
                )
        self.mean, self.deviation = _scaling_of(train)
        augment = steps(len(train), self.changes, mean=self.mean, deviation=self.deviation)
        self._splits = {name: self._part(part, augment if name == "train" else ()) for name, part in parts.items()}
        self.facts = self._facts_of(self._splits["train"])
        self._remarks = [*self._remarks, *_in_two_parts(parts)]

    def ports(self) -> tuple[Port, Port]:
        heads = Heads({name: Classes(("no", "yes")) for name in self.names}) if issubclass(self.target, Heads) else None
        return Image(*self.shape), heads or Classes(self.names)

    def split(self, name: str) -> ArrayPart | None:
        return self._splits.get(name)

    def on(self, path: Path) -> Self:
        """Other files of this layout, all parts together; or pictures in a sub-folder for each class."""
        other, tally, strange, remarks = copy(self), Tally(), list[str](), list[str]()
        parts = self.others(path)
        if not parts and self.target is not Classes:
            raise LabwrightError(f"{path}: a folder says one class of each picture, and this data has several labels.")
        if parts:
            for pixels in parts:
                self._check_other(path, pixels)
            whole = Pixels(*(np.concatenate(arrays) for arrays in zip(*map(astuple, parts), strict=True)))
            known = whole.labels < len(self.names) if whole.labels.ndim == 1 else np.ones(len(whole.labels), bool)
            strange = list(map(str, whole.labels[~known].tolist()))
            if not known.any():
                raise none_known(path, strange, self.names)
            whole = whole.take(known)
        else:
            found = known_pictures(path, self.names, tally)
            channels, height, width = self.shape
            read = [read_picture(file, channels=channels, height=height, width=width) for file, _ in found.files]
            whole = Pixels(np.stack(read), np.array([label for _, label in found.files]))
            strange, remarks = found.strange, found.together(path)
        part = self._part(whole)
        other._splits = {"test": part}
        other._left_out = [*unknown(strange, "pictures"), *tally.left_out()]
        other._remarks = [*remarks, *drift(self._facts_of(part), self.facts, len(part))]
        return other

    def _check_other(self, path: Path, whole: Pixels) -> None:
        labels = (len(self.names),) if issubclass(self.target, Heads) else ()
        if (whole.pictures.shape[1:], whole.labels.shape[1:]) != (self.shape, labels):
            raise LabwrightError(
                f"{path} has pictures of {whole.pictures.shape[1:]} with labels of {whole.labels.shape[1:] or 'one'}; "
                f"the run learned from {self.shape} with {labels or 'one'}."
            )

    def read(self, path: Path) -> tuple[Tensor, ...]:
        channels, height, width = self.shape
        pixels = read_picture(path, channels=channels, height=height, width=width)
        return (scaled(pixels[None], *self._scaling()),)

    def files(self, folder: Path) -> list[Path]:
        return pictures(folder, Tally())

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def identity(self, split: str) -> Iterator[str]:
        part = self._splits[split]
        for array in (part.pixels[:: max(1, len(part) // _DIGESTED)], _table(part.labels)):
            yield hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

    def save(self, folder: Path) -> None:
        kept = {"names": self.names, "shape": self.shape, "mean": self.mean, "deviation": self.deviation}
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.names, (channels, height, width) = tuple(kept["names"]), kept["shape"]
        self.shape = (channels, height, width)
        self.mean, self.deviation = tuple(kept["mean"]), tuple(kept["deviation"])
        self.facts = other_data.kept(folder)

    def _scaling(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.mean)[:, None, None], torch.tensor(self.deviation)[:, None, None]

    def _part(self, part: Pixels, augment: Sequence[Augment] = ()) -> ArrayPart:
        labels = torch.from_numpy(part.labels.astype(np.int64))
        targets = labels if labels.dim() == 1 else dict(zip(self.names, labels.unbind(1), strict=True))
        return ArrayPart(part.pictures, targets, *self._scaling(), augment)

    def _facts_of(self, part: ArrayPart) -> Facts:
        bright_N = torch.from_numpy(part.pixels.mean((1, 2, 3)) / 255)
        labels = part.labels if isinstance(part.labels, Tensor) else None
        return other_data.facts({"brightness, from 0 to 1,": bright_N}, labels, self.names)

    def _held_out(self, parts: dict[str, Pixels]) -> dict[str, Pixels]:
        if "valid" in parts or not self.valid:
            return parts
        train = parts["train"]
        labels = train.labels if train.labels.ndim == 1 else np.zeros(len(train.labels), dtype=np.int64)
        mask = held_out(labels.tolist(), self.valid, [derived_seed(position) for position in range(len(labels))])
        if not mask.any() or mask.all():
            what = "all" if mask.all() else "none"
            raise LabwrightError(
                f"task.data.valid: {self.valid} of {len(labels):,} pictures is {what}; change it, or set it to 0."
            )
        return parts | {"train": train.take(~mask), "valid": train.take(mask)}


def _in_two_parts(parts: Mapping[str, Pixels]) -> Iterator[str]:
    """A sentence for each part with pictures of one before it."""
    known: dict[bytes, str] = {}
    for name in (name for name in ("train", "valid", "test") if name in parts):
        digests = [hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in parts[name].pictures]
        if copies := [place for place, digest in enumerate(digests) if digest in known]:
            yield (
                f"{len(copies):,} of {len(digests):,} pictures of {name} are in another part as well, such as number "
                f"{copies[0]:,}, {known[digests[copies[0]]]}: {name} flatters. `labwright check-data` names them all."
            )
        for place, digest in enumerate(digests):
            known.setdefault(digest, f"which is number {place:,} of {name}")


def _scaling_of(pictures_NCHW: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, values 0..1, by how often each value occurs: exact, and small in memory."""
    counts_CV = np.zeros((pictures_NCHW.shape[1], 256))
    for start in range(0, len(pictures_NCHW), _AT_ONCE):
        for channel, counts_V in enumerate(counts_CV):
            counts_V += np.bincount(pictures_NCHW[start : start + _AT_ONCE, channel].ravel(), minlength=256)
    values_V, shares_CV = np.arange(256) / 255, counts_CV / counts_CV.sum(1, keepdims=True)
    mean_C = shares_CV @ values_V
    deviation_C = np.sqrt((shares_CV * (values_V - mean_C[:, None]) ** 2).sum(1)).clip(_FLAT)
    return tuple(mean_C.tolist()), tuple(deviation_C.tolist())


def _table(labels: Tensor | Mapping[str, Tensor]) -> np.ndarray:
    return np.asarray(labels if isinstance(labels, Tensor) else torch.stack([*labels.values()]))
