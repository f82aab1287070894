"""Which places of a batch hold tokens, means over those alone, and documents. B batch, T tokens, D any width."""

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


def pooling_unread(pooling: str, *, each: bool) -> tuple[str, ...]:
    """What a run says of a choice of pooling where something is said of `each` token and nothing is pooled."""
    said = f"model.pooling={pooling} has no effect: something is said of each token, and nothing is pooled."
    return (said,) if each and pooling != "mean" else ()


def apart(ids_BT: Tensor, between: int) -> tuple[Tensor, Tensor]:
    """The place of each token in its document, (B, T), and bool (B, T, T): what it sees, the tokens there up to itself.

    A document begins with the token `between`, and with a row.
    """
    steps_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    documents_BT = (ids_BT == between).cumsum(dim=1)
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    there_BTT = same_BTT & (steps_T[:, None] >= steps_T)
    return there_BTT.sum(dim=2) - 1, there_BTT  # a place is how many tokens stand before it there
