"""Which rows are held out. R rows."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

Share = Annotated[float, Field(ge=0, lt=1)]
TRAIN, VALID, TEST = 0, 1, 2
NAMES = {"train": TRAIN, "valid": VALID, "test": TEST}


def divided(groups_R: np.ndarray, *, valid: float, test: float, seed: int) -> np.ndarray:
    """The part of each row, (R,) uint8: shares of all rows drawn by the seed, each group's in proportion.

    Args:
        groups_R: int64 labels, or the same number for all.
        valid: share of rows for validation.
        test: share of rows for testing; the two add up to less than 1.
        seed: of the draw.
    """
    drawn = np.random.default_rng(seed).permutation(len(groups_R))
    by_group = drawn[np.argsort(groups_R[drawn], kind="stable")]
    parts_R = np.full(len(groups_R), TRAIN, np.uint8)
    parts_R[by_group[_evenly(len(by_group), test)]] = TEST
    rest = by_group[~_evenly(len(by_group), test)]
    parts_R[rest[_evenly(len(rest), valid / (1 - test))]] = VALID
    return parts_R


def _evenly(count: int, share: float) -> np.ndarray:
    """A mask of a share of so many places, evenly spread."""
    passed = np.floor(np.arange(count + 1) * share + 0.5)
    return np.asarray(np.diff(passed) > 0)
