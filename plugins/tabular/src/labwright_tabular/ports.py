"""What models of tables are called with, and what they return. B batch, N numbers, C categories, D values."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from labwright import Port, Values
from torch import Generator, Tensor


@dataclass(frozen=True)
class Fields(Port):
    """Rows of a table: `model(x_BN, codes_BC)`, float32 and int64.

    A column of numbers is scaled to about zero mean and unit variance, 0 standing in for what is missing; whether it
    was missing is a number of its own, 0 or 1. Category c has codes below `levels[c]`: 0 is a level that is rare or
    unknown. N or C may be 0, not both.

    `values` are those that each number has in the training part, as scaled and ascending: all, or a few hundred that
    have as many between them. Models cut its range by them.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()
    values: tuple[tuple[float, ...], ...] = field(default=(), repr=False)

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        codes = [torch.randint(0, most, (batch_size,), generator=generator) for most in self.levels]
        codes_BC = torch.stack(codes, dim=1) if codes else torch.empty(batch_size, 0, dtype=torch.int64)
        return torch.randn(batch_size, len(self.numbers), generator=generator), codes_BC


@dataclass(frozen=True)
class Scaled(Values):
    """Real numbers in the unit of the table: forward returns values_BD, as the target is.

    `mean` and `deviation` are the training part's, D each: a model computes in standard units and returns the
    table's; a loss may compare in standard units again.
    """

    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Quantiles(Scaled):
    """Quantiles of a number, ascending `levels`: forward returns values_BQ; the target is (B, 1), float32."""

    levels: tuple[float, ...] = (0.5,)

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(batch_size, 1, generator=generator),)
