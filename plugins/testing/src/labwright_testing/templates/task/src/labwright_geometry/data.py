"""Clouds of points on spirals, made when they are asked for. S samples, B batch, N points of the largest cloud."""

from __future__ import annotations

import math
from typing import Annotated

import labwright as lw
import torch
from pydantic import Field
from torch import Tensor

from labwright_geometry.ports import CloudBatch, Clouds, PointClasses, inside

SIZES = {"train": 120, "valid": 40, "test": 80}


class CloudSplit:
    """A part of the data, in memory; each batch is counted."""

    def __init__(self, points_SN2: Tensor, counts_S: Tensor, labels_SN: Tensor) -> None:
        self.points_SN2, self.counts_S, self.labels_SN = points_SN2, counts_S, labels_SN

    def __len__(self) -> int:
        return len(self.counts_S)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> CloudBatch:
        return CloudBatch.of((self.points_SN2[indices], self.counts_S[indices]), self.labels_SN[indices])


class Spirals(lw.Data):
    """Clouds of points of the plane, on spirals around the origin with a radius of 1; a class is an arm.

    The clouds are the same each time. A line to predict for has the points of a cloud, `0.5,0.1 -0.2,0.9`.

    Args:
        classes: how many arms there are.
        most: points of the largest cloud; the smallest has 4.
        noise: standard deviation of what is added to each coordinate.
    """

    item = Clouds
    target = PointClasses
    source = "made by this plugin"
    licence = "CC0-1.0"
    line = "points"

    def __init__(
        self,
        *,
        classes: Annotated[int, Field(ge=2)] = 3,
        most: Annotated[int, Field(ge=4)] = 16,
        noise: Annotated[float, Field(ge=0)] = 0.05,
    ) -> None:
        self.classes, self.most, self.noise = classes, most, noise
        self._splits: dict[str, CloudSplit] = {}

    def prepare(self) -> None:
        for seed, (name, size) in enumerate(SIZES.items()):
            generator = torch.Generator().manual_seed(seed)
            counts_S = torch.randint(4, self.most + 1, (size,), generator=generator)
            there_SN = inside(counts_S, self.most)
            arms_SN = torch.randint(0, self.classes, there_SN.shape, generator=generator)
            radius_SN = torch.rand(there_SN.shape, generator=generator).sqrt()
            angle_SN = 4 * radius_SN + arms_SN * (2 * math.pi / self.classes)
            points_SN2 = radius_SN[..., None] * torch.stack([angle_SN.cos(), angle_SN.sin()], dim=-1)
            points_SN2 += self.noise * torch.randn(points_SN2.shape, generator=generator)
            labels_SN = arms_SN.masked_fill(~there_SN, lw.LEFT_OUT)
            self._splits[name] = CloudSplit(points_SN2 * there_SN[..., None], counts_S, labels_SN)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        names = tuple(f"arm {number}" for number in range(self.classes))
        return Clouds(self.most), PointClasses(names, self.most)

    def split(self, name: str) -> CloudSplit | None:
        return self._splits.get(name)

    def parse(self, line: str) -> lw.Input:
        """One cloud; its origin is the texts of its points, which an answer names."""
        words = line.split()
        try:
            points = [[float(number) for number in word.split(",")] for word in words]
        except ValueError as error:
            raise lw.LabwrightError(f"given {line!r}; a line has points such as 0.5,0.1 -0.2,0.9.") from error
        if not 0 < len(points) <= self.most or any(len(point) != 2 for point in points):
            raise lw.LabwrightError(f"given {line!r}; a cloud has 1 to {self.most} points of two numbers each.")
        cloud = torch.zeros(1, self.most, 2)
        cloud[0, : len(points)] = torch.tensor(points)
        return lw.Input((cloud, torch.tensor([len(points)])), origin=words)
