"""Points, their height over a plane, and a model that can find it. N samples, B batch."""

from __future__ import annotations

import labwright as lw
import torch
from torch import Tensor, nn

SIZES = {"train": 120, "valid": 40, "test": 80}


class Heights:
    """A part of the data."""

    def __init__(self, points_N2: Tensor, heights_N1: Tensor) -> None:
        self.points_N2, self.heights_N1 = points_N2, heights_N1

    def __len__(self) -> int:
        return len(self.points_N2)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        return lw.Batch((self.points_N2[indices],), self.heights_N1[indices])


class Plane(lw.Data):
    """Points of the unit square and their height over a plane, with noise of 0.01. The same each time."""

    item = lw.Features
    target = lw.Values
    source = "made by this plugin"
    licence = "Apache-2.0"

    def __init__(self) -> None:
        self._splits: dict[str, Heights] = {}

    def prepare(self) -> None:
        for seed, (name, size) in enumerate(SIZES.items()):
            generator = torch.Generator().manual_seed(seed)
            points_N2 = torch.rand(size, 2, generator=generator)
            noise_N1 = 0.01 * torch.randn(size, 1, generator=generator)
            self._splits[name] = Heights(points_N2, points_N2 @ torch.tensor([[2.0], [-1.0]]) + 0.5 + noise_N1)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((2,)), lw.Values(1)

    def split(self, name: str) -> Heights | None:
        return self._splits.get(name)


class Line(nn.Module):
    """A linear layer."""

    def __init__(self, inputs: lw.Features, outputs: lw.Values) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs.shape[0], outputs.dim)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Heights of shape (B, 1)."""
        heights_B1: Tensor = self.layer(x_BF)
        return heights_B1
