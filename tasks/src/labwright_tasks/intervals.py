"""Intervals in which a figure of other samples of the same kind would lie, with a confidence of 95%. N samples.

Of a share, such as the accuracy, it is Wilson's (1927, "Probable inference, the law of succession, and statistical
inference"), which stays within 0 and 1 and holds for few samples too. Of what is made of sums over samples, such as a
mean, a word error rate or a mean intersection over union, it is the percentile bootstrap (Efron 1979; of error rates:
Bisani & Ney 2004). Of an area under the ROC curve it is DeLong's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
from labwright import generator
from torch import Tensor

from labwright_tasks.overlap import overlaps

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
    return resampled(torch.stack([values_N, weights_N], dim=1), lambda sums_R2: sums_R2[:, 0] / sums_R2[:, 1])


def resampled(values_NK: Tensor, figure: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """The interval of a figure that is made of K sums over samples, which are drawn anew; the same each time.

    `figure` makes R of them from sums (R, K); draws of which it is no number are left out.

    Example: `resampled(torch.stack([wrong_N, words_N], 1), lambda sums_R2: sums_R2[:, 0] / sums_R2[:, 1])`
    """
    count = len(values_NK)
    if not count:
        return math.nan, math.nan
    draws, figures = generator(0, 12), []
    rows = max(1, _AT_ONCE // count)
    for start in range(0, _DRAWS, rows):
        drawn_RN = torch.randint(count, (min(rows, _DRAWS - start), count), generator=draws)
        times_RN = torch.zeros(drawn_RN.shape, dtype=torch.float64)
        times_RN.scatter_add_(1, drawn_RN, torch.ones_like(times_RN))  # how often each sample is drawn
        figures.append(figure(times_RN @ values_NK.double()))
    ends = torch.cat(figures).nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(ends[0]), float(ends[1])


def delong(scores_N: Tensor, positive_N: Tensor) -> tuple[float, float]:
    """The interval of the area under the ROC curve, ties half; nan where all samples are of one kind.

    Its variance is that of how large a share of the others each positive is above, over their number, and the same of
    the others. It is a point where all positives are above all others, as nothing is known then of how sure that is.

    Source: DeLong, DeLong & Clarke-Pearson 1988; by ranks as in Sun & Xu 2014.
    """
    kinds = scores_N[positive_N].double(), scores_N[~positive_N].double()
    if not all(map(len, kinds)):
        return math.nan, math.nan
    positive_M, other_N = (torch.sort(kind).values for kind in kinds)
    above_M, below_N = _share_below(positive_M, other_N), 1 - _share_below(other_N, positive_M)
    area = float(above_M.mean())
    variance = sum(float(share.var(correction=1)) / len(share) for share in (above_M, below_N) if len(share) > 1)
    reach = _Z * math.sqrt(variance)
    return max(0.0, area - reach), min(1.0, area + reach)


def _share_below(values_N: Tensor, sorted_M: Tensor) -> Tensor:
    """Of each value the share of others that are below it, those that are the same half."""
    below, up_to = (torch.searchsorted(sorted_M, values_N, right=right) for right in (False, True))
    return (below + up_to).double() / (2 * len(sorted_M))


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


@final
class OverlapInterval:
    """The interval of the mean intersection over union, over samples drawn anew, by a confusion matrix of each."""

    def __init__(self) -> None:
        self.reset()

    def update(self, confusion_BCC: Tensor) -> None:
        self._confusions.append(confusion_BCC.cpu())

    def compute(self) -> dict[str, float]:
        whole_NCC = torch.cat(self._confusions) if self._confusions else torch.zeros(0, 1, 1)
        classes = whole_NCC.shape[-1]
        return named(
            resampled(whole_NCC.flatten(1), lambda sums: overlaps(sums.unflatten(1, (classes, classes))).nanmean(1))
        )

    def reset(self) -> None:
        self._confusions: list[Tensor] = []


@final
class EntityInterval:
    """The interval of the F1 of entities, over samples drawn anew, by how many of each are right, given and true."""

    def __init__(self) -> None:
        self.reset()

    def update(self, entities_B3: Tensor) -> None:
        self._entities.append(entities_B3.cpu())

    def compute(self) -> dict[str, float]:
        whole_N3 = torch.cat(self._entities) if self._entities else torch.zeros(0, 3)
        return named(resampled(whole_N3, lambda sums_R3: 2 * sums_R3[:, 0] / (sums_R3[:, 1] + sums_R3[:, 2])))

    def reset(self) -> None:
        self._entities: list[Tensor] = []


@final
class MatchInterval:
    """The interval of the share of texts written as they are meant."""

    def __init__(self) -> None:
        self.reset()

    def update(self, texts: Sequence[str], references: Sequence[str]) -> None:
        self._right += sum(text == reference for text, reference in zip(texts, references, strict=True))
        self._count += len(texts)

    def compute(self) -> dict[str, float]:
        return named(wilson(self._right, self._count))

    def reset(self) -> None:
        self._right = self._count = 0
