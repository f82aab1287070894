"""Annotations as Pascal VOC has them: an XML file for each picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from labwright import LabwrightError
from labwright_tasks.parts import NAMES

from labwright_vision.data.folders import name_below
from labwright_vision.detection.data.records import Annotations, Box, Passed, Pictures, Record, below, part_of

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def files(root: Path) -> list[Path]:
    return list(below(root, ".xml"))


def read(sources: list[Path], pictures: Pictures) -> Annotations:
    """Coordinates are taken as they stand; objects that are `difficult` are crowds.

    Parts are those of ImageSets/Main/train.txt, val.txt and test.txt, here or in folders below, or of the folders above
    the files. Raises LabwrightError for a file that isn't as VOC has it.
    """
    listed = _listed(pictures.root)
    unlisted = [source.stem for source in sources if listed and source.stem not in listed]
    lacking = sorted(listed.keys() - {source.stem for source in sources})
    passed = [
        Passed("annotation", "in none of the lists of ImageSets/Main", unlisted),
        Passed("name", "in a list of ImageSets/Main, but without an annotation", lacking),
    ]
    if listed:
        sources = [source for source in sources if source.stem in listed]
    records = [_record(source, listed.get(source.stem), pictures) for source in sources]
    return Annotations(tuple(sorted({name for record in records for name in record.classes})), records, passed)


def _record(source: Path, part: str | None, pictures: Pictures) -> Record:
    try:
        top = ElementTree.fromstring(source.read_bytes())  # noqa: S314 - expat bounds what entities grow to
    except (OSError, ElementTree.ParseError) as error:
        raise LabwrightError(f"{source} can't be read as XML: {error}.") from error
    part = part or part_of(source, pictures.root)
    path = pictures.with_stem(source.stem, source.parent, part, str(source))
    record = Record(path, name_below(path, pictures.root), part, size=_size(top, source))
    for place, found in enumerate(top.iter("object"), 1):
        name = (found.findtext("name") or "").strip()
        if not name:
            raise LabwrightError(f"{source}: object {place} has no name.")
        record.boxes.append(_box(found.find("bndbox"), f"{source}: object {place}, {name!r},"))
        record.classes.append(name)
        record.crowd.append((found.findtext("difficult") or "0").strip() == "1")
    return record


def _box(sides: ElementTree.Element | None, where: str) -> Box:
    texts = [sides.findtext(side) if sides is not None else None for side in _SIDES]
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError as error:
        raise LabwrightError(f"{where} has no bndbox of four numbers, {', '.join(_SIDES)}.") from error
    return left, top, right, bottom


def _size(top: ElementTree.Element, source: Path) -> tuple[int, int] | None:
    texts = [top.findtext(f"size/{side}") for side in ("width", "height")]
    try:
        width, height = (int(float(text or "0")) for text in texts)
    except (ValueError, OverflowError) as error:
        raise LabwrightError(f"{source}: its size is no two numbers, given {texts}.") from error
    return (width, height) if width and height else None  # some programs write 0


def _listed(root: Path) -> dict[str, str]:
    """The part of each file that a list names; nothing where there are no lists."""
    known: dict[str, str] = {}
    lists = [path for path in below(root, ".txt") if path.parts[-3:-1] == ("ImageSets", "Main")]
    for part, names in NAMES.items():
        for path in (path for name in names for path in lists if path.name == f"{name}.txt"):
            for line in _lines(path):
                stem = line.split()[0] if line.strip() else ""
                if stem and known.setdefault(stem, part) != part:
                    raise LabwrightError(f"{path}: {stem!r} is in {known[stem]!r} as well: take it out of one of them.")
    return known


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LabwrightError(f"{path} can't be read as text: {error}.") from error
