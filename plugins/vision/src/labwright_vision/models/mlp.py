"""Multilayer perceptron. B batch, C channels, H height, W width."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from labwright import Classes, Image, Integers, PerTrial, Uniform
from pydantic import Field
from torch import Tensor, nn


class MLP(nn.Module):
    """Multilayer perceptron over flattened pictures, with ReLU.

    Args:
        width: units of a hidden layer.
        depth: hidden layers.
        dropout: share of the units of each hidden layer that is zeroed, while training.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: Classes,
        *,
        width: Annotated[int, Field(ge=1), Integers(32, 512, log=True)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 4)] = 2,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.0,
    ) -> None:
        super().__init__()
        sizes = [inputs.channels * inputs.height * inputs.width, *[width] * depth]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(width, len(outputs.names))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits: Tensor = self.head(self.hidden(x_BCHW.flatten(1)))
        return logits
