"""Intervals in which a figure of other samples of the same kind would lie, with a confidence of 95%.

Of a share, such as the accuracy, it is Wilson's (1927, "Probable inference, the law of succession, and statistical
inference"), which stays within 0 and 1 and holds for few samples too. Of a mean over samples it is Student's t (1908).
Of what is made of sums over samples, such as a word error rate or a mean intersection over union, it is the percentile
bootstrap (Efron 1979; of error rates: Bisani & Ney 2004). Of an area under the ROC curve it is DeLong's.

All of it is of samples that are independent of each other, and speaks of no other training than the one it measures.
N samples, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from copy import deepcopy
from typing import Any, final

import torch
from labwright import Accuracy, Data, LogLoss, Metric, Of, generator
from torch import Tensor
from torch.nn import functional

from labwright_tasks.overlap import intersection_over_union, summed

_Z = 1.959963984540054  # of the normal distribution, 97.5% lie below
_BEYOND = 2.3722712, 2.8224986, 2.5558497  # of Student's t: what powers of 1 / df add (Abramowitz & Stegun, 26.7.5)
_FEWEST = 10  # samples by whose spread a mean is judged
_DRAWS = 2000
_AT_ONCE = 1 << 22  # samples drawn together
_MOST = 20_000  # samples that are drawn anew, in a second or so


def with_intervals(metrics: Mapping[str, Metric], data: Data) -> dict[str, Metric]:
    """Metrics, and of those that can have one the interval on `test`, which is called `NAME_95`.

    None of samples that aren't independent of each other, as the data says. Those can that are a mean over samples:
    `of_each`, which takes what `update` does, gives the number of each sample, (B,), bool for what is true or not; with
    `root = True` the metric is the root of their mean. So can those that have `interval_95`, which gives `low` and
    `high` after the updates so far, or a table of such, and nothing where it can't be told.

    Example: `def metrics(self): return with_intervals({"accuracy": lw.Accuracy()}, self.data)`
    """
    known = {name: interval for name, one in metrics.items() if (interval := _interval(one)) is not None}
    return {**metrics, **({f"{name}_95": one for name, one in known.items()} if data.independent else {})}


def _interval(metric: Metric) -> Metric | None:
    splits = getattr(metric, "splits", None)
    if splits is not None and "test" not in splits:
        return None
    if isinstance(metric, Accuracy):
        return SampleInterval(lambda logits, labels: logits.argmax(-1) == labels)
    if isinstance(metric, LogLoss):
        return SampleInterval(lambda logits, labels: functional.cross_entropy(logits.float(), labels, reduction="none"))
    if callable(of_each := getattr(metric, "of_each", None)):
        return SampleInterval(of_each, root=getattr(metric, "root", False))
    return OwnInterval(deepcopy(metric)) if callable(getattr(metric, "interval_95", None)) else None


@final
class SampleInterval:
    """The interval, on `test`, of the mean of a number of each sample; of the root of that mean, if `root`."""

    splits = ("test",)

    def __init__(self, of_each: Callable[..., Tensor], root: bool = False) -> None:
        self.of_each, self.root = of_each, root
        self.reset()

    def update(self, *results: Any) -> None:
        self._kept.append(self.of_each(*results).detach().cpu())

    def compute(self) -> dict[str, float]:
        ends = of_mean(torch.cat(self._kept)) if self._kept else {}
        return {end: math.sqrt(value) for end, value in ends.items()} if self.root else ends

    def reset(self) -> None:
        self._kept: list[Tensor] = []


@final
class OwnInterval:
    """What a metric gives as its `interval_95`, on `test`."""

    splits = ("test",)

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        metric.reset()

    def update(self, *results: Any) -> None:
        self.metric.update(*results)

    def compute(self) -> Mapping[str, Any]:
        interval: Mapping[str, Any] = self.metric.interval_95()
        return interval

    def reset(self) -> None:
        self.metric.reset()


def of_mean(values_N: Tensor) -> dict[str, float]:
    """The interval of a mean, as a metric gives it: of bool `wilson`, of numbers Student's t.

    Fewer than ten numbers have none, nor have those that are all the same. That of numbers of which none is below 0
    isn't either.
    """
    count, values_N = len(values_N), values_N if values_N.dtype == torch.bool else values_N.double()
    if values_N.dtype == torch.bool:
        return named(wilson(float(values_N.sum()), count)) if count else {}
    mean, df = float(values_N.mean()), count - 1
    deviation = float(values_N.std()) if count >= _FEWEST else 0.0
    if not deviation > 1e-12 * abs(mean):
        return {}
    reach = (_Z + sum(term / df**power for power, term in enumerate(_BEYOND, 1))) * deviation / math.sqrt(count)
    low = mean - reach if float(values_N.min()) < 0 else max(0.0, mean - reach)
    return named((low, mean + reach))


def of_counts(counts_CC: Tensor, figure: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """The interval of a figure made of how often each class was given for each true one, over samples drawn anew.

    `figure` makes R of them from counts (R, C, C). As many samples fall on the pairs of classes by chance, so that what
    it costs doesn't grow with them.
    """
    import numpy as np

    count = int(counts_CC.sum())
    if not count:
        return math.nan, math.nan
    shares = counts_CC.double().flatten().numpy() / count
    drawn = np.random.default_rng(0).multinomial(count, shares / shares.sum(), size=_DRAWS)
    return _ends(figure(torch.from_numpy(drawn).view(-1, *counts_CC.shape)))


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
    """The interval of sum(values) / sum(weights), or of the mean, over samples drawn anew; the same each time.

    Of more than 20,000 it is the normal one, of a ratio (Cochran 1977, section 6.4): drawing them takes seconds, and
    comes to the same.
    """
    weights_N = torch.ones_like(values_N) if weights_N is None else weights_N
    if len(values_N) > _MOST:
        weight = float(weights_N.double().sum())
        ratio = float(values_N.double().sum()) / weight
        reach = _Z * math.sqrt(float((values_N.double() - ratio * weights_N).square().sum())) / weight
        return ratio - reach, ratio + reach
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
    return _ends(torch.cat(figures))


def over_samples(values_NK: Tensor, figure: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """What `resampled` gives, as a metric gives it; nothing of fewer than ten samples, or if they tell nothing.

    They don't where no draw gives a number, or all the same, as where all is right: that isn't known so surely.
    """
    low, high = resampled(values_NK, figure) if len(values_NK) >= _FEWEST else (math.nan, math.nan)
    return named((low, high)) if low < high else {}


def _ends(figures_R: Tensor) -> tuple[float, float]:
    low, high = figures_R.double().nanquantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


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


def delong_of_classes(scores_CN: Tensor, labels_N: Tensor) -> tuple[float, float]:
    """The interval of the mean of the classes' areas under the ROC curve, each against the others; nan as `delong`.

    The same samples are in all of them: what each adds to the variance is the mean of what it adds to each area.
    """
    added_N, areas = torch.zeros(len(labels_N), dtype=torch.float64), []
    for label, scores_N in enumerate(scores_CN.double()):
        own_N = labels_N == label
        kinds = scores_N[own_N], scores_N[~own_N]
        if all(map(len, kinds)):
            sorted_kinds = [kind.sort().values for kind in kinds]
            shares_N = torch.empty_like(scores_N)
            shares_N[own_N] = _share_below(kinds[0], sorted_kinds[1])
            shares_N[~own_N] = 1 - _share_below(kinds[1], sorted_kinds[0])
            areas.append(float(shares_N[own_N].mean()))
            added_N += (shares_N - areas[-1]) / torch.where(own_N, len(kinds[0]), len(kinds[1]))
    if not areas:
        return math.nan, math.nan
    area, count = sum(areas) / len(areas), len(labels_N)
    reach = _Z / len(areas) * math.sqrt(float(added_N.square().sum()) * count / (count - 1))
    return max(0.0, area - reach), min(1.0, area + reach)


def _share_below(values_N: Tensor, sorted_M: Tensor) -> Tensor:
    """Of each value the share of others that are below it, those that are the same half."""
    below, up_to = (torch.searchsorted(sorted_M, values_N, right=right) for right in (False, True))
    return (below + up_to).double() / (2 * len(sorted_M))


def named(interval: tuple[float, float]) -> dict[str, float]:
    """An interval as a metric gives it: `NAME/low` and `NAME/high`."""
    return {"low": interval[0], "high": interval[1]}


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
class PerplexityInterval(MeanInterval):
    """The interval of the exponential of a mean over samples that are given one number each."""

    def compute(self) -> dict[str, float]:
        return {end: math.exp(min(nats, 700.0)) for end, nats in super().compute().items()}


def of_nats(chosen: Container[str]) -> dict[str, Metric]:
    """The intervals on `test`, over samples, of `cross_entropy` and `perplexity`, those of them that are chosen.

    `Task.evaluate` gives of each sample `nats_of_each` and `tokens_of_each`, (B,).
    """
    known = {"cross_entropy": MeanInterval(), "perplexity": PerplexityInterval()}
    return {
        f"{name}_95": Of(one, "nats_of_each", "tokens_of_each", splits=["test"])
        for name, one in known.items()
        if name in chosen
    }


@final
class OverlapInterval:
    """The interval of the mean intersection over union, over samples drawn anew, by a confusion matrix of each."""

    def __init__(self) -> None:
        self.reset()

    def update(self, confusion_BCC: Tensor) -> None:
        self._sums.append(summed(confusion_BCC).cpu())

    def compute(self) -> dict[str, float]:
        sums_N2C = torch.cat(self._sums) if self._sums else torch.zeros(0, 2, 1)
        classes = sums_N2C.shape[-1]
        return over_samples(
            sums_N2C.flatten(1), lambda sums_RK: intersection_over_union(sums_RK.view(-1, 2, classes)).nanmean(1)
        )

    def reset(self) -> None:
        self._sums: list[Tensor] = []


@final
class EntityInterval:
    """The interval of the F1 of entities, over samples drawn anew, by how many of each are right, given and true."""

    def __init__(self) -> None:
        self.reset()

    def update(self, entities_B3: Tensor) -> None:
        self._entities.append(entities_B3.cpu())

    def compute(self) -> dict[str, float]:
        whole_N3 = torch.cat(self._entities) if self._entities else torch.zeros(0, 3)
        return over_samples(whole_N3, lambda sums_R3: 2 * sums_R3[:, 0] / (sums_R3[:, 1] + sums_R3[:, 2]))

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
