"""Residual network for tables. B batch, N numbers, C categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from labwright import Classes, Integers, PerTrial, Uniform, Values
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_tabular.models.encoding import DIM, Bins, Dim, Embedding, Encoding, Head, Sigma
from labwright_tabular.ports import Fields


class ResNet(nn.Module):
    """The residual network of Gorishniy, Rubachev, Khrulkov & Babenko 2021, section 3.2.

    A linear layer, then blocks: x + dropout(linear(dropout(relu(linear(norm(x)))))), and norm, ReLU and the head at the
    end. `norm` is batch normalisation. What a row becomes before is as in `tabular/mlp`.

    Args:
        width: length of what goes from block to block.
        depth: blocks.
        expansion: how many times as wide as `width` the inner layer of a block is.
        dropout: share that is zeroed behind the ReLU of a block and behind its last linear layer, while training.
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
        expansion: Annotated[float, Field(gt=0), Uniform(1.0, 4.0)] = 2.0,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.1,
    ) -> None:
        super().__init__()
        self.encoding = Encoding(inputs, numbers, dim=dim, bins=bins, sigma=sigma)
        self.first = nn.Linear(self.encoding.width, width)
        self.blocks = nn.Sequential(*(_Block(width, max(1, round(width * expansion)), dropout) for _ in range(depth)))
        self.norm = nn.BatchNorm1d(width)
        self.head = Head(width, outputs)

    def remarks(self) -> Sequence[str]:
        return self.encoding.remarks()

    def forward(self, x_BN: Tensor, codes_BC: Tensor) -> Tensor:
        """Logits (B, classes), or numbers (B, D)."""
        features_BF = self.blocks(self.first(self.encoding(x_BN, codes_BC)))
        answers: Tensor = self.head(F.relu(self.norm(features_BF)))
        return answers


class _Block(nn.Module):
    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Linear(width, inner),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(inner, width),
            nn.Dropout(dropout),
        )

    def forward(self, x_BF: Tensor) -> Tensor:
        changed: Tensor = x_BF + self.change(x_BF)
        return changed
