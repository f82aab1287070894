"""Counts of what stands between two tokens: what a masked language model is to be better than.

N tokens of texts, Q hidden ones, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


class Counts:
    """How often each token stands in each context, (V,) of one."""

    def __init__(self, contexts_N: np.ndarray, tokens_N: np.ndarray, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.codes, self.counts = np.unique(contexts_N * vocabulary + tokens_N, return_counts=True)

    def of(self, contexts_Q: np.ndarray) -> np.ndarray:
        """The counts of each token in these contexts, (Q, V)."""
        # the tokens of a context stand side by side
        first_Q, end_Q = (np.searchsorted(self.codes, (contexts_Q + more) * self.vocabulary) for more in (0, 1))
        sizes_Q = end_Q - first_Q
        place = np.arange(sizes_Q.sum()) + np.repeat(first_Q - sizes_Q.cumsum() + sizes_Q, sizes_Q)
        counts_QV = np.zeros((len(contexts_Q), self.vocabulary))
        counts_QV[np.repeat(np.arange(len(contexts_Q)), sizes_Q), self.codes[place] % self.vocabulary] = self.counts[
            place
        ]
        return counts_QV


class Neighbours(nn.Module):
    """The probability of a token between two others, by counts; it is called as a masked language model is.

    Counts of both neighbours are interpolated with what each of them says alone, P(w | left) P(w | right) / P(w), which
    takes them for independent; these with how often a token stands at all; and that with the uniform distribution: each
    as Witten & Bell 1991 do, method C. The end of a text is a neighbour too.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def fit(self, texts: Iterable[np.ndarray]) -> int:
        """Count what stands in texts, and return how many tokens they have."""
        edge = np.array([self.vocabulary])
        whole = np.concatenate([edge, *(part for ids in texts for part in (ids, edge))]).astype(np.int64)
        left, here, right = whole[:-2], whole[1:-1], whole[2:]
        inside = here != self.vocabulary
        left, here, right = left[inside], here[inside], right[inside]
        size = self.vocabulary
        self.left, self.right = Counts(left, here, size), Counts(right, here, size)
        self.both = Counts(left * (size + 1) + right, here, size)
        self.alone_V = _shared(np.bincount(here, minlength=size)[None].astype(float), np.full((1, size), 1 / size))[0]
        return len(here)

    def probabilities(self, left_Q: np.ndarray, right_Q: np.ndarray) -> np.ndarray:
        """The probability of each token between these, (Q, V)."""
        by_left, by_right = (
            _shared(table.of(side_Q), self.alone_V) for table, side_Q in ((self.left, left_Q), (self.right, right_Q))
        )
        independent = by_left * by_right / self.alone_V
        independent /= independent.sum(1, keepdims=True)
        return _shared(self.both.of(left_Q * (self.vocabulary + 1) + right_Q), independent)

    def forward(self, ids_BT: Tensor, lengths_B: Tensor, places_BM: Tensor) -> Tensor:
        """Log-probabilities (B, M, V) of the tokens at places."""
        ids, lengths, places = ids_BT.numpy(), lengths_B.numpy()[:, None], places_BM.numpy()
        row = np.arange(len(ids))[:, None]
        left = np.where(places > 0, ids[row, np.maximum(places - 1, 0)], self.vocabulary)
        right = np.where(places + 1 < lengths, ids[row, np.minimum(places + 1, ids.shape[1] - 1)], self.vocabulary)
        shares = self.probabilities(left.ravel(), right.ravel())
        return torch.from_numpy(np.log(shares)).float().view(*places.shape, self.vocabulary)

    def alone(self) -> Alone:
        """How often each token stands at all."""
        return Alone(self.alone_V)


class Alone(nn.Module):
    """The same probabilities at each place."""

    def __init__(self, shares_V: np.ndarray) -> None:
        super().__init__()
        self.logits_V = torch.from_numpy(np.log(shares_V)).float()

    def forward(self, ids_BT: Tensor, lengths_B: Tensor, places_BM: Tensor) -> Tensor:  # noqa: ARG002 - called alike
        return self.logits_V.expand(*places_BM.shape, -1)


def _shared(counts_QV: np.ndarray, lower_QV: np.ndarray) -> np.ndarray:
    """Counts as probabilities: as many as there are different tokens are left to those of a lower order."""
    kinds_Q1 = np.maximum((counts_QV > 0).sum(1, keepdims=True), 1)
    shares_QV: np.ndarray = (counts_QV + kinds_Q1 * lower_QV) / (counts_QV.sum(1, keepdims=True) + kinds_Q1)
    return shares_QV
