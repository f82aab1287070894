"""What a conditional generator is called with. B batch, D latent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from labwright import Port
from torch import Generator, Tensor


@dataclass(frozen=True)
class ClassLatent(Port):
    """Noise and the class asked for: `model(z_BD, labels_B)`, float32 from a standard normal and int64 in 0..C-1.

    It is no `Latent`, so that a generator that knows no classes is refused where classes are asked for.
    """

    dim: int
    names: tuple[str, ...]

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        z_BD = torch.randn(batch_size, self.dim, generator=generator)
        return z_BD, torch.randint(0, len(self.names), (batch_size,), generator=generator)
