"""The rate of learning over a run, and which parameters get which share of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from labwright.errors import LabwrightError, listed, nearest

if TYPE_CHECKING:
    from labwright.interfaces import Group, Schedule

ONE_CYCLE_RISE = 0.3  # share of the run, and the rate it starts from: PyTorch's and fastai's defaults
ONE_CYCLE_START = 1 / 25


def factor(step: int, total: int, schedule: Schedule, warmup: float, end: float) -> float:
    """The share of `lr` that update number `step` (from 0) of `total` uses, above 0 and at most 1.

    In the first `warmup * total` updates it rises linearly towards what the schedule starts with. The last update uses
    exactly `end`, unless the schedule is constant or fewer than two updates follow the warm-up.
    """
    rising = round(warmup * total)
    span = max(total - rising - 1, 1)
    share = min(max((step - rising) / span, 0.0), 1.0)
    shape = _shape(share, schedule, end)
    return shape * (step + 1) / (rising + 1) if step < rising else shape


def _shape(share: float, schedule: Schedule, end: float) -> float:
    match schedule:
        case "constant":
            return 1.0
        case "linear":
            return (1.0 - share) + end * share
        case "cosine":
            return _cosine(1.0, end, share)
        case "exponential":
            return float(end**share)
        case "one-cycle":
            if share < ONE_CYCLE_RISE:
                return _cosine(ONE_CYCLE_START, 1.0, share / ONE_CYCLE_RISE)
            return _cosine(1.0, end, (share - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def grouped(
    names: Sequence[str], groups: Mapping[str, Group], weight_decay: float
) -> list[tuple[list[str], float, float]]:
    """Parameter names by what they share: (names, factor on the rate, weight decay). The first pattern wins.

    Raises LabwrightError for a pattern that matches no name.
    """
    for pattern in groups:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise LabwrightError(
                f"optimizer.groups: no parameter matches {pattern!r}{nearest(pattern, names)} "
                f"The parameters are {listed(names, most=40)}."
            )
    found: dict[tuple[float, float], list[str]] = {}
    for name in names:
        group = next((groups[pattern] for pattern in groups if fnmatchcase(name, pattern)), None)
        decay = weight_decay if group is None or group.weight_decay is None else group.weight_decay
        found.setdefault((1.0 if group is None else group.lr_factor, decay), []).append(name)
    return [(members, *key) for key, members in found.items()]
