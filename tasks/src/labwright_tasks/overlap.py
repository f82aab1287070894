"""What is measured of labels for each position, from how often each class was given each. C classes.

Each sums what `DenseLabels.evaluate` gives: a confusion matrix with a row for each true class, nats, and how many
entities are right, given and true.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor


class _OfSums(ABC):
    """Sums of what `DenseLabels.evaluate` gives, and numbers made of them; nan before the first position."""

    def __init__(self) -> None:
        self.reset()

    def update(self, confusion_CC: Tensor, nats: Tensor, entities_3: Tensor) -> None:
        """Take in the confusion matrix of some positions, the sum of their nats, and counts of entities."""
        self.confusion_CC: Tensor = self.confusion_CC + confusion_CC.cpu()
        self.nats += float(nats)
        self.entities_3: Tensor = self.entities_3 + entities_3

    @abstractmethod
    def compute(self) -> Any: ...

    def reset(self) -> None:
        self.confusion_CC, self.nats, self.entities_3 = torch.zeros(1, 1, dtype=torch.int64), 0.0, torch.zeros(3)

    @property
    def positions(self) -> int:
        return int(self.confusion_CC.sum())


@final
class PositionAccuracy(_OfSums):
    """The share of positions whose class is right."""

    def compute(self) -> float:
        return int(self.confusion_CC.trace()) / self.positions if self.positions else math.nan


@final
class NatsPerPosition(_OfSums):
    """The mean negative log-likelihood of a position's label, in nats."""

    def compute(self) -> float:
        return self.nats / self.positions if self.positions else math.nan


@final
class MeanIoU(_OfSums):
    """The mean of the classes' intersections over union; classes that are neither true nor given are left out."""

    def compute(self) -> float:
        return float(overlaps(self.confusion_CC).nanmean())


@final
class IoU(_OfSums):
    """Each class's intersection over union, by its name; nan for one that is neither true nor given."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = names

    def compute(self) -> dict[str, float]:
        of_classes = overlaps(self.confusion_CC).expand(len(self.names))
        return dict(zip(self.names, of_classes.tolist(), strict=True))


@final
class EntityF1(_OfSums):
    """The harmonic mean of precision and recall of entities; nan where none is true and none was given."""

    def compute(self) -> float:
        right, given, true = self.entities_3.tolist()
        return 2 * right / (given + true) if given + true else math.nan


def overlaps(confusion_CC: Tensor) -> Tensor:
    """Each class's intersection over union, (C,) float64, of a matrix with a row for each true class; nan for 0 / 0."""
    right_C = confusion_CC.diagonal().double()
    return right_C / (confusion_CC.sum(0) + confusion_CC.sum(1) - right_C)
