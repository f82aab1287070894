"""Rows of a table, and which of them are held out. R rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from labwright import Batch, LabwrightError, TensorSplit
from labwright_tasks.weights import weighed
from pydantic import Field
from torch import Tensor

Share = Annotated[float, Field(ge=0, lt=1)]
TRAIN, VALID, TEST = 0, 1, 2
NAMES = {"train": TRAIN, "valid": VALID, "test": TEST}


class Rows(TensorSplit):
    """Encoded rows in memory; `groups` and `times` (N,) are there where they are known."""

    weights: Tensor | None = None  # (N,)
    groups: Tensor
    times: Tensor

    def __init__(self, inputs: tuple[Tensor, ...], labels: Tensor, samples: Mapping[str, Tensor]) -> None:
        super().__init__(inputs, labels)
        vars(self).update(samples)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        return weighed(super().fetch(indices, epoch, seed), self.weights, indices)


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


def in_groups(groups_R: np.ndarray, *, valid: float, test: float, seed: int) -> np.ndarray:
    """As `divided`, by whole groups: as many of them, in an order drawn by the seed, as come nearest to each share."""
    names, group_R, sizes = np.unique(groups_R, return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(seed).permutation(len(names))
    ends = np.concatenate([[0], sizes[drawn].cumsum()]) / len(groups_R)
    first, second = (int(np.abs(ends - share).argmin()) for share in (test, test + valid))
    part_of = np.full(len(names), TRAIN, np.uint8)
    part_of[drawn[:first]], part_of[drawn[first:second]] = TEST, VALID
    parts_R = part_of[group_R]
    wanted = {TRAIN: 1.0, VALID: valid, TEST: test}
    if any(share and part not in parts_R for part, share in wanted.items()):
        raise LabwrightError(
            f"task.data.group: {len(names):,} groups are too few to hold out {test:g} and {valid:g} of the rows "
            "by whole ones: change task.data.valid and task.data.test."
        )
    return parts_R


def _evenly(count: int, share: float) -> np.ndarray:
    """A mask of a share of so many places, evenly spread."""
    passed = np.floor(np.arange(count + 1) * share + 0.5)
    return np.asarray(np.diff(passed) > 0)
