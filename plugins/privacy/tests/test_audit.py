"""The audit: it catches methods that don't do what they claim, and is silent about those that do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import labwright as lw
import numpy
import pytest
import torch
from labwright_privacy.differential.audit import Audit, audit, lower_bound
from labwright_privacy.differential.method import DifferentiallyPrivate
from labwright_privacy.differential.units import Units
from torch import Tensor


class Noiseless(DifferentiallyPrivate):
    """The planted fault: no noise."""

    def _add_noise(self, sums: Sequence[Tensor]) -> None: ...


class Unbounded(DifferentiallyPrivate):
    """The planted fault: gradients as long as they are."""

    def _add_bounded(self, sums: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        for total, gradient in zip(sums, gradients, strict=True):
            total += gradient.sum(0)


class HalfNoise(DifferentiallyPrivate):
    """The planted fault: noise that is divided twice, here by 2 before it is divided with the sum."""

    def _add_noise(self, sums: Sequence[Tensor]) -> None:
        claimed = self.parts[-1]
        self.parts[-1] = replace(claimed, noise=claimed.noise / 2)
        super()._add_noise(sums)
        self.parts[-1] = claimed


class OfOneSize(Units):
    def drawn(self, rate: float, random: numpy.random.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.from_numpy(random.permutation(self.count))[: round(rate * self.count)]
        return self.rows_N[chosen], self.sizes_U[chosen]


class Fixed(DifferentiallyPrivate):
    """The planted fault: as many units in each step, drawn anew, accounted as Poisson sampling."""

    def begin(self, *given: Any) -> Sequence[str]:
        notes = super().begin(*given)
        self.units = OfOneSize(**vars(self.units))
        return notes


class Shuffled(DifferentiallyPrivate):
    """The planted fault: batches of a fixed size from a shuffled epoch, accounted as Poisson sampling."""

    def _drawn(self, steps: lw.Steps) -> Iterator[Any]:
        next(super()._drawn(steps))  # what it writes down before its first step
        for batch in steps.batches():
            self.sizes, self.step = torch.ones(len(batch), dtype=torch.int64), steps.run.step
            yield batch


def digits(method: Any = "privacy/dp-sgd", **settings: Any) -> lw.Experiment:
    usual = {"name": method, "epsilon": 3.0, "delta": 1e-4, "bound": 0.5, "accountant": "rdp"}  # which is quicker
    changes = {"method": {**usual, **settings}, "log": []}
    return lw.Experiment.from_recipe("privacy/digits", ["model.width=32", "train.epochs=10"]).varied(changes)


def contradicting(found: Audit) -> set[str]:
    return {one.name for one in found.measures if one.contradicts}


def test_an_honest_run_is_not_contradicted():
    found = audit(digits(), canaries=400, seed=0)
    assert not found.contradicted
    assert found.claimed == pytest.approx(3.0, rel=5e-3)
    assert found.epsilon < found.claimed
    assert all(one.measured == pytest.approx(one.claimed, rel=0.3) for one in found.measures)


def test_no_noise_is_seen_by_guesses_and_by_measure():
    found = audit(digits(Noiseless), canaries=800, seed=0)
    assert found.right >= 0.98 * found.guesses == 0.98 * found.canaries  # more were inside than not, or fewer
    assert found.epsilon > found.claimed
    assert contradicting(found) >= {"noise"}


@pytest.mark.parametrize(
    ("method", "name"),
    [(Unbounded, "bound"), (HalfNoise, "noise"), (Fixed, "spread of batches"), (Shuffled, "spread of units")],
)
def test_what_the_claim_rests_on_is_measured(method: type[DifferentiallyPrivate], name: str):
    found = audit(digits(method), canaries=400, seed=0)
    assert contradicting(found) == {name}
    assert found.contradicted


def test_a_method_that_claims_nothing_isnt_audited():
    experiment = lw.Experiment.from_recipe("privacy/digits", ["method=descent", "log=[]"])
    with pytest.raises(lw.LabwrightError, match=r"method: 'descent' claims no privacy"):
        audit(experiment)


def test_the_lower_bound_is_that_of_randomised_response():
    """A method that tells each toss with probability e^2 / (1 + e^2) is exactly 2-private: that is what's found."""
    share = 1 / (1 + math.exp(-2.0))
    guesses = 20_000
    assert lower_bound(guesses, guesses, round(guesses * share), 0.0, 0.05) == pytest.approx(2.0, abs=0.05)
    # by the definition: the chance of so many right guesses at the bound is what was allowed for it
    random = torch.Generator().manual_seed(0)
    rights = [int((torch.rand(200, generator=random) < share).sum()) for _ in range(400)]
    bounds = {right: lower_bound(200, 200, right, 0.0, 0.05) for right in set(rights)}
    found = [bounds[right] for right in rights]
    assert sum(bound > 2.0 for bound in found) <= 31  # of 400 at 5 %: the 99.5 % quantile
    assert lower_bound(200, 200, 100, 1e-5, 0.05) == 0.0


@pytest.mark.long
def test_of_20_honest_runs_none_is_contradicted():
    wrong = [audit(digits(), canaries=800, seed=seed).contradicted for seed in range(20)]
    assert not any(wrong), wrong  # one of 10,000 would be
