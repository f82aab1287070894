"""Pictures in an .npz file of numpy's, in MedMNIST's layout or Keras'. N samples, H height, W width, L labels."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from labwright import Classes, Heads, LabwrightError, LeftOut, listed, located, sentence
from pydantic import Field

from labwright_vision.data.arrays import PictureArrays, Pixels
from labwright_vision.data.augment import Crop, Flip, Grey, Jitter, Rotate, Scale, Shift
from labwright_vision.data.folders import expanded, plural
from labwright_vision.data.pictures import Share
from labwright_vision.data.policies import Erase, Policy

_LAYOUTS = {  # by the array that tells them, pictures and labels of each part
    "train_images": {
        part: (f"{name}_images", f"{name}_labels")
        for part, name in (("train", "train"), ("valid", "val"), ("test", "test"))
    },
    "x_train": {part: (f"x_{part}", f"y_{part}") for part in ("train", "valid", "test")},
}
_CHANNELS = (1, 3, 4)  # that stand last
_WHITE, _DARK = 255, 16  # times too small: 16 shades are left of 256


class Npz(PictureArrays):
    """Pictures in an .npz file, grey or in colour, of any size: all of MedMNIST's flat sets (Yang et al. 2023).

    Arrays are pictures (N, H, W) or (N, H, W, 3) of bytes, and labels (N,) or (N, 1). What is held out for validation
    are the same pictures each time, of each class in proportion.

    Args:
        path: file with the arrays train_images, train_labels, val_images and so on, or x_train, y_train, x_test,
            y_test.
        classes: names of the classes, in the order of the labels, or of the heads; left out: 0, 1 and so on.
        targets: what labels are: the class of each picture; or several, (N, L) of 0 and 1 as chestmnist's, each a head,
            yes or no, for the task `multi`.
    """

    source = "a file of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        classes: Annotated[tuple[str, ...], Field(max_length=10_000)] = (),
        targets: Literal["classes", "several"] = "classes",
        valid: Share = 0.1,
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
            valid=valid,
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
        self.path, self.classes = path, classes
        self.target = Heads if targets == "several" else Classes

    def parts(self) -> tuple[dict[str, Pixels], tuple[str, ...]]:
        path = expanded(self.path)
        parts, unread = _read(path)
        self._left_out = _unused(unread)
        if "train" not in parts:
            raise LabwrightError(
                f"{path} has no pictures to learn from with labels: {' or '.join(_LAYOUTS)} and theirs."
            )
        for part, pixels in parts.items():
            self._check(path, part, pixels)
        train = parts["train"].labels
        count = train.shape[1] if train.ndim == 2 else int(max(part.labels.max() for part in parts.values())) + 1
        names = self.classes or tuple(map(str, range(count)))
        if (len(names) != count) if train.ndim == 2 else (len(names) < count):
            what = f"{count} labels for each picture" if train.ndim == 2 else f"labels up to {count - 1}"
            raise LabwrightError(f"task.data.classes: {path} has {what}, and {len(names)} are named: {listed(names)}.")
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise LabwrightError(f"task.data.classes: {twice[0]!r} stands there twice; give each its own name.")
        self._remarks = _dark(parts["train"])
        return parts, names

    def others(self, path: Path) -> list[Pixels]:
        return [*_read(path)[0].values()] if path.suffix == ".npz" else []

    def _check(self, path: Path, part: str, pixels: Pixels) -> None:
        several = pixels.labels.ndim == 2
        if several and not issubclass(self.target, Heads):
            raise LabwrightError(
                f"{path}: labels of {part} have the shape {pixels.labels.shape}, several for each picture: "
                "task.data.targets=several makes each a head of the task 'multi'."
            )
        if not several and issubclass(self.target, Heads):
            raise LabwrightError(f"{path}: labels of {part} are one for each picture; leave task.data.targets out.")
        if several and pixels.labels.max(initial=0) > 1:
            raise LabwrightError(
                f"{path}: labels of {part} are up to {pixels.labels.max()}; of several each is 0 or 1."
            )


def _dark(train: Pixels) -> list[str]:
    """A sentence for arrays of 0 and 1, say, beside which a picture in a file is far too bright."""
    high = int(train.pictures.max())
    if not 0 < high * _DARK <= _WHITE:
        return []
    return [
        f"pictures to learn from have values up to {high} where {_WHITE} is white, nearly black therefore, and files "
        f"that are predicted won't be: multiply the arrays by {_WHITE // high}."
    ]


def _unused(arrays: list[str]) -> list[LeftOut]:
    why = f"not pictures with labels beside them, of a part: {listed(arrays)}"
    return [LeftOut(len(arrays), plural("array", len(arrays)), why)] if arrays else []


def _read(path: Path) -> tuple[dict[str, Pixels], list[str]]:
    """The parts in a file, and the arrays of no part. Raises LabwrightError naming the array that can't be used."""
    if not path.is_file():
        raise LabwrightError(f"task.data.path: there is no file {located(path)}.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = {
                part: (x, y)
                for layout in _LAYOUTS.values()
                for part, (x, y) in layout.items()
                if x in arrays and y in arrays
            }
            if not names:
                raise LabwrightError(
                    f"{path} has the arrays {listed(arrays)}; pictures are called {' or '.join(_LAYOUTS)} and so on, "
                    "and have their labels beside them."
                )
            found = {part: (x, arrays[x], arrays[y]) for part, (x, y) in names.items()}
            unread = [name for name in arrays if not any(name in both for both in names.values())]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise LabwrightError(
            f"{path} can't be read as an .npz file of numbers, without pickles: {sentence(str(error))}"
        ) from error
    return {part: _pixels(f"{path}: {name}", *both) for part, (name, *both) in found.items()}, unread


def _pixels(where: str, pictures: np.ndarray, labels: np.ndarray) -> Pixels:
    """Pictures (N, C, H, W) with labels (N,) or (N, L). Raises LabwrightError for arrays of another shape or type."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # a column, as MedMNIST has them
    if labels.ndim not in (1, 2) or len(labels) != len(pictures) or not len(labels):
        raise LabwrightError(
            f"{where} has the shape {pictures.shape}, with labels of {labels.shape}: one row for each."
        )
    for array in (pictures, labels):
        if array.dtype.kind not in "uib" or array.min() < 0 or (array is pictures and array.max() > 255):
            raise LabwrightError(
                f"{where} or its labels hold {array.dtype}: pictures are whole numbers 0 to 255, labels from 0."
            )
    if pictures.dtype.kind == "b":
        pictures = pictures * np.uint8(255)  # true is white, as it is in a file of 1 bit
    if pictures.ndim == 4 and pictures.shape[3] in _CHANNELS:
        pictures = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    elif pictures.ndim == 3:
        pictures = pictures[:, None]
    else:
        solid = (
            "volumes, which aren't pictures" if pictures.ndim == 4 and min(pictures.shape[1:]) > 4 else "no pictures"
        )
        raise LabwrightError(f"{where} has the shape {pictures.shape}: {solid}; they are (N, H, W) or (N, H, W, 3).")
    return Pixels(pictures.astype(np.uint8), labels.astype(np.int64))
