"""A metric: sums up over batches, and gives one number at the end. B batch, C classes."""

from __future__ import annotations

import labwright as lw
import torch
from torch import Tensor


class Sample:
    """The mean probability that the true class is given, from 0 to 1; nan before the first.

    The number of batches, and their order, make no difference.
    """

    higher_is_better = True

    def __init__(self) -> None:
        self._mean = lw.Mean()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in logits (B, C) and labels (B,): what the task's `evaluate` returns, by these names."""
        shares_BC = logits.to(torch.float32).softmax(-1)
        self._mean.update(shares_BC.gather(-1, labels.unsqueeze(-1)))

    def compute(self) -> float:
        """One number, or a table of numbers."""
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()
