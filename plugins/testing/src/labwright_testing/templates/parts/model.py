"""A model. B batch, F features."""

from __future__ import annotations

from typing import Annotated

import labwright as lw
from pydantic import Field
from torch import Tensor, nn


class Sample(nn.Module):
    """One hidden layer.

    Args:
        width: units of the hidden layer.
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
        self.hidden = nn.Linear(features, width)
        self.head = nn.Linear(width, len(outputs.names))

    def forward(self, x_BF: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits: Tensor = self.head(self.hidden(x_BF).relu())
        return logits
