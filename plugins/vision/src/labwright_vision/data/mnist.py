"""MNIST: read from a folder, or downloaded into it."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from labwright import Classes, Data, Image, LabwrightError, LeftOut, Port, derived_seed
from labwright_tasks import other_data
from labwright_tasks.other_data import Facts, drift, none_known, unknown
from pydantic import Field
from torch import Tensor

from labwright_vision.data import folders
from labwright_vision.data.augment import Affine, Rotate, Scale, Shift
from labwright_vision.data.checking import cache
from labwright_vision.data.idx import read_idx
from labwright_vision.data.pictures import Pictures, Share, held_out, of_known, scaled
from labwright_vision.data.reading import SUFFIXES, read_picture

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",  # PyTorch's, torchvision's first choice
    "https://storage.googleapis.com/cvdf-datasets/mnist/",  # TensorFlow Datasets'
)
SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_SIDE = 28
_HOLDS = "idx file of pictures, such as t10k-images-idx3-ubyte.gz, no .npz and no folder"
_MEAN, _DEVIATION = 0.1307, 0.3081  # of the 60,000 training pictures, values 0..1
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")

_MEDICAL = tuple(f"{part}_{what}" for part in ("train", "test", "val") for what in ("images", "labels"))
_LABELS = dict(zip((*_ARRAYS[::2], *_MEDICAL[::2]), (*_ARRAYS[1::2], *_MEDICAL[1::2]), strict=True))
_DIGITS = tuple("0123456789")

Parts = tuple[np.ndarray, ...]  # pictures and labels of the training part, of the test part, and maybe of valid


class Mnist(Data):
    """Handwritten digits of 28x28 pixels, white on black: 60,000 to learn from and 10,000 to test on.

    Sets in the same layout are read as well: Fashion-MNIST's four files, and what MedMNIST (Yang et al. 2023) has in
    grey and 28x28, an npz file with train_images, train_labels and so on. What is held out for validation are the same
    pictures each time, of each class in proportion.

    `read` takes a picture of any size: it is turned to grey and resized, not inverted, so show white on black;
    what is transparent is black.

    Args:
        folder: folder of the four idx files, gzipped or not, or of an `mnist.npz` with x_train, y_train, x_test,
            y_test, or that file; without them the files are downloaded into it. Left out: `labwright/mnist` in the
            user's cache.
        classes: names of the classes, in the order of the labels.
    """

    item = Image
    target = Classes
    source = "LeCun, Cortes & Burges 1998, The MNIST database of handwritten digits"
    licence = "CC BY-SA 3.0"
    suffixes = SUFFIXES

    def __init__(
        self,
        *,
        folder: Path | None = None,
        classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=256)] = _DIGITS,
        valid: Share = 0.1,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
    ) -> None:
        self.folder, self.classes = folder, classes
        self.valid, self.rotate, self.shift, self.scale = valid, rotate, shift, scale
        self._splits: dict[str, Pictures] = {}
        self._left_out: Sequence[LeftOut] = ()
        self._remarks: Sequence[str] = ()
        self.facts: Facts = {}  # of the training pictures

    def prepare(self) -> None:
        folder = cache() / "mnist" if self.folder is None else folders.expanded(self.folder)
        x_train, y_train, x_test, y_test, *valid = read_mnist(folder, classes=len(self.classes))
        share = 0.0 if valid else self.valid
        mask = held_out(y_train.tolist(), share, [derived_seed(position) for position in range(len(y_train))])
        affine = Affine(
            len(mask) - int(mask.sum()),
            rotate=self.rotate,
            shift=self.shift,
            scale=self.scale,
            fill=-_MEAN / _DEVIATION,
        )
        self._splits = {"train": _part(x_train[~mask], y_train[~mask], affine), "test": _part(x_test, y_test)}
        if mask.any() or valid:
            self._splits["valid"] = _part(valid[0], valid[1]) if valid else _part(x_train[mask], y_train[mask])
        self.facts = self._facts_of("train")

    def on(self, path: Path) -> Self:
        """A file of pictures in the idx format with its labels beside it, an .npz file, or all such of a folder.

        Or pictures in a folder for each digit, white on black.
        """
        if path.is_dir() and not _files_at(path):
            return self._on_folders(path)
        parts = [arrays for file in _files_at(path) for arrays in _read_whole(file, labelled=True)]
        if not parts:
            raise LabwrightError(f"{path} is no {_HOLDS}.")
        pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        known = labels < len(self.classes)
        if not known.any():
            raise none_known(path, map(str, labels.tolist()), self.classes)
        other = copy(self)
        other._splits = {"test": _part(pixels[known], labels[known])}
        other._left_out = unknown(map(str, labels[~known].tolist()), "pictures")
        other._remarks = drift(other._facts_of("test"), self.facts, int(known.sum()))
        return other

    def _on_folders(self, path: Path) -> Self:
        other, tally = copy(self), folders.Tally()
        known = folders.known_pictures(path, self.classes, tally)
        other._splits = {"test": of_known(known, self.read)}
        other._left_out = [*unknown(known.strange, "pictures"), *tally.left_out()]
        other._remarks = [*known.together(path), *drift(other._facts_of("test"), self.facts, len(known.files))]
        return other

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """The pictures of idx or .npz files, with labels or without."""
        files = _files_at(path)
        return _pictures(files) if files else None

    def _facts_of(self, split: str) -> Facts:
        part = self._splits[split]
        bright_N = part.x.mean((1, 2, 3)) * _DEVIATION + _MEAN
        return other_data.facts({"brightness, from 0 to 1,": bright_N}, part.labels, self.classes)

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def save(self, folder: Path) -> None:
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        self.facts = other_data.kept(folder)

    def ports(self) -> tuple[Port, Port]:
        return Image(1, _SIDE, _SIDE), Classes(self.classes)

    def split(self, name: str) -> Pictures | None:
        return self._splits.get(name)

    def identity(self, split: str) -> Iterator[str]:
        return self._splits[split].identity()

    def files(self, folder: Path) -> list[Path]:
        return folders.pictures(folder, folders.Tally())

    def read(self, path: folders.Found) -> tuple[Tensor, ...]:
        pixels = read_picture(path, channels=1, height=_SIDE, width=_SIDE, background=0)
        return (scaled(pixels, _MEAN, _DEVIATION)[None],)


def read_mnist(
    folder: Path, mirrors: Sequence[str] = MIRRORS, checksums: Mapping[str, str] = SHA256, classes: int = 10
) -> Parts:
    """Pictures (N, 28, 28) and labels (N,), uint8: of the training part, the test part, and valid if there is one.

    Raises LabwrightError naming the file that is missing and can't be downloaded, or can't be used.
    """
    archives = [folder] if folder.suffix == ".npz" else sorted(folder.glob("*.npz"))
    archive = next((path for path in archives if path.name == "mnist.npz" or len(archives) == 1), None)
    if archive is not None:
        parts = _read_archive(archive)
    else:
        parts = _read_files([_found(folder, name) or _download(folder, name, mirrors, checksums) for name in SHA256])
    for where, pictures, labels in zip(("training", "test", "valid"), parts[::2], parts[1::2], strict=False):
        if pictures.shape != (labels.size, _SIDE, _SIDE) or labels.ndim != 1 or not labels.size:
            raise LabwrightError(
                f"{folder}: the {where} part is no MNIST: pictures of shape {pictures.shape} and labels of shape "
                f"{labels.shape}, not (N, 28, 28) and (N,)."
            )
        if labels.max() >= classes:
            raise LabwrightError(
                f"{folder}: a label of the {where} part is {labels.max()}, and task.data.classes names {classes}: 0 to "
                f"{classes - 1}. Name one for each label."
            )
    return parts


def _files_at(path: Path) -> list[Path]:
    """The files of pictures at a path: itself, or those in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if file.suffix == ".npz" or ("images" in file.name and "idx3" in file.name)]


def _read_whole(path: Path, *, labelled: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pictures (N, 28, 28) of a file and their labels (N,); no labels (0,) if they aren't asked for."""
    if path.suffix == ".npz":
        arrays = _arrays(path, [name for pair in _LABELS.items() for name in (pair if labelled else pair[:1])])
        if not arrays:
            raise LabwrightError(f"{path} has none of the arrays {', '.join(_ARRAYS)}.")
    else:
        arrays = {"x_test": read_idx(path)}
        if labelled:
            name = path.name.replace("images", "labels").replace("idx3", "idx1")
            arrays["y_test"] = read_idx(_labels_of(path, name))
    for name, of in _LABELS.items():
        if name not in arrays:
            continue
        pixels, labels = arrays[name], _flat(arrays.get(of, np.zeros(0, dtype=np.uint8)))
        if pixels.shape[1:] != (_SIDE, _SIDE) or (labelled and labels.shape != pixels.shape[:1]):
            raise LabwrightError(
                f"{path}: pictures of shape {pixels.shape}, labels of shape {labels.shape}, not (N, 28, 28) and (N,)."
            )
        yield pixels, labels


def _labels_of(path: Path, name: str) -> Path:
    for beside in (path.with_name(name), path.with_name(name.removesuffix(".gz")), path.with_name(f"{name}.gz")):
        if beside.is_file():
            return beside
    raise LabwrightError(
        f"{path} has no labels beside it, in {name}. `labwright predict RUN --on {path}` answers without."
    )


def _pictures(files: Sequence[Path]) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
    for file in files:
        for pixels, _ in _read_whole(file, labelled=False):
            for number, picture in enumerate(pixels, 1):
                yield f"{file}, picture {number}", partial(_picture, picture)


def _picture(pixels: np.ndarray) -> tuple[Tensor, ...]:
    return (scaled(pixels[None, None], _MEAN, _DEVIATION),)


def _part(pixels: np.ndarray, labels: np.ndarray, augment: Affine | None = None) -> Pictures:
    return Pictures(scaled(pixels[:, None], _MEAN, _DEVIATION), torch.from_numpy(labels.astype(np.int64)), augment)


def _read_archive(path: Path) -> Parts:
    arrays = _arrays(path, (*_ARRAYS, *_MEDICAL))
    needed = _MEDICAL if _MEDICAL[0] in arrays else _ARRAYS
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise LabwrightError(f"{path} has no {missing[0]}: it must be an npz file with {', '.join(needed)}.")
    return tuple(_flat(arrays[name]) for name in needed)


def _flat(array: np.ndarray) -> np.ndarray:
    """Labels in a column, as MedMNIST has them, as (N,)."""
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of some arrays that are in an npz file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: _as_bytes(name, arrays[name]) for name in names if name in arrays}
    except Exception as error:  # numpy and zipfile raise ten kinds for what is torn
        needed = ", ".join(_ARRAYS)
        raise LabwrightError(f"{path} can't be read ({error}): it must be an npz file with {needed}.") from error


def _as_bytes(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "ui" or (array.size and not 0 <= array.min() <= array.max() <= 255):
        raise ValueError(f"{name} holds other values than whole numbers 0..255")
    return array.astype(np.uint8)


def _read_files(paths: Sequence[Path]) -> Parts:
    x_train, y_train, x_test, y_test = (read_idx(path) for path in paths)
    return x_train, y_train, x_test, y_test


def _found(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / name.removesuffix(".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _download(folder: Path, name: str, mirrors: Sequence[str], checksums: Mapping[str, str]) -> Path:
    """Fetch one file from the first mirror that has it right; nothing is kept under its name until it is checked."""
    reasons = []
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + name, timeout=30) as answer:  # noqa: S310 - the mirrors are ours
                content: bytes = answer.read()
        except (OSError, ValueError) as error:
            reasons.append(f"{mirror}: {error}")
            continue
        if hashlib.sha256(content).hexdigest() == checksums[name]:
            return _kept(folder / name, content)
        reasons.append(f"{mirror}: what came has another checksum")
    raise LabwrightError(
        f"MNIST is not in {folder} and {name} can't be downloaded ({'; '.join(reasons)}). Put {', '.join(SHA256)} "
        f"there, or an mnist.npz with {', '.join(_ARRAYS)}; or say where they are: `task.data.folder=FOLDER`."
    )


def _kept(path: Path, content: bytes) -> Path:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise LabwrightError(
            f"{path} can't be written ({error}): choose another folder by `task.data.folder`."
        ) from error
    return path
