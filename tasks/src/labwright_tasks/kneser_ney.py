"""Counted n-grams of tokens: interpolated modified Kneser-Ney smoothing, the floor of a language model.

Source: Chen & Goodman 1998, An empirical study of smoothing techniques for language modeling, section 3. A gram of k
tokens is a context of k - 1 and the token after it. N tokens, U grams, H contexts, Q places, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from labwright import IndexedBatches, Split
from torch import Tensor, nn

MOST_ORDER = 8
_HELD_OUT = 10  # one token of so many, the last ones, says which order is best
_UNSEEN = -1  # the number of a gram that isn't among those counted


@dataclass(frozen=True)
class _Level:
    """What grams of one length say of the token after their context; contexts are grams of one token less."""

    shares_U: np.ndarray  # the discounted count of each gram, divided by that of all with its context
    left_U: np.ndarray  # of each context the probability that the shorter one has to give out; 1 where nothing follows


class Grams:
    """The grams of a text of up to `most` tokens: sorted, so that those of one context stand side by side.

    `codes[k]` are those of k + 1 tokens: the context's number among the grams of k tokens, times V, plus the token.
    """

    def __init__(self, ids_N: np.ndarray, vocabulary: int, most: int) -> None:
        self.vocabulary = vocabulary
        self.codes: list[np.ndarray] = []
        self.counts: list[np.ndarray] = []  # how often each stands in the text
        self.extended: list[np.ndarray] = []  # how many tokens stand before each: N1+(. w), for all but the longest
        numbers_N = np.zeros(len(ids_N), dtype=np.int64)  # of the gram of k tokens that begins at a place
        for length in range(1, min(most, len(ids_N)) + 1):
            codes_N = numbers_N[: len(ids_N) - length + 1] * vocabulary + ids_N[length - 1 :]
            codes_U, first_U, longer_N, counts_U = np.unique(
                codes_N, return_index=True, return_inverse=True, return_counts=True
            )
            if self.codes:  # a gram's end is a gram of one token less, which begins a place later
                self.extended.append(np.bincount(numbers_N[first_U + 1], minlength=len(self.codes[-1])))
            self.codes.append(codes_U)
            self.counts.append(counts_U)
            numbers_N = longer_N

    def level(self, length: int, *, highest: bool) -> _Level:
        """What grams of that length say: by their counts if they are the longest, else by the tokens before them."""
        codes_U, counts_U = self.codes[length - 1], (self.counts if highest else self.extended)[length - 1]
        contexts_U, contexts = codes_U // self.vocabulary, len(self.codes[length - 2]) if length > 1 else 1
        taken_U = _discounts(counts_U)[counts_U.clip(max=3)]
        totals_H = np.bincount(contexts_U, counts_U, minlength=contexts)
        left_H = np.bincount(contexts_U, taken_U, minlength=contexts)
        left_H = np.where(totals_H > 0, left_H / np.maximum(totals_H, 1), 1.0)
        return _Level((counts_U - taken_U) / np.maximum(totals_H, 1)[contexts_U], left_H)

    def numbers(self, ids_N: np.ndarray, length: int) -> list[np.ndarray]:
        """For each length up to this one the numbers of the grams that end at each place, (N,) each, or _UNSEEN.

        The first of the list is of no token: always 0.
        """
        numbers = [np.zeros(len(ids_N), dtype=np.int64)]
        for codes_U in self.codes[:length]:
            # a gram that ends here: the one a token shorter that ended a place before, and the token here
            before_N = np.concatenate([[_UNSEEN if len(numbers) > 1 else 0], numbers[-1][:-1]])
            wanted_N = before_N * self.vocabulary + ids_N
            place_N = np.searchsorted(codes_U, wanted_N).clip(max=len(codes_U) - 1)
            numbers.append(np.where((before_N != _UNSEEN) & (codes_U[place_N] == wanted_N), place_N, _UNSEEN))
        return numbers


def _discounts(counts_U: np.ndarray) -> np.ndarray:
    """What is taken from counts of 0, 1, 2, and 3 or more: their D1, D2 and D3+.

    A text with too few rare grams to estimate one from gives half the count.
    """
    n = np.bincount(counts_U, minlength=5)[:5].astype(np.float64)
    ratio = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.0
    discounts = [0.0]
    for count in (1, 2, 3):
        estimate = count - (count + 1) * ratio * n[count + 1] / n[count] if n[count] else 0.0
        discounts.append(estimate if 0 < estimate < count else count / 2)
    return np.array(discounts)


class KneserNey(nn.Module):
    """An interpolated n-gram model, down to the uniform distribution; lower orders count what stands before a gram.

    It is called as a language model is, with windows of a text one after another: what stood in those before is context
    too. `order` is how many tokens the longest grams have.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.order = vocabulary, 1

    def fit(self, ids_N: np.ndarray, order: int | None = None) -> None:
        """Count the grams of a text; the order left out is the one that predicts its last tenth best from the rest."""
        cut = len(ids_N) - len(ids_N) // _HELD_OUT
        if order is None and cut < len(ids_N):
            self.fit(ids_N[:cut], MOST_ORDER)
            order = min(range(1, self.order + 1), key=lambda order: self._nats(ids_N, cut, order))
        self.grams = Grams(ids_N, self.vocabulary, order or 1)
        self.order = len(self.grams.codes)
        self.before_N = np.zeros(0, dtype=np.int64)
        self.lower = [self.grams.level(length, highest=False) for length in range(1, self.order)]
        self.highest = self.grams.level(self.order, highest=True)

    def _nats(self, ids_N: np.ndarray, cut: int, order: int) -> float:
        """The mean negative log-likelihood of the tokens from `cut` on, by grams of up to `order` tokens."""
        numbers = self.grams.numbers(ids_N, order)
        probability_N = np.full(len(ids_N) - 1, 1 / self.vocabulary)  # of each token but the first
        for length in range(1, order + 1):
            level = self.grams.level(length, highest=True) if length == order else self.lower[length - 1]
            context_N, gram_N = numbers[length - 1][:-1], numbers[length][1:]
            probability_N = probability_N * np.where(context_N == _UNSEEN, 1.0, level.left_U[context_N])
            probability_N += np.where(gram_N == _UNSEEN, 0.0, level.shares_U[gram_N])
        return float(-np.log(probability_N[cut - 1 :]).mean())

    def probabilities(self, ids_N: np.ndarray) -> np.ndarray:
        """The probability of every token after each place of a text, (N, V)."""
        numbers = self.grams.numbers(ids_N, self.order - 1)
        first, *longer = [*self.lower, self.highest]
        probability_V = np.full(self.vocabulary, first.left_U[0] / self.vocabulary)
        probability_V[self.grams.codes[0]] += first.shares_U
        probability_NV = np.tile(probability_V, (len(ids_N), 1))
        for length, level in enumerate(longer, 2):
            context_N, codes_U = numbers[length - 1], self.grams.codes[length - 1]
            known_Q = np.flatnonzero(context_N != _UNSEEN)
            # the grams of a context stand side by side
            first_Q, end_Q = (
                np.searchsorted(codes_U, (context_N[known_Q] + more) * self.vocabulary) for more in (0, 1)
            )
            counts_Q = end_Q - first_Q
            gram = np.arange(counts_Q.sum()) + np.repeat(first_Q - counts_Q.cumsum() + counts_Q, counts_Q)
            probability_NV[known_Q] *= level.left_U[context_N[known_Q], None]
            probability_NV[np.repeat(known_Q, counts_Q), codes_U[gram] % self.vocabulary] += level.shares_U[gram]
        return probability_NV

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Log-probabilities (B, T, V) of the token after each."""
        there_BT = torch.arange(ids_BT.shape[1]) < lengths_B[:, None]
        ids_N = np.concatenate([self.before_N, ids_BT[there_BT].numpy()])
        probability_NV = self.probabilities(ids_N)[len(self.before_N) :]
        self.before_N = ids_N[max(0, len(ids_N) - self.order + 1) :]
        logits_BTV = torch.zeros(*ids_BT.shape, self.vocabulary)
        logits_BTV[there_BT] = torch.from_numpy(probability_NV).log().float()
        return logits_BTV


def running_text(part: Split, most: int) -> np.ndarray:
    """The tokens of a part's windows, one after another: the last windows, of about `most` tokens together.

    What a window's last token is followed by is one of them as well: the first of the next window, where that goes on
    in the text, or else a token that stands in no window, such as the end of a conversation.
    """
    length = int(part.fetch(torch.tensor([0]), 0, 0).inputs[1])
    rows = torch.arange(max(0, len(part) - max(1, most // length)), len(part))
    ids, last = [], torch.zeros(0, dtype=torch.int64)
    for batch in IndexedBatches(part, torch.split(rows, 256), seed=0, epoch=0):
        ids_BT, lengths_B = batch.inputs[:2]
        last_B = batch.targets.gather(1, lengths_B[:, None] - 1)[:, 0]
        for row, length in enumerate(lengths_B.tolist()):
            ids += [last[last != ids_BT[row, 0]], ids_BT[row, :length]]
            last = last_B[row : row + 1]
            last = last[last >= 0]  # nothing may follow
    return torch.cat([*ids, last]).numpy()
