"""Points on spirals, made when they are asked for. N samples."""

from __future__ import annotations

import math
from typing import Annotated

import labwright as lw
import torch
from pydantic import Field

SIZES = {"train": 900, "valid": 300, "test": 600}


class Spirals(lw.Data):
    """Points of the plane on spirals around the origin, one spiral for each class, with a radius of 1.

    The points are the same each time.

    Args:
        classes: how many spirals there are.
        noise: standard deviation of what is added to each coordinate.
    """

    item = lw.Features
    target = lw.Classes
    source = "made by this plugin"
    licence = "CC0-1.0"

    def __init__(
        self, *, classes: Annotated[int, Field(ge=2)] = 3, noise: Annotated[float, Field(ge=0)] = 0.05
    ) -> None:
        self.classes, self.noise = classes, noise
        self._splits: dict[str, lw.TensorSplit] = {}

    def prepare(self) -> None:
        for seed, (name, size) in enumerate(SIZES.items()):
            generator = torch.Generator().manual_seed(seed)
            labels_N = torch.arange(size) % self.classes
            radius_N = torch.rand(size, generator=generator).sqrt()
            angle_N = 4 * radius_N + labels_N * (2 * math.pi / self.classes)
            points_N2 = radius_N[:, None] * torch.stack([angle_N.cos(), angle_N.sin()], dim=1)
            points_N2 += self.noise * torch.randn(size, 2, generator=generator)
            self._splits[name] = lw.TensorSplit((points_N2,), labels_N)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((2,)), lw.Classes(tuple(f"arm {number}" for number in range(self.classes)))

    def split(self, name: str) -> lw.TensorSplit | None:
        return self._splits.get(name)
