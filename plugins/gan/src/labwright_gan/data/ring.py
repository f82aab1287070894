"""Gaussians on a ring: what a generator that forgets modes is found out with. N samples, M modes."""

from __future__ import annotations

import math
from typing import Annotated, Protocol, final, runtime_checkable

import torch
from labwright import Classes, Data, Features, Port, TensorSplit, generator
from pydantic import Field
from torch import Tensor

_SIZES = {"train": 8000, "valid": 2000, "test": 4000}


@runtime_checkable
class KnownModes(Protocol):
    """Data whose points are a mixture of equal round Gaussians: means (M, D) and the common standard deviation."""

    @property
    def centres(self) -> Tensor: ...

    @property
    def sigma(self) -> float: ...


@final
class Ring(Data):
    """Points of the plane, of Gaussians that lie evenly on a circle, each a class.

    Drawn anew at each start, always the same: 8,000 to learn from, 2,000 to validate, 4,000 to test. 98.9 % of the
    points of a Gaussian in the plane lie within 3 sigma of its centre.

    Args:
        modes: how many Gaussians there are.
        radius: distance of the Gaussians' centres from the origin.
        sigma: standard deviation of a Gaussian, the same in all directions.
    """

    item = Features
    target = Classes
    source = "drawn by this code; the setting of Metz et al. 2017, section 3.1"
    licence = "none needed"

    def __init__(
        self,
        *,
        modes: Annotated[int, Field(ge=1, le=1000)] = 8,
        radius: Annotated[float, Field(gt=0, le=1e6)] = 2.0,
        sigma: Annotated[float, Field(gt=0, le=1e6)] = 0.05,
    ) -> None:
        self.modes, self.radius, self.sigma = modes, radius, sigma
        self._splits: dict[str, TensorSplit] = {}

    @property
    def centres(self) -> Tensor:
        """The means of the Gaussians, (M, 2), anticlockwise from the right."""
        angles = torch.arange(self.modes) * (2 * math.pi / self.modes)
        return self.radius * torch.stack([angles.cos(), angles.sin()], dim=1)

    def prepare(self) -> None:
        for number, (name, size) in enumerate(_SIZES.items()):
            labels = torch.arange(size) % self.modes
            noise = torch.randn(size, 2, generator=generator(8, number))
            self._splits[name] = TensorSplit((self.centres[labels] + self.sigma * noise,), labels)

    def ports(self) -> tuple[Port, Port]:
        return Features((2,)), Classes(tuple(str(mode) for mode in range(self.modes)))

    def split(self, name: str) -> TensorSplit | None:
        return self._splits.get(name)
