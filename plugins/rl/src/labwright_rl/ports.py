"""What flows between an environment and a model. B batch, D numbers of an observation or an action, A actions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from labwright import Port
from torch import Generator, Tensor


@dataclass(frozen=True)
class Observations(Port):
    """What an environment shows: `model(x)`, float32 of shape (B, *shape); `pictures` are uint8 (B, C, H, W).

    Example: `Observations((4,))`
    """

    shape: tuple[int, ...]
    pictures: bool = False

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        shape = (batch_size, *self.shape)
        if self.pictures:
            return (torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),)
        return (torch.randn(shape, generator=generator),)


@dataclass(frozen=True)
class Actions(Port):
    """What an environment can be told: one of several actions, or numbers; see the two that derive from it."""

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        raise NotImplementedError


@dataclass(frozen=True)
class DiscreteActions(Actions):
    """One of `count` actions, int64 (B,): forward returns a number for each, (B, A), the greatest of the best.

    Example: `DiscreteActions(2)`
    """

    count: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, self.count, (batch_size,), generator=generator),)


@dataclass(frozen=True)
class ContinuousActions(Actions):
    """Numbers between `low` and `high`, float32 (B, D): forward returns means and log deviations, (B, 2 D).

    Example: `ContinuousActions(low=(-2.0,), high=(2.0,))`
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def dim(self) -> int:
        return len(self.low)

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        # where there is no bound, what most environments scale their actions to
        low, high = low.clamp(min=-1e3), high.clamp(max=1e3)
        return (low + (high - low) * torch.rand(batch_size, self.dim, generator=generator),)
