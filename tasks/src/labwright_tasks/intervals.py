"""Intervals in which a figure of other samples of the same kind would lie, with a confidence of 95%. N samples.

Of a share, such as the accuracy, it is Wilson's (1927, "Probable inference, the law of succession, and statistical
inference"), which stays within 0 and 1 and holds for few samples too. Of a mean, or a sum over a sum such as a word
error rate, it is the percentile bootstrap (Efron 1979; of error rates: Bisani & Ney 2004).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

import torch
from labwright import generator
from torch import Tensor

_Z = 1.959963984540054  # of the normal distribution, 97.5% lie below
_DRAWS = 2000
_AT_ONCE = 1 << 22  # samples drawn together


def wilson(right: float, count: int) -> tuple[float, float]:
    """The interval of a share, `right` of `count`; 0 to 1 where there is none.

    Example: `low, high = wilson(81, 263)`
    """
    if not count:
        return 0.0, 1.0
    share, squared = right / count, _Z**2
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    reach = _Z / (1 + squared / count) * math.sqrt(share * (1 - share) / count + squared / (4 * count**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def bootstrapped(values_N: Tensor, weights_N: Tensor | None = None) -> tuple[float, float]:
    """The interval of sum(values) / sum(weights), or of the mean, over samples drawn anew; the same each time."""
    weights_N = torch.ones_like(values_N) if weights_N is None else weights_N
    count = len(values_N)
    if not count:
        return math.nan, math.nan
    draws, ratios = generator(0, 12), []
    rows = max(1, _AT_ONCE // count)
    for start in range(0, _DRAWS, rows):
        drawn_RN = torch.randint(count, (min(rows, _DRAWS - start), count), generator=draws)
        ratios.append(values_N.double()[drawn_RN].sum(1) / weights_N.double()[drawn_RN].sum(1))
    ends = torch.cat(ratios).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(ends[0]), float(ends[1])


def named(interval: tuple[float, float]) -> dict[str, float]:
    """An interval as a metric gives it: `NAME/low` and `NAME/high`."""
    return {"low": interval[0], "high": interval[1]}


@final
class AccuracyInterval:
    """The interval of the accuracy."""

    _right: Tensor | int
    _count: int

    def __init__(self) -> None:
        self.reset()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self._right = self._right + (logits.argmax(-1) == labels).sum()
        self._count += labels.numel()

    def compute(self) -> dict[str, float]:
        return named(wilson(float(self._right), self._count))

    def reset(self) -> None:
        self._right = 0
        self._count = 0


@final
class ByClass:
    """Of each class the `samples`, the `recall` with its interval, and the `precision`, where there are such."""

    _counts: Tensor | int

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.reset()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        classes, given = len(self.names), logits.argmax(-1)
        counts = (given.bincount(minlength=classes), labels.bincount(minlength=classes))
        right = labels[given == labels].bincount(minlength=classes)
        self._counts = self._counts + torch.stack([*counts, right])

    def compute(self) -> Mapping[str, Mapping[str, float]]:
        counts = torch.as_tensor(self._counts, device="cpu").expand(3, len(self.names)).T.tolist()
        return {name: _figures(*of_class) for name, of_class in zip(self.names, counts, strict=True)}

    def reset(self) -> None:
        self._counts = 0


def _figures(given: int, true: int, right: int) -> dict[str, float]:
    low, high = wilson(right, true)
    figures = {"samples": true, **({"precision": right / given} if given else {})}
    return figures | ({"recall": right / true, "recall_95_low": low, "recall_95_high": high} if true else {})


@final
class MeanInterval:
    """The interval of a mean over samples that are given one number each."""

    def __init__(self) -> None:
        self.reset()

    def update(self, values_B: Tensor, weights_B: Tensor | None = None) -> None:
        self._values.append(values_B.detach().cpu().double())
        self._weights.append(torch.ones_like(self._values[-1]) if weights_B is None else weights_B.detach().cpu())

    def compute(self) -> dict[str, float]:
        whole = (torch.cat(self._values), torch.cat(self._weights)) if self._values else (torch.zeros(0),)
        return named(bootstrapped(*whole))

    def reset(self) -> None:
        self._values: list[Tensor] = []
        self._weights: list[Tensor] = []
