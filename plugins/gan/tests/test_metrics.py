"""Distances against closed forms, their definitions and scipy; counts against samples made for them."""

from __future__ import annotations

import math

import pytest
import torch
from labwright_gan.metrics import (
    FID,
    KID,
    EnergyDistance,
    JudgeAccuracy,
    Modes,
    ReadAsAsked,
    Seen,
    Spread,
    frechet,
    kernel,
)
from torch import Tensor


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seen(real: Tensor, fake: Tensor, labels: Tensor | None = None) -> Seen:
    labels = torch.zeros(len(real), dtype=torch.int64) if labels is None else labels
    return Seen(real, fake, labels, real.flatten(1), fake.flatten(1))


def test_the_frechet_distance_of_axis_parallel_gaussians_is_the_closed_form() -> None:
    one, other = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 2.0, 0.0])  # deviations
    means = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 2.0])
    distance = frechet(means[0], one.square().diag(), means[1], other.square().diag())
    assert distance == pytest.approx(1 + 4 + (1 - 3) ** 2 + 0 + 0.25)


def test_the_frechet_distance_is_scipys() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    x, y = normal(50, 6), normal(40, 6, seed=1) @ normal(6, 6, seed=2) + 0.3
    one, other = torch.cov(x.T), torch.cov(y.T)
    root = torch.from_numpy(linalg.sqrtm((one @ other).numpy()).real)
    theirs = (x.mean(0) - y.mean(0)).square().sum() + one.trace() + other.trace() - 2 * root.trace()
    assert frechet(x.mean(0), one, y.mean(0), other) == pytest.approx(theirs.item(), rel=1e-6)


def test_fid_of_a_shift_is_its_square_and_of_the_same_samples_0() -> None:
    x = normal(300, 5)
    metric = FID()
    for part in x.split(100):
        metric.update(seen(part, part + 2.0))
    assert metric.compute() == pytest.approx(5 * 4.0)
    metric.reset()
    metric.update(seen(x, x.flip(0)))
    assert metric.compute() == pytest.approx(0, abs=1e-9)


def test_fid_has_an_answer_with_fewer_samples_than_features() -> None:
    metric = FID()
    metric.update(seen(normal(4, 10), normal(4, 10, seed=1)))
    assert 0 < metric.compute() < math.inf
    metric.reset()
    metric.update(seen(normal(1, 10), normal(1, 10)))
    assert math.isnan(metric.compute())


def test_the_kernel_distance_is_its_definition_pair_by_pair() -> None:
    x, y = normal(5, 3), normal(5, 3, seed=1) + 0.5

    def k(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 3 + 1) ** 3)

    pairs = [(i, j) for i in range(5) for j in range(5)]
    within = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs if i != j) / 20
    between = sum(k(x[i], y[j]) for i, j in pairs if i != j) / 20
    assert kernel(x, y) == pytest.approx(within - 2 * between)


def test_the_kernel_distance_of_one_distribution_is_0_on_average_though_the_classes_are_the_same() -> None:
    centres = 3 * normal(10, 8)
    trials = []
    for trial in range(40):
        centre = centres[torch.randint(10, (100,), generator=torch.Generator().manual_seed(trial))]
        trials.append(kernel(centre + normal(100, 8, seed=100 + trial), centre + normal(100, 8, seed=200 + trial)))
    mean, error = torch.tensor(trials).mean(), torch.tensor(trials).std() / 40**0.5
    assert abs(mean) < 4 * error


def test_kid_is_about_0_for_samples_of_one_distribution_and_its_blocks_hold_each_once() -> None:
    metric = KID()
    metric.update(seen(normal(2500, 4), normal(2500, 4, seed=1)))
    assert abs(metric.compute()) < 0.02
    metric.reset()
    metric.update(seen(normal(2500, 4), normal(2500, 4, seed=1) + 1.0))
    assert metric.compute() == pytest.approx(_expected(1.0) + _expected(0.0) - 2 * _expected(0.0, 1.0), rel=0.1)


def _expected(mean: float, other: float | None = None) -> float:
    """E (x.y/4 + 1)^3 of independent 4-dimensional normals of unit variance and these means in each coordinate.

    With s = x.y/4 it is 1 + 3 E s + 3 E s^2 + E s^3, the moments of a sum of four products of independent normals.
    """
    other = mean if other is None else other
    m1 = [0.0, mean * other, (1 + mean**2) * (1 + other**2), (3 * mean + mean**3) * (3 * other + other**3)]
    first = 4 * m1[1]
    second = 4 * m1[2] + 12 * m1[1] ** 2
    third = 4 * m1[3] + 36 * m1[2] * m1[1] + 24 * m1[1] ** 3
    return 1 + 3 * first / 4 + 3 * second / 16 + third / 64


def test_the_energy_distance_of_two_points_is_twice_their_distance() -> None:
    metric = EnergyDistance()
    metric.update(seen(torch.zeros(6, 2), torch.tensor([3.0, 4.0]).expand(6, 2)))
    assert metric.compute() == pytest.approx(10)
    metric.reset()
    x = normal(1500, 2)
    metric.update(seen(x, x.flip(0)))
    assert metric.compute() == pytest.approx(0, abs=1e-12)


def test_modes_count_only_what_lies_near_and_only_modes_with_their_share() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    fake = torch.cat(
        [
            torch.tensor([[0.29, 0.0]]).repeat(60, 1),  # within 3 sigma of the first
            torch.tensor([[10.0, 0.31]]).repeat(38, 1),  # not of the second
            torch.tensor([[0.0, 10.0]]).repeat(2, 1),  # of the third, but less than a tenth of a third
        ]
    )
    metric = Modes(centres, 0.1)
    for part in fake.split(30):
        metric.update(seen(part, part))
    assert metric.compute() == {"covered": 1.0, "near": 0.62}


def test_the_spread_is_the_ratio_of_deviations_within_classes() -> None:
    labels = torch.arange(60) % 3
    real, fake = normal(60, 1, 4, 4), 0.5 * normal(60, 1, 4, 4, seed=1) + labels[:, None, None, None]
    metric = Spread(4)  # of the last there is none
    for part in torch.arange(60).split(25):
        metric.update(seen(real[part], fake[part], labels[part]))

    def deviation(x: Tensor) -> float:
        return float(torch.stack([x[labels == label].std(dim=0).mean() for label in range(3)]).mean())

    assert metric.compute() == pytest.approx(deviation(fake) / deviation(real))
    metric.reset()
    metric.update(seen(real[:1], fake[:1], labels[:1]))
    assert math.isnan(metric.compute())


def test_one_picture_for_all_has_no_spread() -> None:
    metric = Spread(2)
    metric.update(seen(normal(20, 1, 2, 2), torch.ones(20, 1, 2, 2), torch.arange(20) % 2))
    assert metric.compute() == pytest.approx(0, abs=1e-6)


def test_what_the_judge_reads_is_counted_against_what_was_asked() -> None:
    logits = torch.eye(4)
    labels = torch.tensor([0, 1, 3, 3])
    asked, real = ReadAsAsked(), JudgeAccuracy()
    both = Seen(logits, logits, labels, logits, logits, real_logits=logits[[0, 1, 3, 3]], fake_logits=logits)
    for metric in (asked, real):
        metric.update(both)
    assert asked.compute() == 0.75
    assert real.compute() == 1.0
