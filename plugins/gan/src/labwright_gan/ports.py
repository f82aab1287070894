"""What a conditional generator and a denoiser are called with. B batch, D latent, C classes."""

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


@dataclass(frozen=True)
class Noised(Port):
    """Noised samples and how far: `model(x, times_B)`, or `model(x, times_B, labels_B)` where there are names.

    Samples are float32 (B, *shape), times float32 in 0..1, labels int64 in 0..C, of which C means none of the C names.
    """

    shape: tuple[int, ...]
    names: tuple[str, ...] = ()

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        x = torch.randn(batch_size, *self.shape, generator=generator)
        times_B = torch.rand(batch_size, generator=generator)
        if not self.names:
            return x, times_B
        return x, times_B, torch.randint(0, len(self.names) + 1, (batch_size,), generator=generator)
