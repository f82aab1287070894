"""Statistics: a kind of component that this plugin adds, and two of them. N numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field
from torch import Tensor


class Statistic(ABC):
    """Sums numbers up in one."""

    @abstractmethod
    def of(self, values_N: Tensor) -> float:
        """What the numbers come to."""


class Middle(Statistic):
    """The median, the lower one of two."""

    def of(self, values_N: Tensor) -> float:
        return float(values_N.median())


class Spread(Statistic):
    """The distance between two quantiles.

    Args:
        outside: share of the numbers that lies below the one, and as large a share above the other.
    """

    def __init__(self, *, outside: Annotated[float, Field(gt=0, lt=0.5)] = 0.25) -> None:
        self.outside = outside

    def of(self, values_N: Tensor) -> float:
        return float(values_N.quantile(1 - self.outside) - values_N.quantile(self.outside))
