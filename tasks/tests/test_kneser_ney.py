"""Kneser-Ney's counts: those of a slow reference after the paper's formulas, and a distribution wherever one asks."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from labwright_tasks.kneser_ney import KneserNey

VOCABULARY = 5


def text(length: int, seed: int = 0) -> list[int]:
    """Tokens 0 to 3, rare ones among them; which comes next depends on the two before. Token 4 never comes."""
    random, ids = np.random.default_rng(seed), [0, 1]
    shares = random.dirichlet([0.3] * 4, size=(4, 4))
    while len(ids) < length:
        ids.append(int(random.choice(4, p=shares[ids[-2], ids[-1]])))
    return ids


class Reference:
    """Interpolated modified Kneser-Ney by the formulas of Chen & Goodman 1998, section 3, a gram at a time."""

    def __init__(self, ids: Sequence[int], order: int) -> None:
        self.order = order
        raw = [Counter(tuple(ids[i : i + k]) for i in range(len(ids) - k + 1)) for k in range(order + 1)]
        self.counts: dict[int, Counter[tuple[int, ...]]] = {order: raw[order]}
        for k in range(1, order):  # N1+(. w1..wk): of how many kinds are the tokens before it
            self.counts[k] = Counter(gram[1:] for gram in raw[k + 1])
        self.followers: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for k in self.counts:
            for gram, count in self.counts[k].items():
                self.followers[gram[:-1]].append(count)
        self.discounts = {k: self._discounts(list(counts.values())) for k, counts in self.counts.items()}

    @staticmethod
    def _discounts(counts: list[int]) -> tuple[float, ...]:
        n1, n2, n3, n4 = (counts.count(i) for i in (1, 2, 3, 4))
        if not n1:
            return 0.0, 0.5, 1.0, 1.5
        y = n1 / (n1 + 2 * n2)
        estimates = (
            1 - 2 * y * n2 / n1,
            2 - 3 * y * n3 / n2 if n2 else 0.0,
            3 - 4 * y * n4 / n3 if n3 else 0.0,
        )
        # where the text is too small for an estimate the model takes half the count
        return 0.0, *(d if 0 < d < i else i / 2 for i, d in enumerate(estimates, 1))

    def probability(self, token: int, context: tuple[int, ...]) -> float:
        if len(context) > self.order - 1:
            context = context[len(context) - self.order + 1 :]
        below = self.probability(token, context[1:]) if context else 1 / VOCABULARY
        k = len(context) + 1
        total = sum(self.followers.get(context, []))
        if not total:
            return below
        taken = self.discounts[k]
        left = sum(taken[min(count, 3)] for count in self.followers[context]) / total
        count = self.counts[k][*context, token]
        return (count - taken[min(count, 3)]) / total + left * below


def fitted(ids: Sequence[int], order: int) -> KneserNey:
    model = KneserNey(VOCABULARY)
    model.fit(np.array(ids), order)
    return model


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_papers_formulas(order: int) -> None:
    ids, reference = text(300), Reference(text(300), order)
    other = [*text(40, seed=1), 4, 0, 1]  # with a token that was never counted
    given_NV = fitted(ids, order).probabilities(np.array(other))
    for place in range(len(other)):
        meant = [reference.probability(token, tuple(other[: place + 1])) for token in range(VOCABULARY)]
        assert given_NV[place] == pytest.approx(meant, rel=1e-12), place


@pytest.mark.parametrize("length", [2, 3, 7, 50, 2000])
def test_probabilities_sum_to_one_and_leave_something_for_every_token(length: int) -> None:
    given_NV = fitted(text(length), 6).probabilities(np.array([*text(60, seed=2), 4, 4, 0]))
    assert given_NV.sum(1) == pytest.approx(1.0)
    assert given_NV.min() > 0


def test_the_order_is_the_one_that_predicts_the_last_tenth_best() -> None:
    ids = text(1500)
    model = KneserNey(VOCABULARY)
    model.fit(np.array(ids))

    @cache
    def nats(order: int) -> float:
        reference = Reference(ids[:1350], order)
        return -sum(math.log(reference.probability(ids[n], tuple(ids[:n][-8:]))) for n in range(1350, 1500))

    assert model.order == min(range(1, 9), key=nats)
    assert model.order in (3, 4)  # two tokens before the next say all there is to know
