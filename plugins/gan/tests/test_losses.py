"""Losses and penalties against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from labwright import LabwrightError
from labwright_gan.losses import (
    R1,
    Hinge,
    LeastSquares,
    NonSaturating,
    Relativistic,
    Wasserstein,
    compares,
    slope_penalty,
    slopes,
)
from labwright_tasks.losses import CrossEntropy, Penalized
from torch import Tensor, nn

REAL, FAKE = torch.tensor([2.0, 0.0, -1.0]), torch.tensor([0.5, -3.0])


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_the_non_saturating_losses_are_cross_entropies_of_the_critics_probability() -> None:
    loss = NonSaturating()
    real = -sum(math.log(sigmoid(score)) for score in REAL.tolist()) / 3
    fake = -sum(math.log(1 - sigmoid(score)) for score in FAKE.tolist()) / 2
    assert loss.critic(REAL, FAKE).item() == pytest.approx(real + fake)
    assert loss.generator(FAKE).item() == pytest.approx(-sum(math.log(sigmoid(s)) for s in FAKE.tolist()) / 2)
    undecided = torch.zeros(5)
    assert loss.critic(undecided, undecided).item() == pytest.approx(2 * math.log(2))  # Goodfellow et al., theorem 1


def test_the_hinge_stops_where_scores_are_beyond_the_margin() -> None:
    loss = Hinge()
    assert loss.critic(REAL, FAKE).item() == pytest.approx((0 + 1 + 2) / 3 + (1.5 + 0) / 2)
    assert loss.critic(torch.tensor([1.0, 7.0]), torch.tensor([-1.0, -9.0])).item() == 0
    assert loss.generator(FAKE).item() == pytest.approx(1.25)


def test_the_wasserstein_loss_is_a_difference_of_means() -> None:
    loss = Wasserstein()
    assert loss.critic(REAL, FAKE).item() == pytest.approx(-1.25 - 1 / 3)
    assert loss.generator(FAKE).item() == pytest.approx(1.25)


def test_the_least_squares_losses_are_half_the_squared_distances_from_1_and_0() -> None:
    loss = LeastSquares()
    assert loss.critic(REAL, FAKE).item() == pytest.approx((1 + 1 + 4) / 6 + (0.25 + 9) / 4)
    assert loss.generator(FAKE).item() == pytest.approx((0.25 + 16) / 4)
    undecided = torch.full((5,), 0.5)  # p_real / (p_real + p_generated) where the two are equal
    assert loss.critic(undecided, undecided).item() == pytest.approx(1 / 4)


def test_a_relativistic_loss_is_the_cross_entropy_of_which_of_a_pair_is_real() -> None:
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])
    pairs, mean = Relativistic(), Relativistic(against="mean")
    by_pair = -(math.log(sigmoid(2.0 - 0.5)) + math.log(sigmoid(-1.0 + 3.0))) / 2
    assert pairs.critic(real, fake).item() == pytest.approx(by_pair)
    by_mean = [math.log(sigmoid(r + 1.25)) for r in (2.0, -1.0)] + [math.log(1 - sigmoid(f - 0.5)) for f in (0.5, -3.0)]
    assert mean.critic(real, fake).item() == pytest.approx(-sum(by_mean) / 2)
    for loss in (pairs, mean):  # the generator plays the same game from the other side
        assert loss.generator_beside(real, fake).item() == pytest.approx(loss.critic(fake, real).item())
        shifted = loss.critic(real + 7, fake + 7)  # a difference alone counts
        torch.testing.assert_close(shifted, loss.critic(real, fake))
    assert pairs.critic(real, real).item() == pytest.approx(math.log(2))
    assert (pairs.separable, mean.separable) == (True, False)
    assert compares(R1(pairs)) and compares(Penalized(pairs)) and not compares(R1(Hinge())) and not compares(object())
    assert R1(pairs).generator_beside(real, fake).item() == pairs.generator_beside(real, fake).item()


@pytest.mark.parametrize(
    "loss",
    [
        NonSaturating(),
        Hinge(),
        LeastSquares(),
        Relativistic(),
        Relativistic(against="mean"),
        Wasserstein(),
        R1(Relativistic()),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_leading_axis_of_trials_passes_through(loss: Wasserstein) -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(3, 7, generator=generator), torch.randn(3, 7, generator=generator)
    one_by_one = torch.stack([loss.critic(a, b) for a, b in zip(real, fake, strict=True)])
    torch.testing.assert_close(loss.critic(real, fake), one_by_one)
    torch.testing.assert_close(loss.generator(fake), torch.stack([loss.generator(one) for one in fake]))
    beside = torch.stack([loss.generator_beside(a, b) for a, b in zip(real, fake, strict=True)])
    torch.testing.assert_close(loss.generator_beside(real, fake), beside)


def linear(weights: Tensor) -> nn.Module:
    critic = nn.Linear(len(weights), 1)
    with torch.no_grad():
        critic.weight.copy_(weights[None])
    return nn.Sequential(critic, nn.Flatten(0))


def points(count: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, count, width, generator=generator)
    return real, fake, torch.rand(count, generator=generator)


def test_the_gradient_penalty_of_a_linear_critic_is_exact() -> None:
    weights = torch.tensor([3.0, 0.0, 4.0])  # a slope of 5 everywhere
    penalty = slope_penalty(Wasserstein(penalty=10.0), linear(weights), *points(6, 3))
    assert penalty is not None
    assert penalty.item() == pytest.approx(10 * (5 - 1) ** 2)


def test_r1_of_a_linear_critic_is_exact_and_adds_to_the_penalty_within() -> None:
    critic = linear(torch.tensor([3.0, 0.0, 4.0]))
    alone = slope_penalty(R1(Hinge(), weight=0.4), critic, *points(6, 3))
    both = slope_penalty(R1(Wasserstein(penalty=10.0), weight=0.4), critic, *points(6, 3))
    assert alone is not None and both is not None
    assert alone.item() == pytest.approx(0.4 / 2 * 25)
    assert both.item() == pytest.approx(0.4 / 2 * 25 + 160)


def test_r1_at_both_kinds_of_samples_is_the_penalty_at_each() -> None:
    def score(x: Tensor) -> Tensor:
        return x.square().sum(1) / 2  # the slope at x is its norm

    real, fake, mix = points(6, 3)
    penalty = slope_penalty(R1(Hinge(), weight=0.4, both=True), score, real, fake, mix)
    assert penalty is not None
    torch.testing.assert_close(penalty, 0.2 * (real.square().sum(1).mean() + fake.square().sum(1).mean()))


def test_the_gradients_of_a_penalty_are_those_of_the_formula() -> None:
    critic = linear(torch.tensor([3.0, 0.0, 4.0]))
    penalty = slope_penalty(Wasserstein(penalty=10.0), critic, *points(6, 3))
    assert penalty is not None
    (gradient, *_) = torch.autograd.grad(penalty, list(critic.parameters()), allow_unused=True)
    torch.testing.assert_close(gradient, 10 * 2 * (5 - 1) * torch.tensor([[0.6, 0.0, 0.8]]))


def test_slopes_are_those_of_each_sample_alone() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    real, _, _ = points(5, 4)
    alone = torch.func.vmap(torch.func.grad(lambda x: critic(x[None]).squeeze(0)))(real).norm(dim=1)
    torch.testing.assert_close(slopes(critic, real), alone)


def test_interpolates_lie_between_each_real_and_each_generated_sample() -> None:
    seen: list[Tensor] = []

    def score(x: Tensor) -> Tensor:
        seen.append(x)
        return x.sum(1)

    slope_penalty(Wasserstein(), score, torch.ones(3, 2), torch.zeros(3, 2), torch.tensor([0.0, 0.25, 1.0]))
    assert torch.func.debug_unwrap(seen[0]).tolist() == [[0, 0], [0.25, 0.25], [1, 1]]


def test_what_has_no_penalty_adds_none() -> None:
    critic = linear(torch.ones(3))
    for loss in (Hinge(), NonSaturating(), Wasserstein(penalty=0.0), Penalized(Hinge()), object()):
        assert slope_penalty(loss, critic, *points(4, 3)) is None
    inner = slope_penalty(Penalized(Wasserstein()), critic, *points(4, 3))
    assert inner is not None and inner.item() == pytest.approx(10 * (3**0.5 - 1) ** 2)


def test_r1_goes_with_adversarial_losses_only() -> None:
    with pytest.raises(LabwrightError, match="such as 'gan/hinge', given CrossEntropy"):
        R1(CrossEntropy())
