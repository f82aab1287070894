"""Neighbours that vote, and how far projections are spread, against closed forms and loops over numpy."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from labwright_tasks.representations import (
    NeighbourAccuracy,
    Rank,
    ReciprocalRank,
    RetrievalAccuracy,
    Spread,
    vote,
)
from torch import Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (5, 2.0), (1000, 0.5)])
def test_votes_are_those_of_wu_et_al(k: int, temperature: float) -> None:
    asked, known = normal(30, 6), normal(80, 6, seed=1)
    labels = torch.arange(80) % 4
    expected = []
    for row in asked.numpy():
        cosines = [row @ other / math.sqrt((row @ row) * (other @ other)) for other in known.numpy()]
        votes = np.zeros(4)
        for place in np.argsort(cosines)[::-1][:k]:
            votes[labels[place]] += math.exp(cosines[place] / temperature)
        expected.append(int(votes.argmax()))
    assert vote(asked, known, labels, k=k, temperature=temperature).tolist() == expected


def test_a_temperature_too_low_for_a_float_is_the_nearest_neighbours_class() -> None:
    asked, known, labels = normal(20, 3).float(), normal(50, 3, seed=1).float(), torch.arange(50) % 5
    nearest = vote(asked, known, labels, k=1, temperature=1.0)
    assert torch.equal(vote(asked, known, labels, k=50, temperature=1e-6), nearest)


def test_accuracy_is_over_all_batches_of_both() -> None:
    asked, known = normal(10, 3), normal(12, 3, seed=1)
    labels, known_labels = torch.arange(10) % 3, torch.arange(12) % 3
    metric = NeighbourAccuracy(k=4, temperature=0.1)
    assert math.isnan(metric.compute())
    for some in (slice(0, 3), slice(3, 10)):
        metric.update(asked[some], labels[some], known[some], known_labels[some])
    metric.update(asked[:0], labels[:0], known[10:], known_labels[10:])
    share = (vote(asked, known, known_labels, k=4, temperature=0.1) == labels).double().mean()
    assert metric.compute() == float(share)
    metric.reset()
    metric.update(asked, labels, known[:0], known_labels[:0])
    assert math.isnan(metric.compute())  # nothing is known


def spread(projections: Tensor) -> float:
    metric = Spread()
    assert math.isnan(metric.compute())
    for some in projections.split(7):
        metric.update(some)
    return metric.compute()


def test_the_spread_of_a_point_is_0_and_of_the_sphere_1() -> None:
    assert spread(torch.ones(20, 8) * torch.arange(1.0, 21.0)[:, None]) == pytest.approx(0, abs=1e-6)
    axes = torch.cat([torch.eye(8), -torch.eye(8)])  # each dimension has mean 0 and mean square 1/8
    assert spread(axes) == pytest.approx(1)
    assert spread(normal(20_000, 16)) == pytest.approx(1, abs=0.01)


def rank(projections: Tensor) -> float:
    metric = Rank()
    metric.update(projections)
    return metric.compute()


def test_the_rank_counts_dimensions_that_are_filled() -> None:
    assert rank(torch.eye(6)) == pytest.approx(6)
    assert rank(normal(50, 1) @ normal(1, 9, seed=1)) == pytest.approx(1, abs=1e-6)
    # singular values 3 and 1: exp of the entropy of shares 3/4 and 1/4
    assert rank(torch.tensor([[3.0, 0.0], [0.0, 1.0]])) == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )


@pytest.mark.parametrize("point", [0.0, 1.0])
def test_pairs_at_one_point_are_found_as_often_as_by_guessing(point: float) -> None:
    accuracy, rank, alike = RetrievalAccuracy(), ReciprocalRank(), torch.full((8, 3), point)
    accuracy.update(alike, alike)
    rank.update(alike, alike)
    assert accuracy.compute() == pytest.approx(1 / 8)
    assert rank.compute() == pytest.approx(sum(1 / place for place in range(1, 9)) / 8)


def test_pairs_as_near_as_others_are_found_as_often_as_in_all_orders_of_those() -> None:
    first = normal(5, 2)
    second = first.clone()
    second[2] = 3 * second[0]  # the same direction twice, nearer to the third's than to its own
    placed = []
    for asked, others in ((first, second), (second, first)):
        cosines = [[round(float(torch.cosine_similarity(a, b, dim=0)), 9) for b in others] for a in asked]
        for row, near in enumerate(cosines):
            orders = [sorted(order, key=lambda other: -near[other]) for order in permutations(range(5))]
            placed += [(order.index(row) + 1) for order in orders]
    accuracy, rank = RetrievalAccuracy(), ReciprocalRank()
    accuracy.update(first, second)
    rank.update(first, second)
    assert accuracy.compute() == pytest.approx(np.mean(np.array(placed) == 1))
    assert rank.compute() == pytest.approx(np.mean(1 / np.array(placed)))


@pytest.mark.parametrize("metric", [RetrievalAccuracy, ReciprocalRank])
def test_representations_that_are_no_numbers_find_nothing(metric: type) -> None:
    found = metric()
    found.update(normal(4, 3), torch.full((4, 3), math.nan))
    assert math.isnan(found.compute())
