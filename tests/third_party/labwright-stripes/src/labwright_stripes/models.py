"""A model for stripes. B batch, C channels, H height, W width."""

from __future__ import annotations

from typing import Annotated

import labwright as lw
from pydantic import Field
from torch import Tensor, nn


class Edges(nn.Module):
    """One layer of 5x5 filters; each says how strongly it was met anywhere in the picture.

    Args:
        filters: how many filters there are.
    """

    def __init__(
        self,
        inputs: lw.Image,
        outputs: lw.Classes,
        *,
        filters: Annotated[int, Field(ge=1), lw.Integers(4, 32, log=True)] = 16,
    ) -> None:
        super().__init__()
        self.filters = nn.Conv2d(inputs.channels, filters, kernel_size=5)
        self.head = nn.Linear(filters, len(outputs.names))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits: Tensor = self.head(self.filters(x_BCHW).relu().amax(dim=(2, 3)))
        return logits
