"""Which places of a batch hold tokens, and means over those alone. B batch, T tokens, D any width."""

from __future__ import annotations

import torch
from torch import Tensor


def filled(length: int, lengths_B: Tensor) -> Tensor:
    """Where tokens are, bool of shape (B, length): before each row's own length."""
    return torch.arange(length, device=lengths_B.device) < lengths_B[:, None]


def mean(x_BTD: Tensor, there_BT: Tensor) -> Tensor:
    """The mean over the places that are there, shape (B, D); 0 where none is."""
    weights_BT = there_BT.to(x_BTD.dtype)
    return (x_BTD * weights_BT[:, :, None]).sum(dim=1) / weights_BT.sum(dim=1, keepdim=True).clamp(min=1)
