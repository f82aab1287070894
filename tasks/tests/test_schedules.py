"""The schedules against torch.optim.lr_scheduler, and the laws that their docstrings state."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from labwright import AdamW, Experiment, Goal, LabwrightError, LRSchedule
from labwright_tasks.library_schedules import REFUSED, TORCH
from labwright_tasks.schedules import (
    ONE_CYCLE_RISE,
    ONE_CYCLE_START,
    PLAIN,
    Cosine,
    CosineRestarts,
    Exponential,
    Linear,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Step,
)
from labwright_testing.verify_resume import verify_resume
from parts import sorting
from torch.optim import lr_scheduler

TOTALS = [2, 3, 10, 97, 200]
FALLING = [*(schedule() for schedule in PLAIN.values()), Polynomial(power=2.0), Polynomial(power=0.5)]
GOAL = Goal("loss", "minimize")

schedules = st.sampled_from([LRSchedule(), *FALLING])
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


def factor(step: int, total: int, schedule: LRSchedule, warmup: float, end: float) -> float:
    return AdamW({}, lr=1.0, schedule=schedule, warmup=warmup, end=end).lr_at(step, total)


def ours(total: int, schedule: LRSchedule, warmup: float = 0.0, end: float = 1e-3) -> list[float]:
    optimizer = AdamW({}, lr=1.0, schedule=schedule, warmup=warmup, end=end)
    optimizer.lr_schedule.begin(10, GOAL)  # steps an epoch
    return [optimizer.lr_at(step, total) for step in range(total)]


# ---------------------------------------------------------------------------------------------------- the same as torch


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("end", [1e-3, 0.3, 1.0])
def test_cosine_equals_cosine_annealing_over_all_but_the_first_update(total, end):
    theirs = rates(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, total - 1, eta_min=end), total)
    assert ours(total, Cosine(), end=end) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("end", [1e-3, 0.3, 1.0])
def test_linear_equals_linear_lr_over_all_but_the_first_update(total, end):
    theirs = rates(lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, end, total - 1), total)
    assert ours(total, Linear(), end=end) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("end", [1e-3, 0.3, 1.0])
def test_exponential_equals_exponential_lr_that_reaches_the_end(total, end):
    theirs = rates(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, end ** (1 / (total - 1))), total)
    assert ours(total, Exponential(), end=end) == pytest.approx(theirs, rel=1e-10)


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
    assert ours(total, OneCycle(), end=end) == pytest.approx(theirs, rel=1e-10)


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
    assert ours(total, Cosine(), warmup, 0.01) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("total", [2, 97])
@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_polynomial_equals_polynomial_lr_raised_to_the_end(total, power):
    """PyTorch's ends at 0, ours at `end`: Hugging Face's get_polynomial_decay_schedule_with_warmup in between."""
    theirs = rates(lambda optimizer: lr_scheduler.PolynomialLR(optimizer, total - 1, power), total)
    found = ours(total, Polynomial(power=power), end=0.02)
    assert found == pytest.approx([0.02 + 0.98 * one for one in theirs], rel=1e-10)


def test_step_equals_multi_step_lr_and_step_lr():
    theirs = rates(lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [30, 50, 97], 0.3), 100)
    assert ours(100, Step(at=["97 steps", "3 epochs", 0.5], factor=0.3)) == pytest.approx(theirs, rel=1e-10)
    theirs = rates(lambda optimizer: lr_scheduler.StepLR(optimizer, 20, 0.5), 100)
    assert ours(100, Step(every="2 epochs", factor=0.5)) == pytest.approx(theirs, rel=1e-10)
    assert ours(100, Step(every=0.2, factor=0.5)) == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_cosine_restarts_equal_cosine_annealing_warm_restarts(growth):
    def make(optimizer: torch.optim.Optimizer) -> Any:
        return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 10, growth, eta_min=0.01)

    found = ours(150, CosineRestarts(first="1 epoch", growth=growth), end=0.01)
    assert found == pytest.approx(rates(make, 150), rel=1e-10)


def test_cosine_restarts_of_no_given_length_fill_the_run_with_three_periods():
    found = ours(70, CosineRestarts(), end=0.01)
    assert [step for step, one in enumerate(found) if one == 1.0] == [0, 10, 30]  # lengths 10, 20, 40
    assert found == pytest.approx(ours(70, CosineRestarts(first="10 steps"), end=0.01), rel=1e-12)
    warmed = ours(100, CosineRestarts(), warmup=0.3, end=0.01)
    assert warmed[30:] == found


def plateau(metrics: Sequence[float], goal: Goal = GOAL, **settings: Any) -> list[float]:
    """The rate after each of a series of evaluations, 5 steps apart."""
    schedule = ReduceOnPlateau(**settings)
    optimizer = AdamW({}, lr=1.0, schedule=schedule, end=1e-3)
    optimizer.lr_schedule.begin(10, goal)
    found = []
    for number, value in enumerate(metrics, 1):
        optimizer.lr_schedule.evaluated(5 * number, {goal.metric: value})
        found.append(optimizer.lr_at(5 * number, 10_000))
    # what it says of a step that was taken hasn't changed
    assert found == [optimizer.lr_at(5 * number, 10_000) for number in range(1, len(metrics) + 1)]
    return found


@given(
    st.lists(st.sampled_from([0.1, 0.5, 0.55, 0.6, 1.0, 2.0, math.nan]), max_size=40),
    st.sampled_from(["minimize", "maximize"]),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.07]),
)
def test_a_plateaus_falls_are_those_of_reduce_lr_on_plateau(metrics, direction, patience, cooldown, min_delta):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode={"minimize": "min", "maximize": "max"}[direction],
        factor=0.5,
        patience=patience - 1,  # it falls after more bad epochs than that
        threshold=min_delta,
        threshold_mode="abs",
        cooldown=cooldown,
        min_lr=1e-3,
        eps=0.0,
    )
    wanted = []
    for value in metrics:
        theirs.step(value)
        wanted.append(optimizer.param_groups[0]["lr"])
    settings = {"factor": 0.5, "patience": patience, "cooldown": cooldown, "min_delta": min_delta}
    assert plateau(metrics, Goal("loss", direction), **settings) == pytest.approx(wanted, rel=1e-12)


# ---------------------------------------------------------------------------------------------------- torch's by name

BY_NAME: dict[str, dict[str, Any]] = {
    "ConstantLR": {"factor": 0.5, "total_iters": 4},
    "CosineAnnealingLR": {"T_max": 9, "eta_min": 0.1},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 4, "mode": "triangular2"},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {"start_factor": 0.25},
    "MultiStepLR": {"milestones": [2, 7]},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 20},
    "PolynomialLR": {"total_iters": 15, "power": 2.0},
    "StepLR": {"step_size": 4},
}


def test_every_scheduler_of_torch_is_there_or_refused_with_a_reason():
    every = {one for one in lr_scheduler.__all__ if one != "LRScheduler"}
    assert every == set(TORCH) | set(REFUSED) and set(TORCH) == set(BY_NAME)
    for name in REFUSED:
        with pytest.raises(LabwrightError, match=f"'torch/{name}' can't be an optimizer's schedule: it "):
            TORCH[name]


@pytest.mark.parametrize("name", BY_NAME)
def test_a_scheduler_of_torch_by_its_name_gives_torchs_own_rates_in_any_order(name):
    options = BY_NAME[name]
    fixed = {"cycle_momentum": False} if name in ("CyclicLR", "OneCycleLR") else {}
    theirs = rates(lambda optimizer: getattr(lr_scheduler, name)(optimizer, **options, **fixed), 20)
    schedule = TORCH[name](options=options)
    optimizer = AdamW({}, lr=0.5, schedule=schedule)
    assert optimizer.lr_at(19, 20) == 0.5 * theirs[19]  # as a resumed run asks
    assert [optimizer.lr_at(step, 20) for step in range(20)] == [0.5 * one for one in theirs]
    by_epochs = AdamW({}, lr=0.5, schedule=TORCH[name](options=options, every="1 epoch"))
    by_epochs.lr_schedule.begin(3, GOAL)
    assert [by_epochs.lr_at(step, 60) for step in range(60)] == [0.5 * theirs[step // 3] for step in range(60)]


def test_a_warm_up_goes_before_a_scheduler_of_torch():
    optimizer = AdamW({}, lr=1.0, schedule=TORCH["StepLR"](options={"step_size": 2}), warmup=0.3)
    found = [optimizer.lr_at(step, 10) for step in range(10)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("StepLR", {"step_siz": 3}, r"has no option 'step_siz'; did you mean 'step_size'\? It takes gamma, step_size"),
        ("StepLR", {}, r"'torch/StepLR' refuses its options: .*'step_size'"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "cycle_momentum": True}, "cycle_momentum would change"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 5}, "'torch/OneCycleLR' can't take step"),
    ],
)
def test_options_that_torch_refuses_are_one_message(name, options, said):
    with pytest.raises(LabwrightError, match=said):
        AdamW({}, schedule=TORCH[name](options=options)).lr_at(9, 10)


def test_a_name_that_needs_settings_is_no_name_for_an_optimizer_alone():
    assert AdamW({}, lr=1.0, schedule="linear", end=0.1).lr_at(9, 10) == 0.1
    with pytest.raises(LabwrightError, match=r"schedule: given 'cosin'; did you mean 'cosine'\? By its name alone"):
        AdamW({}, schedule="cosin")
    with pytest.raises(LabwrightError, match="'2 epochs' is known within a run only"):
        AdamW({}, schedule=Step(every="2 epochs")).lr_at(0, 10)


# ----------------------------------------------------------------------------------------------------------- in a run


def sorted_by(schedule: Any) -> Experiment:
    """12 steps, evaluated every 2."""
    train = {"epochs": 2, "batch_size": 15, "evaluate_every": "2 steps", "log_every": 1}
    return sorting(optimizer={"name": "sgd", "lr": 0.1, "schedule": schedule}, train=train)


def test_a_run_that_waits_at_a_plateau_resumes_exactly():
    """Evaluated every 2 steps: stopped where it has waited once, and where it has just fallen."""
    schedule = {"name": "reduce-on-plateau", "patience": 2, "min_delta": 0.9}  # nothing is that much better
    for stopped in (5, 6):
        assert verify_resume(sorted_by(schedule), stopped).exact


def test_the_log_of_a_run_has_the_rates_of_a_plateau(tmp_path):
    schedule = {"name": "reduce-on-plateau", "patience": 2, "min_delta": 0.9}
    run = sorted_by(schedule).run(tmp_path / "run")
    log = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    lrs = {one["step"]: one["lr"] for one in log if one["event"] == "train"}
    # of evaluations after 2, 4, 6 steps the first is the best: it falls after 6, and after 10 again
    assert lrs == pytest.approx({step: 0.1 if step <= 6 else 0.01 if step <= 10 else 0.001 for step in range(1, 13)})
    assert run.outcome is not None and run.outcome.status == "finished"


def test_a_preflight_refuses_a_plateau_that_nobody_measures_and_says_which_places_are_beyond_the_run():
    with pytest.raises(LabwrightError, match="none is called 'acuracy'; did you mean 'accuracy'"):
        sorted_by({"name": "reduce-on-plateau", "metric": "acuracy", "direction": "maximize"}).preflight()
    with pytest.raises(LabwrightError, match=r"schedule\.direction: 'cross_entropy' is not the task's goal"):
        sorted_by({"name": "reduce-on-plateau", "metric": "cross_entropy"}).preflight()
    built = sorted_by({"name": "step", "at": ["2 steps", "40 epochs"]}).preflight()
    assert [note for note in built.notes if "'40 epochs' isn't reached in a run of 12 steps" in note]


def test_a_preflight_refuses_a_plateau_without_a_valid_split():
    overrides = ["task.data.valid=0.0", "optimizer.schedule=reduce-on-plateau", "log=[]"]
    with pytest.raises(LabwrightError, match=r"has no `valid` split to watch\. Hold one out"):
        Experiment.from_recipe("vision/digits-mlp", overrides).preflight()


# ------------------------------------------------------------------------------------------------------------- the laws


@given(schedules, totals, st.floats(0, 1), warmups, ends)
@example(Linear(), 2, 1.0, 0.0, 1e-17)
def test_the_factor_is_above_0_and_at_most_1(schedule, total, where, warmup, end):
    step = min(int(where * total), total - 1)
    assert 0 < factor(step, total, schedule, warmup, end) <= 1


@given(st.sampled_from(FALLING), totals, warmups, ends)
@example(Linear(), 10, 0.0, 1e-3)
@example(Cosine(), 10, 0.8, 1e-3)
def test_the_last_update_uses_exactly_the_end(schedule, total, warmup, end):
    assume(total - round(warmup * total) >= 2)  # a single update can't be the first and the last at once
    assert factor(total - 1, total, schedule, warmup, end) == end


@given(totals, st.floats(0, 1), ends)
def test_a_constant_rate_is_constant(total, where, end):
    assert factor(min(int(where * total), total - 1), total, LRSchedule(), 0.0, end) == 1.0


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


@given(st.sampled_from([Linear(), Cosine(), Exponential(), Polynomial(power=2.0)]), st.integers(2, 500), ends)
def test_all_but_one_cycle_never_rise_again(schedule, total, end):
    found = ours(total, schedule, end=end)
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(found))


def test_one_cycle_starts_low_peaks_and_falls_to_the_end():
    found = ours(101, OneCycle(), end=0.01)
    assert found[0] == pytest.approx(1 / 25)
    assert found[30] == 1.0 == max(found)
    assert found[-1] == 0.01
