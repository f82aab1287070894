"""Annotations as COCO has them: a JSON file of images, annotations and categories, for each part."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from labwright import LabwrightError

from labwright_vision.detection.data.records import Annotations, Box, Pictures, Record, below, numbers, part_within

_BESIDE = ("captions", "panoptic", "person_keypoints", "stuff")  # the same pictures, annotated otherwise
_TABLES = ("images", "annotations", "categories")


def files(root: Path) -> list[Path]:
    """The files that are such annotations by their content; beside COCO's own instances not its captions and so on."""
    readable = [path for path in below(root, ".json") if _looks_right(path)]
    instances = any(path.name.startswith("instances") for path in readable)
    return [path for path in readable if not (instances and path.name.startswith(_BESIDE))]


def read(sources: list[Path], pictures: Pictures) -> Annotations:
    """Raises LabwrightError for a file that isn't as COCO has it, and for categories that differ between files."""
    names: dict[int, str] = {}
    records: list[Record] = []
    for source in sources:
        table = _table(source)
        categories = {int(one["id"]): str(one["name"]) for one in table["categories"]}
        if names and categories != names:
            raise LabwrightError(f"{source}: its categories aren't those of {sources[0]}: a label would mean two.")
        names = categories
        records += _records(table, categories, source, pictures)
    order = sorted(names)  # ids may have holes; labels have none
    return Annotations(tuple(names[number] for number in order), records)


def _records(table: dict[str, Any], names: dict[int, str], source: Path, pictures: Pictures) -> list[Record]:
    boxes: dict[Any, list[tuple[Box, str, bool, Any]]] = defaultdict(list)
    known = {one["id"] for one in table["images"]}
    for place, one in enumerate(table["annotations"]):
        where = f"{source}: annotation {one.get('id', place)}"
        left, top, width, height = numbers(one.get("bbox"), where)
        category, image = one.get("category_id"), one.get("image_id")
        if not isinstance(category, Hashable) or category not in names:
            raise LabwrightError(f"{where} is of category {category!r}, which has no name in it.")
        box = left, top, left + width, top + height
        crowd, outline = bool(one.get("iscrowd", 0)), one.get("segmentation")
        if not isinstance(image, Hashable) or image not in known:
            raise LabwrightError(f"{source}: annotations are of image {image!r}, which isn't among its images.")
        boxes[image].append((box, names[category], crowd, outline))
    part = part_within(source.stem) or part_within(source.parent.name)
    records = []
    for one in table["images"]:
        path = pictures.called(str(one["file_name"]), source.parent, part, str(source))
        found = boxes[one["id"]]
        sides = one.get("width"), one.get("height")  # null where a tool didn't know it
        told = all(isinstance(side, int | float) and math.isfinite(side) for side in sides)
        size = (int(sides[0]), int(sides[1])) if told else None
        of_boxes, labels, crowds, outlines = [list(column) for column in zip(*found, strict=True)] or [[], [], [], []]
        columns = of_boxes, labels, crowds, size
        records.append(Record(path, str(one["file_name"]), part, *columns, outlines=outlines))
    return records


def _looks_right(path: Path) -> bool:
    """Whether it has the tables, or can't be read at all, which is told when it is read."""
    try:
        table = json.loads(path.read_bytes())
    except ValueError:
        return "annotation" in path.name or "instances" in path.name or part_within(path.stem) is not None
    return isinstance(table, dict) and "images" in table and "annotations" in table


def _table(source: Path) -> dict[str, Any]:
    try:
        table = json.loads(source.read_bytes())
    except (OSError, ValueError) as error:
        raise LabwrightError(f"{source} can't be read as JSON: {error}.") from error
    for name in _TABLES:
        rows = table.get(name) if isinstance(table, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise LabwrightError(f"{source} has no list {name!r} of tables, as COCO's annotations have.")
    for name, fields in (("images", ("id", "file_name")), ("categories", ("id", "name"))):
        for place, row in enumerate(table[name]):
            missing = [field for field in fields if field not in row]
            if missing:
                raise LabwrightError(f"{source}: {name}[{place}] has no {missing[0]!r}.")
            number = row["id"]
            whole = isinstance(number, int | float) and number % 1 == 0
            if not whole and not (name == "images" and isinstance(number, str)):
                kind = "a whole number or a text" if name == "images" else "a whole number"
                raise LabwrightError(f"{source}: {name}[{place}] has the id {number!r}; it is {kind}.")
    for name, field in (("images", "id"), ("categories", "id"), ("categories", "name")):
        (value, count), *_ = Counter(str(row[field]) for row in table[name]).most_common(1) or [("", 0)]
        if count > 1:
            raise LabwrightError(f"{source}: {count} of its {name} have the {field} {value!r}: which one is meant?")
    return table  # type: ignore[no-any-return]
