"""Multilayer perceptron. B batch, N numbers, C categories."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from labwright import Classes, Integers, PerTrial, Uniform, Values
from pydantic import Field
from torch import Tensor, nn

from labwright_tabular.models.encoding import DIM, Bins, Dim, Embedding, Encoding, Head, Sigma
from labwright_tabular.ports import Fields


class MLP(nn.Module):
    """Layers with ReLU and dropout over a row, `numbers` embedded (Gorishniy, Rubachev & Babenko 2022).

    Args:
        width: units of each hidden layer.
        depth: hidden layers.
        dropout: share of each hidden layer's units that is zeroed behind its ReLU, while training.
    """

    def __init__(
        self,
        inputs: Fields,
        outputs: Classes | Values,
        *,
        numbers: Embedding = "piecewise",
        dim: Dim = DIM,
        bins: Bins = 16,
        sigma: Sigma = 0.1,
        width: Annotated[int, Field(ge=1), Integers(32, 512, log=True)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 4)] = 2,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.1,
    ) -> None:
        super().__init__()
        self.encoding = Encoding(inputs, numbers, dim=dim, bins=bins, sigma=sigma)
        layers: list[nn.Module] = []
        for before, after in pairwise([self.encoding.width, *[width] * depth]):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.head = Head(width, outputs)

    def remarks(self) -> Sequence[str]:
        return self.encoding.remarks()

    def forward(self, x_BN: Tensor, codes_BC: Tensor) -> Tensor:
        """Logits (B, classes), or numbers (B, D)."""
        answers: Tensor = self.head(self.hidden(self.encoding(x_BN, codes_BC)))
        return answers
