"""The handwritten digits that come with scikit-learn, 8x8 pixels."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from copy import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import numpy as np
import torch
from labwright import Classes, Data, Image, LabwrightError, LeftOut, Port, derived_seed
from labwright_tasks import other_data
from labwright_tasks.other_data import Facts, drift, unknown
from torch import Tensor

from labwright_vision.data.augment import Affine, Rotate, Scale, Shift
from labwright_vision.data.folders import Found, Tally, known_pictures, pictures
from labwright_vision.data.pictures import Pictures, Share, held_out, of_known, scaled
from labwright_vision.data.reading import SUFFIXES, read_picture

_COUNT, _SIDE, _TOP = 1797, 8, 16  # pictures; pixels; the largest pixel value
_NAMES = tuple("0123456789")
_MEAN, _DEVIATION = 0.3053, 0.3761  # of all 1,797 pictures, values 0..1
_TEST = Path(__file__).with_name("digits_test.txt")


class Digits(Data):
    """1,797 handwritten digits of 8x8 pixels, white on black.

    The 360 test pictures are those of scikit-learn's `train_test_split(test_size=0.2, stratify=y, random_state=0)`.
    Those held out for validation are of the other 1,437, the same ones each time, of each class in proportion.

    `read` takes a picture of any size: it is turned to grey and resized, not inverted, so show white on black;
    what is transparent is black.
    """

    item = Image
    target = Classes
    source = "scikit-learn; UCI Machine Learning Repository, Optical Recognition of Handwritten Digits (test part)"
    licence = "CC BY 4.0"
    suffixes = SUFFIXES

    def __init__(
        self,
        *,
        valid: Share = 0.1,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
    ) -> None:
        self.valid, self.rotate, self.shift, self.scale = valid, rotate, shift, scale
        self._splits: dict[str, Pictures] = {}
        self._left_out: Sequence[LeftOut] = ()
        self._remarks: Sequence[str] = ()
        self.facts: Facts = {}  # of the training pictures

    def prepare(self) -> None:
        values, labels = _read_table(_table())
        x, y = scaled(values, _MEAN, _DEVIATION, _TOP), torch.from_numpy(labels)
        test = np.zeros(len(labels), dtype=bool)
        test[np.loadtxt(_TEST, dtype=np.int64)] = True
        rest = np.flatnonzero(~test)
        mask = held_out(labels[rest].tolist(), self.valid, [derived_seed(position) for position in rest.tolist()])
        self._splits = {"test": _part(x, y, np.flatnonzero(test))}
        if mask.any():
            self._splits["valid"] = _part(x, y, rest[mask])
        train = rest[~mask]
        affine = Affine(len(train), rotate=self.rotate, shift=self.shift, scale=self.scale, fill=-_MEAN / _DEVIATION)
        self._splits["train"] = _part(x, y, train, affine)
        self.facts = _facts_of(self._splits["train"])

    def on(self, path: Path) -> Self:
        """Pictures in a sub-folder for each digit, white on black."""
        other, tally = copy(self), Tally()
        known = known_pictures(path, _NAMES, tally)
        part = of_known(known, self.read)
        other._splits = {"test": part}
        other._left_out = [*unknown(known.strange, "pictures"), *tally.left_out()]
        other._remarks = [*known.together(path), *drift(_facts_of(part), self.facts, len(part))]
        return other

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def save(self, folder: Path) -> None:
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        self.facts = other_data.kept(folder)

    def ports(self) -> tuple[Port, Port]:
        return Image(1, _SIDE, _SIDE), Classes(_NAMES)

    def split(self, name: str) -> Pictures | None:
        return self._splits.get(name)

    def identity(self, split: str) -> Iterator[str]:
        return self._splits[split].identity()

    def files(self, folder: Path) -> list[Path]:
        return pictures(folder, Tally())

    def read(self, path: Found) -> tuple[Tensor, ...]:
        picture = read_picture(path, channels=1, height=_SIDE, width=_SIDE, background=0)
        return (scaled(picture, _MEAN, _DEVIATION)[None],)


def _facts_of(part: Pictures) -> Facts:
    """What pictures are like: how bright they are, and the share of each class."""
    bright_N = part.x.mean((1, 2, 3)) * _DEVIATION + _MEAN
    return other_data.facts({"brightness, from 0 to 1,": bright_N}, part.labels, _NAMES)


def pixels(x: Tensor) -> Tensor:
    """The pixel values 0..16 of pictures as a model sees them."""
    return (x * _DEVIATION + _MEAN) * _TOP


def _part(x: Tensor, y: Tensor, positions: np.ndarray, augment: Affine | None = None) -> Pictures:
    chosen = torch.from_numpy(positions)
    return Pictures(x[chosen], y[chosen], augment)


def _table() -> Path:
    """The file scikit-learn ships; found without importing scikit-learn, which takes a second."""
    spec = find_spec("sklearn")
    places: Sequence[str] = (spec.submodule_search_locations or ()) if spec else ()
    for place in places:
        path = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    raise LabwrightError("data 'vision/digits' comes with scikit-learn: `pip install scikit-learn` brings it.")


def _read_table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixel values 0..16 of shape (N, 1, 8, 8) and labels (N,) int64."""
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.int64)
        if table.shape != (_COUNT, _SIDE**2 + 1) or table.min() < 0 or table.max() > _TOP:
            raise ValueError(f"it is a table {table.shape}, or has values beyond 0 to {_TOP}")
        return table[:, :-1].reshape(-1, 1, _SIDE, _SIDE), table[:, -1]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise LabwrightError(f"{path} can't be read ({error}): install scikit-learn anew.") from error
