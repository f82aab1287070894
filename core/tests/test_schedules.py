"""The schedules against torch.optim.lr_scheduler and the laws their docstrings state."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from labwright.base.errors import LabwrightError
from labwright.interfaces.optimizer import ONE_CYCLE_RISE, ONE_CYCLE_START, Group, Optimizer, Schedule, factor, grouped
from torch.optim import lr_scheduler

TOTALS = [2, 3, 10, 97, 200]
FALLING = [schedule for schedule in get_args(Schedule) if schedule != "constant"]

schedules = st.sampled_from(get_args(Schedule))
totals = st.integers(1, 10_000)
warmups = st.floats(0, 1, exclude_max=True)
ends = st.floats(0, 1, exclude_min=True)


def rates(make: Callable[[torch.optim.Optimizer], Any], total: int, lr: float = 1.0) -> list[float]:
    """The rate of each update under a scheduler of torch."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=lr)
    scheduler = make(optimizer)
    found = []
    for step in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < total:
            with warnings.catch_warnings():  # SequentialLR calls its parts in a way they warn about
                warnings.simplefilter("ignore", UserWarning)
                scheduler.step()
    return found


def ours(total: int, schedule: Schedule, warmup: float = 0.0, end: float = 1e-3) -> list[float]:
    return [factor(step, total, schedule, warmup, end) for step in range(total)]


# ---------------------------------------------------------------------------------------------------- the same as torch


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("end", [1e-3, 0.3, 1.0])
def test_cosine_equals_cosine_annealing_over_all_but_the_first_update(total, end):
    theirs = rates(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, total - 1, eta_min=end), total)
    assert ours(total, "cosine", end=end) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("end", [1e-3, 0.3, 1.0])
def test_linear_equals_linear_lr_over_all_but_the_first_update(total, end):
    theirs = rates(lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, end, total - 1), total)
    assert ours(total, "linear", end=end) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("end", [1e-3, 0.3, 1.0])
def test_exponential_equals_exponential_lr_that_reaches_the_end(total, end):
    theirs = rates(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, end ** (1 / (total - 1))), total)
    assert ours(total, "exponential", end=end) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("total", [10, 97, 200])
@pytest.mark.parametrize("end", [1e-3, 0.3])
def test_one_cycle_equals_one_cycle_lr_whose_peak_lies_where_ours_does(total, end):
    """PyTorch's rise ends at update pct_start * total - 1, ours at 0.3 * (total - 1): less than one update later."""
    share = (ONE_CYCLE_RISE * (total - 1) + 1) / total
    theirs = rates(
        lambda optimizer: lr_scheduler.OneCycleLR(
            optimizer,
            1.0,
            total_steps=total,
            pct_start=share,
            cycle_momentum=False,
            div_factor=1 / ONE_CYCLE_START,
            final_div_factor=ONE_CYCLE_START / end,
        ),
        total,
    )
    assert ours(total, "one-cycle", end=end) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize(("total", "warmup"), [(10, 0.3), (97, 0.1), (200, 0.5)])
def test_warm_up_then_cosine_equals_the_sequence_of_torchs_two(total, warmup):
    rising = round(total * warmup)

    def make(optimizer: torch.optim.Optimizer) -> Any:
        rise = lr_scheduler.LinearLR(optimizer, 1 / (rising + 1), 1.0, rising)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, total - rising - 1, eta_min=0.01)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], [rising])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        theirs = rates(make, total)
    assert ours(total, "cosine", warmup, 0.01) == pytest.approx(theirs, rel=1e-10)


# ------------------------------------------------------------------------------------------------------------- the laws


@given(schedules, totals, st.floats(0, 1), warmups, ends)
@example("linear", 2, 1.0, 0.0, 1e-17)
def test_the_factor_is_above_0_and_at_most_1(schedule, total, where, warmup, end):
    step = min(int(where * total), total - 1)
    assert 0 < factor(step, total, schedule, warmup, end) <= 1


@given(st.sampled_from(FALLING), totals, warmups, ends)
@example("linear", 10, 0.0, 1e-3)
@example("cosine", 10, 0.8, 1e-3)
def test_the_last_update_uses_exactly_the_end(schedule, total, warmup, end):
    assume(total - round(warmup * total) >= 2)  # a single update can't be the first and the last at once
    assert factor(total - 1, total, schedule, warmup, end) == end


@given(totals, st.floats(0, 1), ends)
def test_a_constant_rate_is_constant(total, where, end):
    assert factor(min(int(where * total), total - 1), total, "constant", 0.0, end) == 1.0


@given(schedules, st.integers(2, 10_000), warmups, ends)
def test_warm_up_rises_in_equal_steps_to_what_the_schedule_starts_with(schedule, total, warmup, end):
    """Update k of r warm-up updates has (k + 1) / (r + 1) of it, so that no update is wasted on a rate of 0."""
    rising = round(warmup * total)
    assume(0 < rising < total)
    start = factor(0, total, schedule, 0.0, end)
    for step in {0, rising // 2, rising - 1}:
        assert factor(step, total, schedule, warmup, end) == pytest.approx(start * (step + 1) / (rising + 1), rel=1e-12)


@given(schedules, st.integers(2, 2_000), warmups, ends, st.floats(0, 1))
def test_after_warm_up_the_schedule_is_the_one_of_a_shorter_run(schedule, total, warmup, end, where):
    rising = round(warmup * total)
    assume(rising < total - 1)
    step = rising + min(int(where * (total - rising)), total - rising - 1)
    assert factor(step, total, schedule, warmup, end) == factor(step - rising, total - rising, schedule, 0.0, end)


@given(st.sampled_from(["linear", "cosine", "exponential"]), st.integers(2, 500), ends)
def test_all_but_one_cycle_never_rise_again(schedule, total, end):
    found = ours(total, schedule, end=end)
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(found))


def test_one_cycle_starts_low_peaks_and_falls_to_the_end():
    found = ours(101, "one-cycle", end=0.01)
    assert found[0] == pytest.approx(1 / 25)
    assert found[30] == 1.0 == max(found)
    assert found[-1] == 0.01


# --------------------------------------------------------------------------------------------------------------- groups

NAMES = ["body.weight", "body.bias", "head.weight", "head.bias"]


def test_without_groups_all_parameters_are_one():
    assert grouped(NAMES, {}, 0.1) == [(NAMES, 1.0, 0.1)]


def test_the_first_pattern_that_matches_a_name_counts():
    groups = {"*.bias": Group(weight_decay=0.0), "head.*": Group(lr_factor=10.0)}
    assert grouped(NAMES, groups, 0.1) == [
        (["body.weight"], 1.0, 0.1),
        (["body.bias", "head.bias"], 1.0, 0.0),
        (["head.weight"], 10.0, 0.1),
    ]


def test_patterns_that_say_the_same_share_a_group():
    groups = {"head.*": Group(weight_decay=0.0), "*.bias": Group(weight_decay=0.0)}
    assert grouped(NAMES, groups, 0.1) == [
        (["body.weight"], 1.0, 0.1),
        (["body.bias", "head.weight", "head.bias"], 1.0, 0.0),
    ]


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name():
    with pytest.raises(LabwrightError, match=r"no parameter matches 'hed\.weight'; did you mean 'head\.weight'\?"):
        grouped(NAMES, {"hed.weight": Group()}, 0.1)


def test_an_optimizers_rate_is_the_factor_of_its_lr():
    class Still(Optimizer):
        def step(self, lr: float, found_inf: Any = None) -> None: ...
        def state_dict(self) -> Any: ...
        def load_state_dict(self, state: Any) -> None: ...

    optimizer = Still({}, lr=0.5, schedule="cosine", warmup=0.1, end=0.01)
    assert [optimizer.lr_at(step, 50) for step in range(50)] == [0.5 * one for one in ours(50, "cosine", 0.1, 0.01)]
