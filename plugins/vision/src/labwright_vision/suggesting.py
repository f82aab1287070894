"""Recipes for pictures: in folders, in zip archives, named by a table, in arrays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from labwright_tasks.suggesting.columns import Column, glimpse
from labwright_tasks.suggesting.sizes import CHOSEN, GOAL, sized
from labwright_tasks.suggesting.suggestion import Suggestion
from PIL import Image

from labwright_vision.data.archive import archived
from labwright_vision.data.folders import Found, Tally, archives, class_folders, found, laid_out
from labwright_vision.data.mnist import read_mnist
from labwright_vision.data.npz import Npz
from labwright_vision.data.reading import SUFFIXES

_SIDE = 28  # pixels along a side of MNIST's
_LOOKED_AT = 60  # pictures whose sizes are looked at
_SIZES = (32, 64, 96, 128)  # pixels along a side
_RARE = 10  # pictures of a class
_LABELS = ("label", "class", "category", "target", "diagnosis", "species", "y")


def class_pictures(path: Path) -> Suggestion | None:
    """Pictures in a sub-folder for each class, perhaps in a zip archive.

    Args:
        path: folder or zip archive that may hold such pictures.

    Raises LabwrightError for pictures that lie otherwise.
    """
    packed = path.suffix.lower() == ".zip" and path.is_file()
    root: Found = archived(path) if packed else path
    if not (packed or path.is_dir()) or not any(found(one, Tally()) for one in (root, *archives(root))):
        return None
    layout = laid_out(root, Tally())
    of_class = {name: found(folder, Tally()) for name, folder in class_folders(layout.parts["train"]).items()}
    counts = {name: len(some) for name, some in of_class.items()}
    seen = [picture for some in of_class.values() for picture in some[: -(-_LOOKED_AT // len(of_class))]]
    signs = all(len(name) == 1 for name in of_class)  # digits and letters, which are others mirrored
    few = [f"{name} {count}" for name, count in counts.items() if count < _RARE]
    return _classified(
        f"{sum(counts.values()):,} pictures of {len(counts)} classes ({_named(counts)})",
        {"name": "vision/image-folder", "folder": str(path)},
        _looked_at(seen),
        sum(counts.values()),
        mirrored=not signs,
        oddities=(f"Classes of fewer than {_RARE} pictures: {', '.join(few)}.",) if few else (),
    )


def named_pictures(path: Path) -> Suggestion | None:
    """A table with the names of picture files, and a column of classes.

    Args:
        path: file or folder that may hold such a table.
    """
    seen = glimpse(path)
    if seen is None:
        return None
    folder = seen.path if seen.path.is_dir() else seen.path.parent
    picture = next((column for column in seen.columns if _is_of_files(column, folder)), None)
    others = [column for column in seen.columns if column is not picture and column.distinct > 1 and not column.nested]
    possible = [column for column in others if column.distinct <= len(column.cells) / 3]
    label = min(possible, key=lambda column: (not column.called(*_LABELS), column.distinct), default=None)
    if picture is None or label is None:
        return None
    data = {"name": "vision/table", "path": str(seen.path), "picture": picture.name, "label": label.name}
    looked_at = _looked_at([folder / name for name in picture.cells[:_LOOKED_AT]])
    return _classified(
        f"{seen.rows:,} pictures ({picture.name!r}) of {label.distinct} classes ({label.name!r})",
        {**data, **seen.written},
        looked_at,
        seen.rows,
        mirrored=not all(len(name) == 1 for name in label.cells),
        oddities=seen.notes,
    )


def _is_of_files(column: Column, folder: Path) -> bool:
    """Whether a column has names of pictures that are there."""
    named = [name for name in column.cells[:_LOOKED_AT] if Path(name).suffix.lower() in SUFFIXES]
    return bool(named) and len(named) == len(column.cells[:_LOOKED_AT]) and (folder / named[0]).is_file()


def _classified(
    what: str,
    data: dict[str, Any],
    looked_at: tuple[list[tuple[int, int]], bool],
    count: int,
    *,
    mirrored: bool,
    oddities: tuple[str, ...],
) -> Suggestion:
    """A recipe for so many pictures of classes, of which some were looked at."""
    shapes, grey = looked_at
    side = int(median(min(shape) for shape in shapes)) if shapes else _SIZES[1]
    size = max((known for known in _SIZES if known <= side), default=_SIZES[0])
    sizes = sized(count)
    turned = {"rotate": 10.0, "shift": 0.1, "scale": 0.1, "flip": mirrored}
    return Suggestion(
        what,
        {
            "task": {
                "name": "classification",
                "data": {**data, "size": size, "channels": 1 if grey else 3, **turned},
                "goal": GOAL,
            },
            "model": {"name": "vision/resnet", "depth": 20, "width": 16},
            "loss": {"name": "cross-entropy", "label_smoothing": 0.1},
            "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.05},
            "train": sizes.train(),
            "stop": sizes.stop(),
        },
        {
            "task": (
                f"The pictures are about {side} pixels along their shorter side, {'grey' if grey else 'coloured'}.",
                "Turned, shifted and scaled a little, so that few go further"
                + (", and mirrored." if mirrored else "; not mirrored, as single signs are others then."),
                CHOSEN,
            ),
            "train": sizes.reasons,
        },
        oddities,
        fit=0.9,
    )


def picture_arrays(path: Path) -> Suggestion | None:
    """MNIST's files, or others in their layout, and an .npz file in MedMNIST's.

    Args:
        path: folder of such files, or an .npz file.

    Raises LabwrightError for arrays that are no pictures of classes.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    if not any(file.suffix == ".npz" or "images-idx3" in file.name for file in files):
        return None
    archives = [file for file in files if file.suffix == ".npz"]
    if len(archives) == 1:
        parts, names = Npz(path=archives[0]).parts()
        if (shape := parts["train"].pictures.shape)[1:] != (1, _SIDE, _SIDE):
            return _in_arrays({"name": "vision/npz", "path": str(archives[0])}, names, *shape)
    _, labels_N, *others = read_mnist(path, mirrors=(), classes=256)
    count = int(max(labels.max() for labels in (labels_N, *others[1::2]))) + 1
    return _in_arrays(
        {"name": "vision/mnist", "folder": str(path)}, [*map(str, range(count))], len(labels_N), 1, _SIDE, _SIDE
    )


def _in_arrays(
    data: dict[str, Any], names: Sequence[str], count: int, channels: int, height: int, width: int
) -> Suggestion:
    """A recipe for so many pictures of one size."""
    sizes = sized(count)
    return Suggestion(
        f"{count:,} {'grey' if channels == 1 else 'coloured'} pictures of {len(names)} classes, in arrays",
        {
            "task": {
                "name": "classification",
                "data": {**data, "classes": [*names], "rotate": 10.0, "shift": 0.1, "scale": 0.1},
                "goal": GOAL,
            },
            "model": {"name": "vision/cnn", "width": 24, "stages": 2, "depth": 3, "dropout": 0.2, "strided": True},
            "loss": {"name": "cross-entropy", "label_smoothing": 0.1},
            "optimizer": {"name": "adamw", "lr": 5e-3, "weight_decay": 0.05, "schedule": "one-cycle"},
            "train": sizes.train(),
            "stop": sizes.stop(),
        },
        {
            "task": (
                "The arrays say no names: classes are the numbers, in whose place you can write what they stand for.",
                "Turned, shifted and scaled a little, so that few go further; not mirrored, as signs are others then.",
                CHOSEN,
            ),
            "model": (f"Small, for {height} by {width} pixels on a CPU.",),
            "train": sizes.reasons,
        },
        fit=0.9,
    )


def _looked_at(files: list[Found]) -> tuple[list[tuple[int, int]], bool]:
    """The sizes of those that can be read, and whether all are grey."""
    shapes, modes = [], set()
    for file in files:
        try:
            with Image.open(io.BytesIO(file.read_bytes())) as picture:
                shapes.append(picture.size)
                modes.add(picture.mode)
        except (OSError, ValueError):
            continue  # a run, or check-data, names it
    return shapes, bool(modes) and modes <= {"L", "1", "I;16", "LA"}


def _named(counts: dict[str, int]) -> str:
    few = [f"{name} {count:,}" for name, count in [*counts.items()][:6]]
    return ", ".join(few + (["..."] if len(counts) > len(few) else []))
