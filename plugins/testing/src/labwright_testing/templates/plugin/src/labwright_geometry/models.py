"""Models for points. B batch, F features."""

from __future__ import annotations

from typing import Annotated

import labwright as lw
from pydantic import Field
from torch import Tensor, nn


class MLP(nn.Module):
    """Two hidden layers with ReLU.

    Args:
        width: units of each hidden layer.
    """

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Classes,
        *,
        width: Annotated[int, Field(ge=1), lw.Integers(16, 256, log=True)] = 64,
    ) -> None:
        super().__init__()
        (features,) = inputs.shape
        self.layers = nn.Sequential(
            nn.Linear(features, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, len(outputs.names)),
        )

    def forward(self, x_BF: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits: Tensor = self.layers(x_BF)
        return logits
