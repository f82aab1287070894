"""Annotations as JSON Lines: a line for each picture with `file`, `boxes` and `labels`, perhaps `split` and `crowd`.

Boxes are left, top, right and bottom in pixels; labels are names. `width` and `height` are compared with the picture's.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from labwright import LabwrightError
from labwright_tasks.parts import part_named

from labwright_vision.detection.data.records import Annotations, Pictures, Record, below, numbers, part_within


def files(root: Path) -> list[Path]:
    return list(below(root, ".jsonl", ".jsonl.gz"))


def read(sources: list[Path], pictures: Pictures) -> Annotations:
    """Raises LabwrightError for a line that isn't as it should be."""
    records = []
    for source in sources:
        for place, line in enumerate(_lines(source), 1):
            if line.strip():
                records.append(_record(line, source, place, pictures))
    return Annotations(tuple(sorted({name for record in records for name in record.classes})), records)


def _record(line: str, source: Path, place: int, pictures: Pictures) -> Record:
    where = f"{source}:{place}"
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise LabwrightError(f"{where} can't be read as JSON: {error}.") from error
    if not isinstance(row, dict) or not isinstance(row.get("file"), str):
        raise LabwrightError(f"{where} is no table with a `file`.")
    boxes, classes = row.get("boxes", []), row.get("labels", [])
    crowd = row.get("crowd", [False] * len(boxes) if isinstance(boxes, list) else [])
    if not all(isinstance(column, list) and len(column) == len(boxes) for column in (boxes, classes, crowd)):
        raise LabwrightError(f"{where}: `boxes`, `labels` and `crowd` are lists with one entry for each box.")
    if not all(isinstance(name, str) and name.strip() for name in classes):
        raise LabwrightError(f"{where}: labels are names, given {classes!r}.")
    part = part_within(source.name) if "split" not in row else part_named(str(row["split"]))
    if "split" in row and part is None:
        raise LabwrightError(f"{where}: split {row['split']!r} is neither train, valid nor test.")
    path = pictures.called(row["file"], source.parent, part, where)
    size = (row["width"], row["height"]) if {"width", "height"} <= row.keys() else None
    columns = ([numbers(box, where) for box in boxes], classes, [bool(value) for value in crowd])
    return Record(path, row["file"], part, *columns, size)


def _lines(source: Path) -> list[str]:
    try:
        content = source.read_bytes()
        return (gzip.decompress(content) if source.suffix == ".gz" else content).decode("utf-8-sig").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise LabwrightError(f"{source} can't be read: {error}.") from error
