"""What flows between data, task and model. B batch, N points of the largest cloud, C classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import labwright as lw
import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Clouds(lw.Port):
    """Points of the plane: `model(points_BN2, counts_B)`, float32 and int64; from a cloud's count on they are 0.

    `most` is how many points a cloud has at most.
    """

    most: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        points_BN2 = torch.randn(batch_size, self.most, 2, generator=generator)
        counts_B = torch.randint(1, self.most + 1, (batch_size,), generator=generator)
        return points_BN2 * inside(counts_B, self.most)[..., None], counts_B


@dataclass(frozen=True)
class PointClasses(lw.Port):
    """A class for each point: forward returns logits_BNC; the target is labels_BN, int64, -100 where there is none."""

    names: tuple[str, ...]
    most: int

    def check(self, output: Any, target: Tensor) -> None:
        wanted = (*target.shape, len(self.names))
        if not isinstance(output, Tensor) or tuple(output.shape) != wanted:
            came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise lw.LabwrightError(f"the model returned {came}; PointClasses stands for logits of shape {wanted}.")

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, len(self.names), (batch_size, self.most), generator=generator),)


@dataclass(frozen=True)
class CloudBatch(lw.Batch):
    """Clouds: inputs (points_BN2, counts_B), targets labels_BN, and how many points these are.

    The count is a number on the host: looking at a tensor would make a GPU wait.
    """

    points: int

    @classmethod
    def of(cls, inputs: tuple[Tensor, ...], targets: Tensor) -> CloudBatch:
        return cls(inputs, targets, int(inputs[1].sum()))

    def rows(self, some: slice) -> CloudBatch:
        """Some of the clouds, counted anew; `device.accumulate` cuts batches so."""
        return self.of(tuple(tensor[some] for tensor in self.inputs), self.targets[some])


def inside(counts_B: Tensor, most: int) -> Tensor:
    """Which points there are, (B, N) bool."""
    return torch.arange(most, device=counts_B.device) < counts_B[:, None]
