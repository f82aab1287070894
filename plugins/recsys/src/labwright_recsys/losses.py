"""Losses of scores: an item against others that the user has not had, and clicks. B batch, N negatives of each.

They are means over a batch; axes before it, such as one of stacked trials, pass through.
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F  # noqa: N812 - the name it has everywhere
from labwright import Loss
from torch import Tensor


@final
class BPR(Loss):
    """-log sigmoid(positive - negative), the mean over all negatives, in nats (Rendle et al. 2009, BPR-Opt).

    Their penalty on the embeddings is the optimizer's `weight_decay`.
    """

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Scores (..., B) of positives and (..., B, N) of their negatives to losses of shape (...)."""
        return F.softplus(negative - positive.unsqueeze(-1)).mean((-2, -1))


@final
class Pointwise(Loss):
    """Binary cross-entropy: positives are 1, negatives 0; the mean over all, in nats (He et al. 2017, eq. 7)."""

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Logits (..., B) of positives and (..., B, N) of their negatives to losses of shape (...)."""
        total = F.softplus(-positive).mean(-1) + F.softplus(negative).sum(-1).mean(-1)
        return total / (1 + negative.shape[-1])


@final
class SampledSoftmax(Loss):
    """Negative log-likelihood of the positive among itself and its negatives, in nats (Jean et al. 2015, section 3)."""

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Scores (..., B) of positives and (..., B, N) of their negatives to losses of shape (...)."""
        both = torch.cat([positive.unsqueeze(-1), negative], dim=-1)
        return (both.logsumexp(-1) - positive).mean(-1)


@final
class BinaryCrossEntropy(Loss):
    """Negative log-likelihood of whether it was clicked, in nats."""

    def forward(self, logits: Tensor, clicked: Tensor) -> Tensor:
        """Logits (..., B) and as many 0.0 or 1.0 to losses of shape (...)."""
        return F.binary_cross_entropy_with_logits(logits, clicked, reduction="none").mean(-1)
