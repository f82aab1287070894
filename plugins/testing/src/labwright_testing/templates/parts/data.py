"""Data. N samples."""

from __future__ import annotations

from typing import Annotated

import labwright as lw
import torch
from pydantic import Field

SIZES = {"train": 600, "valid": 200, "test": 400}


class Sample(lw.Data):
    """Points of the plane: two round clouds. The same each time.

    Args:
        apart: distance of the two, in standard deviations of a cloud.
    """

    item = lw.Features
    target = lw.Classes
    source = "made by this plugin"
    licence = "CC0-1.0"

    def __init__(self, *, apart: Annotated[float, Field(gt=0)] = 4.0) -> None:
        self.apart = apart
        self._splits: dict[str, lw.TensorSplit] = {}

    def prepare(self) -> None:
        """Read or make everything once. Raise lw.LabwrightError with the name of a file that can't be used."""
        for seed, (name, size) in enumerate(SIZES.items()):
            points_N2 = torch.randn(size, 2, generator=torch.Generator().manual_seed(seed))
            labels_N = torch.arange(size) % 2
            points_N2[:, 0] += self.apart * labels_N
            self._splits[name] = lw.TensorSplit((points_N2,), labels_N)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((2,)), lw.Classes(("left", "right"))

    def split(self, name: str) -> lw.TensorSplit | None:
        return self._splits.get(name)
