"""Masks drawn from COCO's annotations: polygons and run lengths. H height, W width."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from labwright import LabwrightError

from labwright_vision.data.folders import Found
from labwright_vision.data.masks import Pixels, check_rows

GROUND, VOID = 0, 65535  # the values of what no object covers, and of crowds
_KEYS = ("id", "category_id", "segmentation", "iscrowd")
_LEAST = 6  # numbers of a polygon: three corners


@dataclass(frozen=True)
class CocoMask:
    """The objects of one picture, each with its category's value: larger ones lie below smaller ones."""

    place: str
    height: int
    width: int
    objects: tuple[Mapping[str, Any], ...]
    categories: tuple[tuple[str, int, None], ...]  # names and values of all, the ground first

    def __str__(self) -> str:
        return self.place

    def digest(self) -> str:
        return hashlib.blake2b(json.dumps(self.objects, sort_keys=True).encode(), digest_size=16).hexdigest()

    def pixels(self) -> Pixels:
        """Raises LabwrightError for an object without a category, or whose outline isn't polygons or run lengths."""
        codes_HW, drawn = np.full((self.height, self.width), GROUND, dtype=np.int64), []
        for each in self.objects:
            try:
                drawn.append((self._drawn(each), VOID if each.get("iscrowd") else int(each["category_id"])))
            except (TypeError, ValueError, IndexError) as error:
                raise LabwrightError(
                    f"{self}: annotation {each.get('id')} has a category_id or a segmentation that can't be used: "
                    f"{error}."
                ) from error
        for inside_HW, value in sorted(drawn, key=lambda pair: -int(pair[0].sum())):
            codes_HW[inside_HW] = value
        return Pixels(codes_HW, "values")

    def _drawn(self, thing: Mapping[str, Any]) -> np.ndarray:
        outline = thing.get("segmentation")
        if isinstance(outline, dict):
            return self._of_runs(outline)
        inside_HW = np.zeros((self.height, self.width), dtype=bool)
        for corners in outline if isinstance(outline, list) and outline else [None]:
            if not isinstance(corners, list) or len(corners) < _LEAST or len(corners) % 2:
                raise LabwrightError(
                    f"{self}: annotation {thing.get('id')} has a segmentation that is neither run lengths nor polygons "
                    "of three corners or more, x and y of each."
                )
            corners_N2 = np.array(corners, dtype=float).reshape(-1, 2)
            if not np.isfinite(corners_N2).all():
                raise ValueError("a corner is no number")
            inside_HW |= _inside(corners_N2, self.height, self.width)
        return inside_HW

    def _of_runs(self, runs: Mapping[str, Any]) -> np.ndarray:
        counts = runs.get("counts")
        lengths = unpacked(counts) if isinstance(counts, str) else counts
        if runs.get("size") != [self.height, self.width] or not isinstance(lengths, list):
            raise LabwrightError(f"{self}: run lengths of size {runs.get('size')}, not {[self.height, self.width]}.")
        values = np.repeat([on for on, _ in zip(cycle((False, True)), lengths, strict=False)], lengths)
        if len(values) != self.height * self.width:
            raise LabwrightError(
                f"{self}: run lengths are of {len(values):,} pixels, not {self.height * self.width:,}."
            )
        inside_HW: np.ndarray = values.reshape(self.width, self.height).T  # by columns
        return inside_HW


def coco_masks(file: Found) -> dict[str, CocoMask]:
    """The mask of each picture by its name without a suffix; of one without objects all is ground.

    Raises LabwrightError for a file that is none of COCO's, and for what in it doesn't fit together.
    """
    try:
        told = json.loads(file.read_bytes())
        pictures = {row["id"]: row for row in told["images"]}
        named = [(str(row["name"]), int(row["id"]), None) for row in told["categories"]]
        categories = (("background", GROUND, None), *named)
        _check(categories, file)
        objects: dict[Any, list[Mapping[str, Any]]] = {picture: [] for picture in pictures}
        for row in told["annotations"]:
            objects[row["image_id"]].append(
                {key: row.get(key) for key in ("id", "category_id", "segmentation", "iscrowd")}
            )
        return {
            str(PurePosixPath(row["file_name"]).with_suffix("")): CocoMask(
                f"{file}, {row['file_name']}",
                *_size(row, file),
                tuple(objects[picture]),
                categories,
            )
            for picture, row in pictures.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabwrightError(
            f"{file} isn't COCO's json: it needs images, annotations and categories that fit together ({error!r})."
        ) from error


def _size(row: Mapping[str, Any], file: Found) -> tuple[int, int]:
    """Height and width, which outlines are drawn in. Raises LabwrightError for a picture without."""
    sides = [row.get(side) for side in ("height", "width")]
    for side, given in zip(("height", "width"), sides, strict=True):
        if type(given) is not int or given < 1:
            raise LabwrightError(
                f"{file}: the image {row['file_name']} has the {side} {json.dumps(given)}; outlines are drawn in its "
                "size, whole numbers of pixels."
            )
    height, width = sides
    return height, width  # type: ignore[return-value]


def _check(categories: tuple[tuple[str, int, None], ...], file: Found) -> None:
    for name, value, _ in categories[1:]:
        if not GROUND < value < VOID:
            raise LabwrightError(
                f"{file}: the category {name!r} has the id {value}; ids are 1 to {VOID - 1}, and {GROUND} is what no "
                "object covers."
            )
    check_rows(categories, file)


def _inside(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels whose centres a polygon has inside: those with an odd number of its edges to their right."""
    y_H, x_W = np.arange(height) + 0.5, np.arange(width) + 0.5
    inside_HW = np.zeros((height, width), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rows = np.flatnonzero((y0 > y_H) != (y1 > y_H))
        if len(rows):
            edge = x0 + (y_H[rows] - y0) * (x1 - x0) / (y1 - y0)
            inside_HW[rows] ^= x_W < edge[:, None]
    return inside_HW


def unpacked(text: str) -> list[int]:
    """Run lengths from COCO's letters: five bits in each and one that says whether more follow; differences of two."""
    lengths: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        more = True
        while more:
            bits = ord(text[place]) - 48
            value |= (bits & 0x1F) << shift
            more, shift, place = bool(bits & 0x20), shift + 5, place + 1
            if not more and bits & 0x10:
                value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    return lengths
