"""Which samples a fold holds out: of each class its share, whole groups, or what comes later. N samples, K folds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from labwright import LabwrightError, generator
from torch import Tensor


@runtime_checkable
class Grouped(Protocol):
    """A split that knows which samples belong together, as of one speaker or patient: (N,) int64."""

    groups: Tensor


@runtime_checkable
class Timed(Protocol):
    """A split that knows when each sample was taken, (N,), in any unit."""

    times: Tensor


@runtime_checkable
class Refittable(Protocol):
    """Data that learns of its samples when it is read, such as a vocabulary or a scale, and can learn it anew."""

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """Learn from these indices of `train` and `valid` alone, instead of all of `train`; after `prepare()`.

        The splits keep their samples and their order, and the targets their classes.
        """
        ...


def stratified(labels_N: Tensor, count: int, seed: int) -> Tensor:
    """The fold of each sample, (N,) int64: each label's samples are dealt out at random.

    Neither folds nor, within a label, their shares differ by more than one sample. Labels that are all the same make it
    a plain random deal.
    """
    folds_N = torch.empty(len(labels_N), dtype=torch.int64)
    dealt = 0
    for label in torch.unique(labels_N).tolist():
        members = (labels_N == label).nonzero()[:, 0]
        mixed = members[torch.randperm(len(members), generator=generator(seed, label, 11))]
        # each label goes on where the one before ended, or the first folds would have all that is left over
        folds_N[mixed] = (torch.arange(len(mixed)) + dealt) % count
        dealt += len(mixed)
    return folds_N


def by_group(groups_N: Tensor, count: int, seed: int) -> Tensor:
    """The fold of each sample, (N,) int64: groups stay whole; each, the largest first, goes to the smallest fold.

    Groups of one size are taken in random order. Raises LabwrightError for fewer groups than folds.
    """
    names, group_N, sizes = torch.unique(groups_N, return_inverse=True, return_counts=True)
    if len(names) < count:
        raise LabwrightError(f"{len(names)} groups are too few for {count} folds: each fold holds out whole ones.")
    mixed = torch.randperm(len(names), generator=generator(seed, 12))
    filled, fold_of = [0] * count, torch.empty(len(names), dtype=torch.int64)
    for group in mixed[sizes[mixed].argsort(descending=True, stable=True)].tolist():
        fold = filled.index(min(filled))
        fold_of[group], filled[fold] = fold, filled[fold] + int(sizes[group])
    return fold_of[group_N]


def in_time(times_N: Tensor, count: int) -> list[tuple[Tensor, Tensor]]:
    """For each fold the indices that are learned from and those held out: never what is later than what is held out.

    The samples in the order of their times are cut into K + 1 stretches; fold k learns from the first k of them and
    holds out the next. Samples of one time stay together, so that stretches may differ in size. Raises LabwrightError
    if there are too few times.
    """
    ordered = times_N.argsort(stable=True)
    sorted_N = times_N[ordered]
    begins = ((sorted_N[1:] != sorted_N[:-1]).nonzero()[:, 0] + 1).tolist()  # of each time but the first
    if len(begins) < count:
        raise LabwrightError(f"{len(begins) + 1} different times are too few for {count} folds in the order of time.")
    cuts: list[int] = []
    for step in range(1, count + 1):
        wanted = len(ordered) * step // (count + 1)
        # the times after the last cut, without those that the cuts to come need
        left = [begin for begin in begins[: len(begins) - (count - step)] if not cuts or begin > cuts[-1]]
        cuts.append(min(left, key=lambda begin: abs(begin - wanted)))
    return [(ordered[:cut], ordered[cut:end]) for cut, end in pairwise([*cuts, len(ordered)])]
