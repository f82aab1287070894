"""How far a part is from `train`: in its classes' shares, and in what tells samples apart. N samples, C classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from labwright import generator
from torch import Tensor

from labwright_tasks.checking.classifier import out_of_fold
from labwright_tasks.checking.features import comparable
from labwright_tasks.checking.samples import PARTS, Place, Samples
from labwright_tasks.metrics import area_under_curve

_FOLDS = 5
_MOST = 1000  # samples of a part
_FEWEST = 4 * _FOLDS
_SURE, _TOLD_APART = 4.0, 0.6  # standard deviations; area under the ROC curve
_MOVED, _RARE = 0.05, 1e-3  # of the classes' shares; how often chance does as much
_UNLIKE = 50  # samples that are named


@dataclass(frozen=True)
class Drift:
    """How a part differs from `train`; nan for what isn't measured.

    `moved` is the share of its samples that would have to be of another class, `chance` how often chance mixes classes
    as unevenly. `area` is that under the ROC curve of a classifier that tells its samples from those of `train`, and
    `deviation` how far from 0.5 chance brings it. `scores_N` are the probabilities it gives samples of `train` and of
    the part of being the part's, `unlike` those of the part that it is surest of.
    """

    moved: float = math.nan
    chance: float = math.nan
    area: float = math.nan
    deviation: float = math.nan
    unlike: tuple[Place, ...] = ()
    scores_N: tuple[Tensor, Tensor] = field(default=(torch.empty(0),) * 2, compare=False)

    @property
    def is_mixed_otherwise(self) -> bool:
        return self.chance < _RARE and self.moved > _MOVED

    @property
    def is_told_apart(self) -> bool:
        return self.area > _TOLD_APART and self.area - 0.5 > _SURE * self.deviation


def measured(samples: Samples, seed: int) -> dict[str, Drift]:
    """Each part that isn't `train` beside it."""
    train = samples.of_part("train")
    others = {part: samples.of_part(part) for part in PARTS[1:]}
    return {
        part: Drift(*_label_shift(samples, train, other), *_feature_shift(samples, train, other, seed))
        for part, other in others.items()
        if len(train) and len(other)
    }


def _label_shift(samples: Samples, train: Tensor, other: Tensor) -> tuple[float, float]:
    """Half the sum of the shares' differences, and the chi-squared test of homogeneity."""
    if samples.labels_N is None:
        return math.nan, math.nan
    classes = len(samples.classes)
    counts_KC = torch.stack([samples.labels_N[some].bincount(minlength=classes) for some in (train, other)]).double()
    counts_KC = counts_KC[:, counts_KC.sum(0) > 0]
    expected_KC = counts_KC.sum(1, keepdim=True) * counts_KC.sum(0) / counts_KC.sum()
    statistic = ((counts_KC - expected_KC) ** 2 / expected_KC).sum()
    freedom = torch.tensor(max(1, counts_KC.shape[1] - 1), dtype=torch.float64)
    shares_KC = counts_KC / counts_KC.sum(1, keepdim=True)
    moved = float((shares_KC[0] - shares_KC[1]).abs().sum()) / 2
    return moved, float(torch.special.gammaincc(freedom / 2, statistic / 2))


def _feature_shift(
    samples: Samples, train: Tensor, other: Tensor, seed: int
) -> tuple[float, float, tuple[Place, ...], tuple[Tensor, Tensor]]:
    """A classifier two-sample test (Lopez-Paz & Oquab 2017), by the area under the ROC curve.

    Where the scores say nothing, its standard deviation is sqrt((n + m + 1) / (12 n m)), as of the Mann-Whitney
    statistic over the number of pairs.
    """
    if min(len(train), len(other)) < _FEWEST:
        return math.nan, math.nan, (), (torch.empty(0),) * 2
    assert samples.features_ND is not None
    drawn = [
        some[torch.randperm(len(some), generator=generator(seed, number, 14))[:_MOST]]
        for number, some in enumerate((train, other))
    ]
    n, m = map(len, drawn)
    of_other_N = torch.arange(n + m) >= n
    x_ND = comparable(samples.port, samples.features_ND[torch.cat(drawn)])
    scores_N = out_of_fold(x_ND, of_other_N.long(), 2, folds=_FOLDS, seed=seed)[:, 1]
    surest = drawn[1][scores_N[n:].argsort(descending=True, stable=True)[:_UNLIKE]]
    return (
        float(area_under_curve(scores_N, of_other_N)),
        math.sqrt((n + m + 1) / (12 * n * m)),
        tuple(samples.places[at] for at in surest.tolist()),
        (scores_N[:n], scores_N[n:]),
    )
