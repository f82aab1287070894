"""Masks as COCO's compressed run lengths, by pycocotools. H height, W width, N masks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Runs = Mapping[str, Any]
"""A mask: its `size`, height and width, and its `counts`, bytes."""


def encoded(masks_NHW: np.ndarray) -> list[Runs]:
    from pycocotools.mask import encode

    coded: list[Runs] = encode(np.asfortranarray(masks_NHW.transpose(1, 2, 0).astype(np.uint8)))
    return coded


def decoded(masks: Sequence[Runs]) -> np.ndarray:
    """Of one mask or more, (N, H, W) bool."""
    from pycocotools.mask import decode

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its arrays are made as NumPy 1 wanted them
        pixels_HWN: np.ndarray = decode([*masks])
    return pixels_HWN.transpose(2, 0, 1).astype(bool)
