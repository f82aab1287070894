"""Models for clouds of points. B batch, N points of the largest cloud, W width, C classes."""

from __future__ import annotations

from typing import Annotated

import labwright as lw
import torch
from pydantic import Field
from torch import Tensor, nn

from labwright_geometry.ports import Clouds, PointClasses, inside


class PointNet(nn.Module):
    """The same layers for every point, and then for each point beside the maximum over its cloud.

    Args:
        width: units of each hidden layer.

    Source: Qi et al. 2017, the segmentation network, without its transformations.
    """

    def __init__(
        self,
        inputs: Clouds,
        outputs: PointClasses,
        *,
        width: Annotated[int, Field(ge=1), lw.Integers(16, 256, log=True)] = 64,
    ) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, len(outputs.names)))

    def forward(self, points_BN2: Tensor, counts_B: Tensor) -> Tensor:
        """Logits of shape (B, N, C)."""
        hidden_BNW = self.each(points_BN2)
        # what isn't there is 0, and nothing is less
        there_BN1 = inside(counts_B, points_BN2.shape[1])[..., None]
        cloud_B1W = (hidden_BNW * there_BN1).amax(1, keepdim=True)
        logits_BNC: Tensor = self.head(torch.cat([hidden_BNW, cloud_B1W.expand_as(hidden_BNW)], dim=-1))
        return logits_BNC
