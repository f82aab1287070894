"""Epsilon beside Google's dp-accounting, and the noise that is found for an epsilon."""

from __future__ import annotations

import math
import random
import warnings

import labwright as lw
import pytest
from labwright_privacy.differential.accounting import Part, noise_for, spent


def googles(history: list[Part], delta: float) -> float:
    """By privacy loss distributions, whose epsilon is an upper bound as well; None of ours is used."""
    with warnings.catch_warnings(action="ignore"):
        from dp_accounting import dp_event
        from dp_accounting.pld import PLDAccountant

        accountant = PLDAccountant(value_discretization_interval=1e-3)
        for part in history:
            step = dp_event.PoissonSampledDpEvent(part.rate, dp_event.GaussianDpEvent(part.noise))
            accountant.compose(dp_event.SelfComposedDpEvent(step, part.steps))
        return accountant.get_epsilon(delta)


def schedules() -> list[tuple[list[Part], float]]:
    """20 histories of one to three parts, drawn at random."""
    chance = random.Random(0)
    drawn = []
    for _ in range(20):
        parts = [
            Part(str(number), chance.uniform(0.8, 4.0), 10 ** chance.uniform(-3, -0.7), chance.randint(20, 800))
            for number in range(chance.randint(1, 3))
        ]
        drawn.append((parts, 10 ** chance.uniform(-7, -4)))
    return drawn


@pytest.mark.parametrize(
    ("history", "delta"),
    [pytest.param(*one, marks=[pytest.mark.long] if n > 1 else [], id=str(n)) for n, one in enumerate(schedules())],
)
def test_epsilon_is_that_of_googles_dp_accounting(history: list[Part], delta: float):
    theirs = googles(history, delta)
    assert spent(history, delta, "prv") == pytest.approx(theirs, rel=0.01, abs=0.02)  # its grid is 0.01 wide
    assert theirs * 0.99 <= spent(history, delta, "rdp") <= 2 * theirs + 0.5  # looser, and never below


def test_nothing_costs_nothing_and_no_noise_costs_everything():
    assert spent([], 1e-5) == 0.0
    assert spent([Part("", 1.0, 0.1, 0)], 1e-5) == 0.0
    assert spent([Part("", 0.0, 0.1, 1)], 1e-5) == math.inf


def test_one_step_on_all_data_is_the_gaussian_mechanism():
    """Balle & Wang 2018, theorem 8: delta of N(0, s^2) against N(1, s^2) at epsilon."""
    noise, delta = 2.0, 1e-5

    def tail(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    def delta_of(epsilon: float) -> float:
        a, b = 1 / (2 * noise), epsilon * noise
        return tail(a - b) - math.exp(epsilon) * tail(-a - b)

    found = spent([Part("", noise, 1.0, 1)], delta)
    assert delta_of(found) <= delta
    assert delta_of(found - 0.03) > delta


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_the_noise_found_keeps_to_epsilon_and_wastes_little(accountant: str):
    history = (Part("before", 2.0, 0.05, 100),)
    noise = noise_for(3.0, 1e-5, 0.1, 150, history, accountant)
    after = spent([*history, Part("", noise, 0.1, 150)], 1e-5, accountant)
    assert 0.995 * 3.0 <= after <= 3.0


def test_what_was_spent_cant_be_taken_back():
    with pytest.raises(
        lw.LabwrightError, match=r"method\.epsilon: 1 is spent: the steps so far took .* at delta 1e-05"
    ):
        noise_for(1.0, 1e-5, 0.1, 100, (Part("before", 0.7, 0.1, 500),), "prv")
