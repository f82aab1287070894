"""Metrics of classes, and of numbers: what a recipe names in `task.metrics`. B batch, C classes, D numbers of a sample.

They sum up on the device and read values in `compute` alone, so that a GPU never waits. Those of classes take logits
(B, C) and labels (B,), as `Classification.evaluate` returns them; further axes may stand between B and C. Those of
tokens and texts come last.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, final, runtime_checkable

import torch
from labwright import Classes, Mean
from pydantic import Field
from torch import Tensor

from labwright_tasks.intervals import delong_of_classes, named, of_counts

Splits = Annotated[
    tuple[Literal["train", "valid", "test"], ...],
    Field(min_length=1, description="parts of the data that it is computed on; left out, all."),
]


@runtime_checkable
class Signed(Protocol):
    """A metric that says exactly how it is computed, for a run's report: figures of another signature don't compare."""

    def signature(self) -> str: ...


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the last axis, all other axes made one, in float64 where the device has it."""
    precise = torch.float32 if logits.device.type == "mps" else torch.float64
    return logits.detach().flatten(0, -2).to(precise).softmax(-1)


@final
class TopK:
    """The share of labels that are among the `k` highest logits, from 0 to 1; nan before the first.

    Args:
        k: highest logits that the label may be among; fewer than there are classes.
    """

    higher_is_better = True

    def __init__(self, outputs: Classes, *, k: Annotated[int, Field(ge=1)] = 5, splits: Splits | None = None) -> None:
        if k >= len(outputs.names):
            raise ValueError(f"k is {k}, and of {len(outputs.names)} classes so many are always right; make it smaller")
        self.k, self.splits, self._mean = k, splits, Mean()
        self.root = False

    def of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.topk(self.k, dim=-1).indices == labels.unsqueeze(-1)).any(-1)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self._mean.update(self.of_each(logits, labels))

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()


class _OfCounts(ABC):
    """Made of how often each class was given for each true one: counts (C, C), a row for each true class."""

    _counts: Tensor | int

    def __init__(self, names: tuple[str, ...], splits: Splits | None) -> None:
        self.names, self.splits = names, splits
        self.reset()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        classes = len(self.names)
        pairs = labels.flatten() * classes + logits.argmax(-1).flatten()
        self._counts = self._counts + pairs.bincount(minlength=classes**2).view(classes, classes)

    @abstractmethod
    def compute(self) -> Any: ...

    def reset(self) -> None:
        self._counts = 0

    def counts(self) -> Tensor:
        """The counts on the host."""
        return torch.as_tensor(self._counts, device="cpu").expand(len(self.names), len(self.names))


@final
class F1(_OfCounts):
    """F1, the harmonic mean of precision and recall (van Rijsbergen 1979): `f1/macro`, and `f1/class/NAME` of each.

    A class that neither occurs nor is given has none and is left out of the mean, which is over classes alike.
    """

    higher_is_better = True

    def __init__(self, outputs: Classes, *, splits: Splits | None = None) -> None:
        super().__init__(outputs.names, splits)

    def compute(self) -> dict[str, Any]:
        scores_C = _f1(self.counts())
        each = {name: score for name, score in zip(self.names, scores_C.tolist(), strict=True) if score == score}
        return {"macro": float(scores_C.nanmean()), "class": each}

    def interval_95(self) -> dict[str, dict[str, float]]:
        """That of `f1/macro`, by the percentile bootstrap."""
        low, high = of_counts(self.counts(), lambda counts_RCC: _f1(counts_RCC).nanmean(-1))
        return {"macro": named((low, high))} if low < high else {}


def _f1(counts: Tensor) -> Tensor:
    """Of counts (..., C, C) the F1 of each class, nan for 0 / 0."""
    return 2 * counts.diagonal(dim1=-2, dim2=-1).double() / (counts.sum(-2) + counts.sum(-1))


@final
class Confusion(_OfCounts):
    """How often each class was given for each true one: `confusion/TRUE/GIVEN`, without those that are 0.

    A run's report draws it as a matrix whether it is named here or not.
    """

    def __init__(self, outputs: Classes, *, splits: Splits | None = None) -> None:
        super().__init__(outputs.names, splits)

    def compute(self) -> dict[str, dict[str, int]]:
        rows = zip(self.names, self.counts().tolist(), strict=True)
        return {true: {given: n for given, n in zip(self.names, row, strict=True) if n} for true, row in rows}


@final
class AUROC:
    """The probability that a sample of a class is given more of it than one of another, ties counted half.

    The mean over classes, each against the others (Hanley & McNeil 1982); a class without samples on either side is
    left out. It keeps the probabilities of all samples: name `splits` where there are many.
    """

    higher_is_better = True

    def __init__(self, outputs: Classes, *, splits: Splits | None = None) -> None:
        self.splits, self._classes = splits, len(outputs.names)
        self.reset()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self._scores.append(probabilities(logits))
        self._labels.append(labels.flatten())

    def compute(self) -> float:
        if not self._scores:
            return math.nan
        scores_CN, labels_N = self._whole()
        areas = [area_under_curve(scores_N, labels_N == label) for label, scores_N in enumerate(scores_CN)]
        return float(torch.stack(areas).nanmean())

    def interval_95(self) -> dict[str, float]:
        """DeLong's."""
        low, high = delong_of_classes(*self._whole()) if self._scores else (math.nan, math.nan)
        return named((low, high)) if low < high else {}

    def _whole(self) -> tuple[Tensor, Tensor]:
        return torch.cat(self._scores).T.cpu(), torch.cat(self._labels).cpu()

    def reset(self) -> None:
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []


def area_under_curve(scores_N: Tensor, positive_N: Tensor) -> Tensor:
    """The share of pairs of a positive and another where the positive scores higher, ties counted half (Mann-Whitney).

    nan where there are no pairs.
    """
    _, places_N, ties = torch.unique(scores_N, return_inverse=True, return_counts=True)
    ranks = ties.double().cumsum(0) - (ties - 1) / 2  # counted from 1, the mean of those that tie
    positives = int(positive_N.sum())
    others = len(positive_N) - positives
    above = ranks[places_N][positive_N].sum() - positives * (positives + 1) / 2
    area: Tensor = above / (positives * others)
    return area


@final
class CalibrationError:
    """Expected calibration error (Guo et al. 2017, eq. 3): how far confidence is from accuracy, from 0 to 1.

    Confidence is the highest probability. Samples are gathered by it in bins, and the distances of their means are
    weighed by the samples in them.

    Args:
        bins: intervals of equal width between 0 and 1 that samples are gathered in.
    """

    higher_is_better = False

    _excess: Tensor | float
    _samples: int

    def __init__(self, *, bins: Annotated[int, Field(ge=1)] = 15, splits: Splits | None = None) -> None:
        self.bins, self.splits = bins, splits
        self.reset()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        confidence_N, given_N = probabilities(logits).max(-1)
        bin_N = (confidence_N * self.bins).ceil().long().clamp(1, self.bins) - 1
        excess_N = confidence_N - (given_N == labels.flatten()).to(confidence_N.dtype)
        self._excess = self._excess + excess_N.new_zeros(self.bins).index_add(0, bin_N, excess_N)
        self._samples = self._samples + len(confidence_N)

    def compute(self) -> float:
        return float(torch.as_tensor(self._excess).abs().sum()) / self._samples if self._samples else math.nan

    def reset(self) -> None:
        self._excess, self._samples = 0.0, 0


class _Ratio:
    """A sum over a count; nan before the first that counts."""

    def __init__(self) -> None:
        self._mean = Mean()

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()


@final
class NatsPerToken(_Ratio):
    """The mean negative log-likelihood of a token, or of a position's label, in nats."""

    higher_is_better = False
    loss = "cross-entropy"

    def update(self, nats_sum: Tensor, tokens: Tensor | int) -> None:
        """Take in the summed negative log-likelihood of some tokens, and how many they are."""
        self._mean.add(nats_sum, tokens)


@final
class TokenAccuracy(_Ratio):
    """The share of tokens, or of positions, whose most probable class is the right one."""

    higher_is_better = True

    def update(self, right: Tensor, tokens: Tensor | int) -> None:
        """Take in how many of some tokens are right, and how many they are."""
        self._mean.add(right, tokens)


@final
class BitsPerCharacter(_Ratio):
    """The negative log-likelihood of a text in bits, for each of its characters."""

    higher_is_better = False

    def update(self, nats_sum: Tensor, characters: int) -> None:
        """Take in the summed negative log-likelihood of some tokens, and the characters they stand for."""
        self._mean.add(nats_sum, characters)

    def compute(self) -> float:
        return super().compute() / math.log(2)


@final
class ExactMatch(_Ratio):
    """The share of texts that are written as they are meant."""

    higher_is_better = True

    def update(self, texts: Sequence[str], references: Sequence[str]) -> None:
        """Take in the texts that were written, and those that were meant."""
        self._mean.add(sum(text == meant for text, meant in zip(texts, references, strict=True)), len(references))
