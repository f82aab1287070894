"""A loss. B batch, C classes."""

from __future__ import annotations

from typing import Annotated

import labwright as lw
from pydantic import Field
from torch import Tensor


class Sample(lw.Loss):
    """Cross-entropy times (1 - p)**gamma, where p is the probability of the true class.

    Args:
        gamma: exponent by which samples that are told well weigh less.

    Source: Lin et al. 2017, equation 4.
    """

    def __init__(self, *, gamma: Annotated[float, Field(ge=1), lw.Uniform(1.0, 5.0)] = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (..., B, C) and int64 labels (..., B) to losses of shape (...)."""
        log_p = logits.log_softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        return -((1 - log_p.exp()) ** self.gamma * log_p).mean(-1)
