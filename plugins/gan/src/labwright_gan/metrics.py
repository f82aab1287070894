"""Measures of what a generator makes, beside as many real samples. N samples, D numbers each, F features, C classes.

Each takes in what `Adversarial.evaluate` returns, a `Seen`, and computes in float64 on the CPU.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from labwright import Accuracy, generator
from torch import Tensor

_BLOCK = 1000  # samples whose kernel is computed at once, the subsets of Bińkowski et al. 2018, section 4
_COVERED = 0.1  # of its even share of the samples


@dataclass(frozen=True)
class Seen:
    """Real and generated samples of a batch, and what the judge saw in them.

    `labels` are the classes of the real samples, and those asked for of the generated ones if the model was asked.
    Features (B, F) are the points themselves where there is no judge; logits (B, C) are None where it has no classes.
    """

    real: Tensor
    fake: Tensor
    labels: Tensor
    real_features: Tensor
    fake_features: Tensor
    real_logits: Tensor | None = None
    fake_logits: Tensor | None = None

    def cpu(self) -> Seen:
        """The same on the CPU: of several processes each has its own on a GPU of its own."""
        return Seen(*(None if tensor is None else tensor.cpu() for tensor in vars(self).values()))  # type: ignore[arg-type]


class _OfFeatures(ABC):
    """A distance between the features of all real and of all generated samples; nan with fewer than two."""

    def __init__(self) -> None:
        self.reset()

    def update(self, seen: Seen) -> None:
        self._real.append(seen.real_features.detach())
        self._fake.append(seen.fake_features.detach())

    def compute(self) -> float:
        if sum(map(len, self._real)) < 2:
            return math.nan
        real, fake = (torch.cat(parts).cpu().double() for parts in (self._real, self._fake))
        return self._between(real, fake)

    def reset(self) -> None:
        self._real: list[Tensor] = []
        self._fake: list[Tensor] = []

    @abstractmethod
    def _between(self, real: Tensor, fake: Tensor) -> float:
        """The distance of features (N, F), float64."""


@final
class FID(_OfFeatures):
    """The Fréchet distance of Gaussians fitted to the features (Heusel et al. 2017); see `frechet`.

    It has a bias that shrinks with the number of samples, so compare it for equal numbers only.
    """

    def _between(self, real: Tensor, fake: Tensor) -> float:
        return frechet(real.mean(0), torch.cov(real.T), fake.mean(0), torch.cov(fake.T))


@final
class KID(_OfFeatures):
    """The kernel distance of the features, free of bias: it may be below 0 (Bińkowski et al. 2018); see `kernel`.

    The mean over blocks of about 1,000 samples, each sample in one of them.
    """

    def _between(self, real: Tensor, fake: Tensor) -> float:
        order = torch.randperm(len(real), generator=generator(len(real)))
        blocks = order.chunk(max(1, len(real) // _BLOCK))
        return sum(kernel(real[block], fake[block]) for block in blocks) / len(blocks)


@final
class EnergyDistance(_OfFeatures):
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| over all pairs: 0 for equal samples only (Székely & Rizzo 2013, eq. 6.1).

    In units of the points.
    """

    def _between(self, real: Tensor, fake: Tensor) -> float:
        return 2 * _mean_distance(real, fake) - _mean_distance(real, real) - _mean_distance(fake, fake)


@final
class Modes:
    """How points lie about known modes, all Gaussians of one deviation: two numbers.

    `covered` counts the modes that have, within 3 sigma, a tenth or more of what they would have if all points were
    shared out evenly; `near` is the share of all points within 3 sigma of any mode.
    """

    def __init__(self, centres_MD: Tensor, sigma: float) -> None:
        self._centres, self._sigma = centres_MD, sigma
        self._counts = torch.zeros(len(centres_MD), dtype=torch.int64)
        self._points = 0

    def update(self, seen: Seen) -> None:
        distances_NM = torch.cdist(seen.fake.float(), self._centres.to(seen.fake.device))
        nearest = distances_NM.min(dim=1)
        near = nearest.values <= 3 * self._sigma
        self._counts = self._counts + torch.bincount(nearest.indices[near], minlength=len(self._centres)).cpu()
        self._points += len(near)

    def compute(self) -> dict[str, float]:
        if not self._points:
            return {"covered": math.nan, "near": math.nan}
        enough = _COVERED * self._points / len(self._counts)
        return {
            "covered": float((self._counts >= enough).sum()),
            "near": float(self._counts.sum()) / self._points,
        }

    def reset(self) -> None:
        self._counts = torch.zeros_like(self._counts)
        self._points = 0


@final
class ReadAsAsked:
    """The share of generated samples that the judge reads as the class asked for, from 0 to 1."""

    def __init__(self) -> None:
        self._accuracy = Accuracy()

    def update(self, seen: Seen) -> None:
        assert seen.fake_logits is not None
        self._accuracy.update(seen.fake_logits, seen.labels)

    def compute(self) -> float:
        return self._accuracy.compute()

    def reset(self) -> None:
        self._accuracy.reset()


@final
class JudgeAccuracy:
    """The share of the real samples whose class the judge reads rightly: what `read_as_asked` can be trusted to."""

    def __init__(self) -> None:
        self._accuracy = Accuracy()

    def update(self, seen: Seen) -> None:
        assert seen.real_logits is not None
        self._accuracy.update(seen.real_logits, seen.labels)

    def compute(self) -> float:
        return self._accuracy.compute()

    def reset(self) -> None:
        self._accuracy.reset()


@final
class Spread:
    """How much samples of a class differ, generated ones as a ratio to real ones: below 1 they are too alike.

    Of each class the standard deviation of each pixel over its samples, averaged over pixels, then over classes.
    Classes with fewer than two samples are left out; nan if all are.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._counts = torch.zeros(classes, dtype=torch.float64)
        self._sums: list[Tensor] = []

    def update(self, seen: Seen) -> None:
        labels = seen.labels.cpu()
        self._counts.index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))
        for number, samples in enumerate((seen.real, seen.fake)):
            x = samples.detach().cpu().double().flatten(1)
            if not self._sums:
                self._sums = [x.new_zeros(2, self._classes, x.shape[1]) for _ in range(2)]
            self._sums[number][0].index_add_(0, labels, x)
            self._sums[number][1].index_add_(0, labels, x.square())

    def compute(self) -> float:
        several = self._counts > 1
        if not several.any():
            return math.nan
        real, fake = (self._deviation(sums, several) for sums in self._sums)
        return fake / real if real else math.nan

    def reset(self) -> None:
        self._counts.zero_()
        self._sums = []

    def _deviation(self, sums: Tensor, several: Tensor) -> float:
        count = self._counts[several][:, None]
        mean = sums[0][several] / count
        variance = (sums[1][several] / count - mean.square()).clamp(min=0) * count / (count - 1)
        return float(variance.sqrt().mean())


def frechet(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """The squared distance |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) of two Gaussians (Dowson & Landau 1982)."""
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    squared = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * cross
    return float(squared)


def kernel(x_NF: Tensor, y_NF: Tensor) -> float:
    """The unbiased squared maximum mean discrepancy with the kernel (x.y / F + 1)^3 (Gretton et al. 2012, equation 4).

    A row of x may depend on the same row of y, such as by the class they share: no row is compared with its own.
    """
    count, features = x_NF.shape

    def between(left: Tensor, right: Tensor) -> Tensor:
        gram = (left @ right.T / features + 1) ** 3
        return (gram.sum() - gram.diagonal().sum()) / (count * (count - 1))

    return float(between(x_NF, x_NF) + between(y_NF, y_NF) - 2 * between(x_NF, y_NF))


def _mean_distance(left: Tensor, right: Tensor) -> float:
    total = sum(float(torch.cdist(part, right).sum()) for part in torch.split(left, _BLOCK))
    return total / (len(left) * len(right))
