"""Annotations as YOLO has them: a text file for each picture with `class x y width height` on each line.

The numbers are shares of the picture's sides, x and y of the box's middle, and the class counts from 0.
"""

from __future__ import annotations

from pathlib import Path

from labwright import LabwrightError

from labwright_vision.data.archive import Archived, Zip
from labwright_vision.data.folders import Found, name_below
from labwright_vision.detection.data.records import Annotations, Pictures, Record, below, part_of

_NAMES = ("classes.txt", "obj.names")
_SIDE = 1e-3  # of a picture, that a box may reach beyond by rounding


def files(root: Path) -> list[Path]:
    """The file with the names of the classes, a line each."""
    return list(below(root, *_NAMES))


def read(sources: list[Path], pictures: Pictures) -> Annotations:
    """The boxes of images/train/1.jpg are in labels/train/1.txt, or in 1.txt beside it; without one it has none.

    Raises LabwrightError for a line that is none, a class without a name, and labels of no picture or of two.
    """
    names = _names(sources[0])
    for source in sources[1:]:
        if _names(source) != names:
            raise LabwrightError(f"{source}: its classes aren't those of {sources[0]}: a label would mean two.")
    for archive in sorted(pictures.root.glob("*.zip")):
        if any(name.endswith(".txt") for name in Zip(archive).file().namelist()):
            raise LabwrightError(f"{archive} has text files in it; YOLO's labels are read beside pictures: unpack it.")
    records = []
    labelled: dict[Path, Found] = {}
    for path in pictures.all:
        if isinstance(path, Archived):
            raise LabwrightError(f"{path} lies in an archive; YOLO's labels are looked for beside pictures: unpack it.")
        record = Record(path, name_below(path, pictures.root), part_of(path, pictures.root), relative=True)
        label = _labels(path, pictures.root)
        there = label.is_file()
        if there and labelled.setdefault(label, path) != path:
            raise LabwrightError(f"{label} is of two pictures, {labelled[label]} and {path}: take one of them away.")
        for place, line in enumerate(_lines(label) if there else (), 1):
            if line.strip():
                _add(record, line.split(), names, f"{label}:{place}")
        records.append(record)
    for label in below(pictures.root, ".txt"):
        inner = label.relative_to(pictures.root).parts[:-1]
        if "labels" in inner and label not in labelled and label.name not in _NAMES:
            raise LabwrightError(f"{label} is of no picture: one of its name is looked for in images/, or beside it.")
    return Annotations(names, records)


def _names(source: Path) -> tuple[str, ...]:
    """The name of each class; a label is the place of its line, so that none may be empty but the last ones."""
    names = tuple(name.strip() for name in "\n".join(_lines(source)).rstrip().split("\n"))
    for place, name in enumerate(names, 1):
        if not name:
            raise LabwrightError(f"{source}:{place} is empty, where a class's name is expected: class {place - 1}.")
        if name in names[: place - 1]:
            raise LabwrightError(f"{source}:{place}: {name!r} is the name of another class as well.")
    return names


def _add(record: Record, words: list[str], names: tuple[str, ...], where: str) -> None:
    try:
        label, numbers = int(words[0]), [float(word) for word in words[1:]]
    except ValueError as error:
        raise LabwrightError(f"{where}: `class x y width height` is expected, given {' '.join(words)!r}.") from error
    if len(numbers) != 4:
        raise LabwrightError(f"{where}: four numbers are expected after the class, given {len(numbers)}.")
    if not 0 <= label < len(names):
        raise LabwrightError(f"{where}: class {label} has no name; {_NAMES[0]} has {len(names)}, from 0 on.")
    if not all(-_SIDE <= number <= 1 + _SIDE for number in numbers):
        raise LabwrightError(f"{where}: numbers are shares of the sides, 0 to 1, given {' '.join(words[1:])}.")
    x, y, width, height = numbers
    record.boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    record.classes.append(names[label])
    record.crowd.append(False)


def _labels(path: Path, root: Path) -> Path:
    inner = [*path.relative_to(root).parts]
    if "images" in inner[:-1]:
        last = len(inner) - 2 - inner[-2::-1].index("images")
        inner[last] = "labels"
    return root.joinpath(*inner).with_suffix(".txt")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabwrightError(f"{path} can't be read as text: {error}.") from error
