"""Chains of labels against every sequence there is, counted one by one."""

from __future__ import annotations

from itertools import product

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright import LEFT_OUT
from labwright_tasks.chains import best, conditional
from labwright_tasks.dense_labels import PositionClasses
from torch import Tensor
from torch.nn import functional


def _scores(batch: int, length: int, classes: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    scores = torch.randn(batch, length, classes, classes, generator=draws, dtype=torch.float64) * 3
    scores[:, 0] = scores[:, 0, :1]
    return scores


def _all_sequences(scores_TCC: Tensor) -> tuple[Tensor, Tensor]:
    """Every sequence of labels, (S, T), and its score, (S,)."""
    length, classes, _ = scores_TCC.shape
    sequences = torch.tensor([*product(range(classes), repeat=length)])
    score = scores_TCC[0, 0, sequences[:, 0]]
    for place in range(1, length):
        score = score + scores_TCC[place, sequences[:, place - 1], sequences[:, place]]
    return sequences, score


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10_000))
@settings(max_examples=40)
def test_against_every_sequence(length: int, classes: int, seed: int) -> None:
    scores = _scores(2, length, classes, seed)
    labels = torch.randint(0, classes, (2, length), generator=torch.Generator().manual_seed(seed))
    labels[1, seed % length] = LEFT_OUT
    told = functional.cross_entropy(
        conditional(scores, labels).flatten(0, 1), labels.flatten(), ignore_index=LEFT_OUT, reduction="none"
    ).view(2, length)
    marginal = conditional(scores).softmax(-1)
    for row in range(2):
        sequences, score = _all_sequences(scores[row])
        fits = ((sequences == labels[row]) | (labels[row] == LEFT_OUT)).all(1)
        likelihood = score[fits].logsumexp(0) - score.logsumexp(0)
        torch.testing.assert_close(told[row].sum(), -likelihood)
        assert best(scores)[row].equal(sequences[score.argmax()])
        for place in range(length):
            one_hot = functional.one_hot(sequences[:, place], classes).double()
            torch.testing.assert_close(marginal[row, place], score.softmax(0) @ one_hot)


def test_gradients_where_labels_are_known() -> None:
    scores = _scores(2, 4, 3, 0).requires_grad_()
    labels = torch.tensor([[0, 2, 1, 1], [1, LEFT_OUT, 0, LEFT_OUT]])

    def nats(scores: Tensor) -> Tensor:
        return functional.cross_entropy(conditional(scores, labels).flatten(0, 1), labels.flatten())

    assert torch.autograd.gradcheck(nats, scores)


def test_what_comes_after_the_end_changes_nothing() -> None:
    scores = _scores(1, 4, 3, 1)
    longer = torch.cat([scores, torch.zeros(1, 3, 3, 3, dtype=torch.float64)], 1)
    assert best(longer)[:, :4].equal(best(scores))
    torch.testing.assert_close(conditional(longer)[:, :4].softmax(-1), conditional(scores).softmax(-1))


def test_a_port_takes_both() -> None:
    port = PositionClasses(("O", "B-x", "I-x"), (5,))
    labels = torch.zeros(2, 4, dtype=torch.int64)
    for shape in ((2, 4, 3), (2, 4, 3, 3)):
        port.check(torch.zeros(shape), labels)
        assert port.given(torch.zeros(shape)).shape == labels.shape
        assert port.logits(torch.zeros(shape)).shape == (2, 4, 3)
