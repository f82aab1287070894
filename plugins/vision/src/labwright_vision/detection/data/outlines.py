"""The masks of COCO's annotations, drawn as COCO draws them: polygons, and run lengths. H height, W width."""

from __future__ import annotations

from typing import Any

import numpy as np

from labwright_vision.data.coco_masks import unpacked
from labwright_vision.detection.run_lengths import decoded

_LEAST = 6  # numbers of a polygon: three corners


def fault(outline: Any, size: tuple[int, int]) -> str:
    """Why the segmentation of an object in a picture of some width and height can't be drawn, or nothing."""
    if not outline:
        return "has no segmentation"
    if isinstance(outline, dict):
        return _fault_of_runs(outline, size)
    for corners in outline if isinstance(outline, list) else [None]:
        if not isinstance(corners, list) or len(corners) < _LEAST or len(corners) % 2:
            return "has a segmentation that is neither run lengths nor polygons of three corners or more"
        if not all(isinstance(number, int | float) and np.isfinite(number) for number in corners):
            return "has a polygon whose corners aren't all numbers"
    return ""


def drawn(outline: Any, size: tuple[int, int]) -> np.ndarray:
    """The pixels of an object, (H, W) bool, of a segmentation without a fault."""
    from pycocotools.mask import frPyObjects, merge

    width, height = size
    if isinstance(outline, list):
        coded = merge(frPyObjects([[float(number) for number in corners] for corners in outline], height, width))
    elif isinstance(outline["counts"], list):
        coded = frPyObjects(outline, height, width)
    else:
        coded = outline
    pixels_HW: np.ndarray = decoded([coded])[0]
    return pixels_HW


def _fault_of_runs(runs: dict[str, Any], size: tuple[int, int]) -> str:
    counts = runs.get("counts")
    try:
        lengths = unpacked(counts) if isinstance(counts, str) else counts
    except IndexError:  # its last letter says that another follows
        lengths = None
    whole = isinstance(lengths, list) and all(isinstance(length, int) and length >= 0 for length in lengths)
    if not isinstance(lengths, list) or not whole:
        return "has a segmentation whose `counts` are no run lengths"
    if runs.get("size") != [size[1], size[0]]:
        return f"has run lengths of size {runs.get('size')}, not {[size[1], size[0]]}"
    if sum(lengths) != size[0] * size[1]:
        return f"has run lengths of {sum(lengths):,} pixels, not {size[0] * size[1]:,}"
    return ""
