"""Beam search: with one beam it is greedy, with enough of them it finds what trying every sequence finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from labwright_tasks.beam_search import beam_search
from torch import Tensor

BEGIN, END, VOCABULARY, LONGEST = 3, 0, 3, 4
CPU = torch.device("cpu")


def tokens_after(row: int, before: tuple[int, ...]) -> Tensor:
    """Log-probabilities of the token after some others, made up anew for each beginning: nothing is Markov."""
    seed = 1 + row + 10 * sum((token + 1) * 5**place for place, token in enumerate(before))
    return (2 * torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed))).log_softmax(0)


def logits_of(rows: list[int], beams: int) -> Callable[[Tensor, Tensor], Tensor]:
    known: list[Tensor] = []  # the sequences of the call before

    def next_logits(ids_NT: Tensor, grown_N: Tensor) -> Tensor:
        assert len(ids_NT) == len(rows) * beams and bool((ids_NT[:, 0] == BEGIN).all())
        assert not known or torch.equal(ids_NT[:, :-1], known.pop()[grown_N])
        known.append(ids_NT)
        return torch.stack(
            [tokens_after(rows[place // beams], tuple(ids[1:])) for place, ids in enumerate(ids_NT.tolist())]
        )

    return next_logits


def searched(rows: list[int], beams: int, penalty: float, longest: int = LONGEST) -> list[list[int]]:
    return beam_search(
        logits_of(rows, beams), len(rows), beams=beams, begin_id=BEGIN, end_id=END, longest=longest, penalty=penalty,
        device=CPU,
    )  # fmt: skip


def scored(row: int, sequence: tuple[int, ...], penalty: float) -> float:
    """Equation 14 of Wu et al. 2016, without its coverage."""
    log_p = sum(float(tokens_after(row, sequence[:place])[token]) for place, token in enumerate(sequence))
    return log_p / ((5 + len(sequence)) ** penalty / (5 + 1) ** penalty)


def every_sequence() -> list[tuple[int, ...]]:
    """All that end with END, or have as many tokens as there may be."""
    whole = {
        tuple(ids[: ids.index(END) + 1] if END in ids else ids) for ids in product(range(VOCABULARY), repeat=LONGEST)
    }
    return sorted(whole)


def without_end(sequence: tuple[int, ...]) -> list[int]:
    return [token for token in sequence if token != END]


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 3.0])
def test_enough_beams_find_the_best_of_all_sequences(penalty: float) -> None:
    rows = list(range(8))
    best = [max(every_sequence(), key=lambda ids: scored(row, ids, penalty)) for row in rows]
    assert searched(rows, VOCABULARY**LONGEST, penalty) == [without_end(ids) for ids in best]


def test_a_penalty_of_length_changes_what_is_best() -> None:
    lengths = [
        sum(len(ids) for ids in searched(list(range(8)), VOCABULARY**LONGEST, penalty)) for penalty in (0.0, 1.0, 3.0)
    ]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]


@pytest.mark.parametrize("penalty", [0.0, 0.6])
def test_one_beam_takes_the_most_probable_token_each_time(penalty: float) -> None:
    rows = list(range(20))
    greedy = []
    for row in rows:
        ids: tuple[int, ...] = ()
        while len(ids) < LONGEST and ids[-1:] != (END,):
            ids = (*ids, int(tokens_after(row, ids).argmax()))
        greedy.append(without_end(ids))
    assert searched(rows, 1, penalty) == greedy
    assert len(set(map(len, greedy))) > 2  # some end early, some not at all


@pytest.mark.parametrize("beams", [1, 2, 3])
def test_rows_are_searched_as_if_each_were_alone(beams: int) -> None:
    rows = list(range(12))
    assert searched(rows, beams, 0.6) == [searched([row], beams, 0.6)[0] for row in rows]


def test_more_beams_find_sequences_that_are_at_least_as_good_on_average() -> None:
    def mean(beams: int) -> float:
        found = searched(list(range(30)), beams, 0.0)
        ended = [(*ids, END) if len(ids) < LONGEST else tuple(ids) for ids in found]
        return math.fsum(scored(row, ids, 0.0) for row, ids in enumerate(ended)) / 30

    means = [mean(beams) for beams in (1, 2, 4, VOCABULARY**LONGEST)]
    assert means == sorted(means) and means[0] < means[-1]


def test_a_sequence_that_does_not_end_is_cut_at_the_longest() -> None:
    def never_ends(ids_NT: Tensor, grown_N: Tensor) -> Tensor:
        return torch.tensor([-50.0, 0.0, -1.0]).expand(len(ids_NT), -1)

    found = beam_search(never_ends, 2, beams=2, begin_id=BEGIN, end_id=END, longest=6, penalty=1.0, device=CPU)
    assert found == [[1] * 6] * 2
