"""Labels that depend on one another: linear-chain conditional random fields (Lafferty et al. 2001).

B batch, T positions, C classes. A model scores each label of a position behind each one of the position before, in
scores of shape (B, T, C, C): `scores[b, t, j, k]` of label k at position t behind label j. Nothing is before the first
position; its first row counts. A sequence's score is the sum along it, and its probability the exponential of that over
the sum of those of all sequences. Behind the end of a text scores are zeros.
"""

from __future__ import annotations

import torch
from labwright import LEFT_OUT
from torch import Tensor


def conditional(scores: Tensor, labels: Tensor | None = None) -> Tensor:
    """Logits (B, T, C) of each position's label, given the input and, where they are known, the `labels` (B, T) before.

    The cross-entropy of these logits, summed over a sequence, is the negative log-likelihood of its labels together, as
    a probability of many is a product of those given the ones before. Where labels are `LEFT_OUT` all are summed over.
    Without labels they are the logits of each label by itself: of its marginal probability.
    """
    ahead_BTC = _ahead(scores)
    logits = []
    for place, scores_BCC in enumerate(scores.unbind(1)):
        if place == 0:
            upto_BC = scores_BCC[:, 0]
        else:
            if labels is not None:
                upto_BC = _known(upto_BC, labels[:, place - 1])
            upto_BC = (upto_BC[:, :, None] + scores_BCC).logsumexp(1)
        logits.append(upto_BC + ahead_BTC[place])
    return torch.stack(logits, 1)


def best(scores: Tensor) -> Tensor:
    """The labels (B, T) of the most probable sequence (Viterbi 1967)."""
    first_BCC, *others = scores.unbind(1)
    upto_BC, came_from = first_BCC[:, 0], []
    for scores_BCC in others:
        upto_BC, before_BC = (upto_BC[:, :, None] + scores_BCC).max(1)
        came_from.append(before_BC)
    labels = [upto_BC.argmax(1)]
    for before_BC in reversed(came_from):
        labels.append(before_BC.gather(1, labels[-1][:, None])[:, 0])
    return torch.stack(labels[::-1], 1)


def _ahead(scores: Tensor) -> list[Tensor]:
    """For each position the logarithm of what all that may follow a label has in sum, (B, C)."""
    ahead = [torch.zeros_like(scores[:, 0, 0])]
    for scores_BCC in scores[:, 1:].unbind(1)[::-1]:
        ahead.append((scores_BCC + ahead[-1][:, None, :]).logsumexp(2))
    return ahead[::-1]


def _known(upto_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Without the labels that a position is known not to have."""
    classes_C = torch.arange(upto_BC.shape[1], device=upto_BC.device)
    other_BC = (labels_B[:, None] != classes_C) & (labels_B[:, None] != LEFT_OUT)
    return upto_BC.masked_fill(other_BC, -torch.inf)
