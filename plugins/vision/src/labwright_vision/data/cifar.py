"""CIFAR-10 and CIFAR-100 as their authors publish them in bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from labwright import LabwrightError, listed, located

from labwright_vision.data.arrays import PictureArrays, Pixels
from labwright_vision.data.augment import Crop, Flip, Grey, Jitter, Rotate, Scale, Shift
from labwright_vision.data.folders import expanded
from labwright_vision.data.pictures import Share
from labwright_vision.data.policies import Erase, Policy

_SHAPE = (3, 32, 32)
_BYTES = 3 * 32 * 32
_TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_INNER = ("cifar-10-batches-bin", "cifar-100-binary")  # folders that the archives unpack to
_PICKLES = ("data_batch_1", "test_batch", "batches.meta", "train", "test", "meta")
_PUBLISHED = "cifar-10-binary.tar.gz or cifar-100-binary.tar.gz, called 'binary version' by their authors"


class Cifar(PictureArrays):
    """CIFAR-10 or CIFAR-100, 32x32 pixels in colour: 50,000 to learn from and 10,000 to test on.

    Files that are Python pickles are refused: reading one can run any code. What is held out for validation are the
    same pictures each time, of each class in proportion.

    Args:
        folder: folder of the binary version, unpacked: data_batch_1.bin to data_batch_5.bin and test_batch.bin, or
            train.bin and test.bin.
        labels: which labels of CIFAR-100 are learned: those of the 100 classes, or of the 20 superclasses. CIFAR-10 has
            one kind.
    """

    source = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
    licence = "none is stated; to be cited"

    def __init__(
        self,
        *,
        folder: Path,
        labels: Literal["fine", "coarse"] = "fine",
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
        self.folder, self.labels = folder, labels

    def parts(self) -> tuple[dict[str, Pixels], tuple[str, ...]]:
        folder = _folder_of(expanded(self.folder))
        missing = [name for name in _BATCHES if not (folder / name).is_file()]
        if 0 < len(missing) < len(_BATCHES):
            self._remarks = [f"{folder} lacks {listed(missing)}: the others are all that there is to learn from."]
        return self._parts_in(folder)

    def others(self, path: Path) -> list[Pixels]:
        inside = _batches_in(path) if path.is_dir() else None
        return [] if inside is None else [*self._parts_in(inside)[0].values()]

    def _parts_in(self, folder: Path) -> tuple[dict[str, Pixels], tuple[str, ...]]:
        batches = [folder / name for name in _BATCHES if (folder / name).is_file()]
        ten = bool(batches)
        test = folder / ("test_batch.bin" if ten else "test.bin")
        files = {"train": batches or [folder / "train.bin"], "test": [test]}
        said = "batches.meta.txt" if ten else f"{self.labels}_label_names.txt"
        names = _names(folder / said, _TEN if ten else None)
        column = 0 if ten or self.labels == "coarse" else 1
        parts = {}
        for part, paths in files.items():
            rows = np.concatenate([_rows(path, 1 if ten else 2, column, len(names)) for path in paths])
            parts[part] = Pixels(rows[:, -_BYTES:].reshape(-1, *_SHAPE), rows[:, column])
        return parts, names


def _batches_in(folder: Path) -> Path | None:
    """The folder, or one in it, that has the files."""
    for candidate in (folder, *(folder / name for name in _INNER)):
        if any((candidate / name).is_file() for name in ("train.bin", *_BATCHES)):
            return candidate
    return None


def _folder_of(folder: Path) -> Path:
    """The folder that has the files. Raises LabwrightError saying what is there instead."""
    if not folder.is_dir():
        raise LabwrightError(f"task.data.folder: there is no folder {located(folder)}.")
    batches = _batches_in(folder)
    if batches is not None:
        return batches
    inside = [path.name for path in sorted(folder.iterdir())]
    pickles = [name for name in _PICKLES if (folder / name).is_file()]
    if pickles:
        raise LabwrightError(
            f"{folder} has CIFAR as Python pickles ({listed(pickles)}), and reading a pickle can run any code: they "
            f"aren't read. Take {_PUBLISHED}."
        )
    raise LabwrightError(
        f"{folder} has neither data_batch_1.bin nor train.bin, but {listed(inside or ['nothing'])}: unpack "
        f"{_PUBLISHED} there. Pictures in a folder for each class are data 'vision/image-folder'."
    )


def _rows(path: Path, before: int, column: int, classes: int) -> np.ndarray:
    """The rows of a file: `before` labels and the bytes of a picture. Raises LabwrightError for another length."""
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise LabwrightError(f"{path} can't be read: {error.strerror}.") from error
    if not len(content) or len(content) % (before + _BYTES):
        raise LabwrightError(
            f"{path} has {len(content):,} bytes, which are no whole rows of {before + _BYTES:,}: it is torn, or "
            "another file."
        )
    rows = content.reshape(-1, before + _BYTES)
    if rows[:, column].max() >= classes:
        raise LabwrightError(f"{path}: a label is {rows[:, column].max()}, and there are {classes} names of classes.")
    return rows


def _names(path: Path, usual: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names of classes that stand in a file, one a line."""
    if path.is_file():
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if usual is None:
        raise LabwrightError(f"{path} isn't there, which has the names of the classes: it comes with the pictures.")
    return usual
