"""Pictures with stripes, made when they are asked for. N samples, B batch, H height, W width."""

from __future__ import annotations

import math
from typing import Annotated

import labwright as lw
import torch
from pydantic import Field
from torch import Generator, Tensor

WAYS = ("flat", "rising", "upright", "falling")
SIDE = 12  # pixels
SIZES = {"train": 400, "valid": 100, "test": 200}


class FourWays(lw.Data):
    """Grey pictures of 12x12 pixels with stripes 4 pixels apart that run in one of four ways, under noise.

    The pictures are the same each time.

    Args:
        noise: standard deviation of what is added to stripes between -1 and 1.
    """

    item = lw.Image
    target = lw.Classes
    source = "made by this plugin"
    licence = "Apache-2.0"

    def __init__(self, *, noise: Annotated[float, Field(ge=0), lw.Uniform(0.0, 2.0)] = 0.5) -> None:
        self.noise = noise
        self._splits: dict[str, lw.TensorSplit] = {}

    def prepare(self) -> None:
        for seed, (name, size) in enumerate(SIZES.items()):
            generator = torch.Generator().manual_seed(seed)
            labels_N = torch.arange(size) % len(WAYS)
            noise = torch.randn(size, 1, SIDE, SIDE, generator=generator) * self.noise
            self._splits[name] = lw.TensorSplit((stripes(labels_N, generator) + noise,), labels_N)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, SIDE, SIDE), lw.Classes(WAYS)

    def split(self, name: str) -> lw.TensorSplit | None:
        return self._splits.get(name)


def stripes(labels_N: Tensor, generator: Generator) -> Tensor:
    """Sine waves across the stripes, shape (N, 1, H, W), each shifted at random."""
    angle = (labels_N * math.pi / len(WAYS))[:, None, None]
    shift = 2 * math.pi * torch.rand(len(labels_N), 1, 1, generator=generator)
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    across = row * angle.cos() + column * angle.sin()
    return (across * math.pi / 2 + shift).sin()[:, None]
