"""Neighbours that vote, and how far projections are spread, against closed forms and loops over numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from labwright_tasks.representations import NeighbourAccuracy, Rank, Spread, vote
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
