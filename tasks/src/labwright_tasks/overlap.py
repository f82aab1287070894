"""What is measured of labels for each position, from how often each class was given each. C classes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, final

import torch
from labwright import Classes
from torch import Tensor

from labwright_tasks.entities import tag_entities


class _OfConfusion(ABC):
    """Numbers made of a confusion matrix with a row for each true class; nan before the first position."""

    higher_is_better = True

    def __init__(self) -> None:
        self.reset()

    def update(self, confusion: Tensor) -> None:
        """Take in the confusion matrix of some positions, (C, C)."""
        self.confusion_CC: Tensor = self.confusion_CC + confusion.cpu()

    @abstractmethod
    def compute(self) -> Any: ...

    def reset(self) -> None:
        self.confusion_CC = torch.zeros(1, 1, dtype=torch.int64)


@final
class MeanIoU(_OfConfusion):
    """The mean of the classes' intersections over union; classes that are neither true nor given are left out."""

    def compute(self) -> float:
        return float(overlaps(self.confusion_CC).nanmean())


@final
class IoU(_OfConfusion):
    """Each class's intersection over union, by its name; nan for one that is neither true nor given."""

    def __init__(self, outputs: Classes) -> None:
        super().__init__()
        self.names = outputs.names

    def compute(self) -> dict[str, float]:
        of_classes = overlaps(self.confusion_CC).expand(len(self.names))
        return dict(zip(self.names, of_classes.tolist(), strict=True))


@final
class Dice(_OfConfusion):
    """Twice what is right, over what is of a class plus what is given it: `dice/macro`, `dice/class/NAME` of each.

    It is the F1 of a class's positions (Dice 1945), and 2 * IoU / (1 + IoU). A class that neither occurs nor is given
    has none and is left out of the mean.
    """

    def __init__(self, outputs: Classes) -> None:
        super().__init__()
        self.names = outputs.names

    def compute(self) -> dict[str, Any]:
        ious_C = overlaps(self.confusion_CC).expand(len(self.names))
        scores_C = 2 * ious_C / (1 + ious_C)
        each = {name: score for name, score in zip(self.names, scores_C.tolist(), strict=True) if score == score}
        return {"macro": float(scores_C.nanmean()), "class": each}


class EntityF1:
    """The harmonic mean of precision and recall of entities; nan where none is true and none was given.

    Raises ValueError for classes that aren't O, and B- and I- of some types.
    """

    higher_is_better = True

    def __init__(self, outputs: Classes) -> None:
        if not tag_entities(outputs.names):
            raise ValueError("entities are told by classes O, and B- and I- of some types, which these aren't")
        self.reset()

    def update(self, entities: Tensor) -> None:
        """Take in how many entities are right, given and true, (3,)."""
        self.entities_3: Tensor = self.entities_3 + entities

    def compute(self) -> float:
        right, given, true = self.entities_3.tolist()
        return 2 * right / (given + true) if given + true else math.nan

    def reset(self) -> None:
        self.entities_3 = torch.zeros(3)


@final
class StrictEntityF1(EntityF1):
    """As `entity-f1`, of entities that begin with a B-: an I- that goes on with nothing belongs to none.

    As seqeval counts in its strict mode by IOB2.
    """

    def update(self, strict_entities: Tensor) -> None:
        """Take in how many entities are right, given and true, (3,)."""
        super().update(strict_entities)


def overlaps(confusion_CC: Tensor) -> Tensor:
    """Each class's intersection over union, (..., C) float64, nan for 0 / 0; a matrix has a row for each true one."""
    return intersection_over_union(summed(confusion_CC))


def summed(confusion_CC: Tensor) -> Tensor:
    """Of each class how often it was right, and how often it was given or true, (..., 2, C)."""
    right_C = confusion_CC.diagonal(dim1=-2, dim2=-1)
    return torch.stack([right_C, confusion_CC.sum(-2) + confusion_CC.sum(-1) - right_C], dim=-2)


def intersection_over_union(sums: Tensor) -> Tensor:
    """That of each class, (..., C) float64, of `summed`; nan for 0 / 0."""
    right_C, either_C = sums.double().unbind(-2)
    return right_C / either_C
