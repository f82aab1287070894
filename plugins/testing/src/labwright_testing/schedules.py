"""Checks of schedules, in the optimizers of a recipe."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator

from labwright import LRSchedule, Optimizer, Stateful

from labwright_testing.kit import NotApplicable, Subject, check

UPDATES = 60  # of a run of 6 epochs
PER_EPOCH = 10
EVALUATIONS = 12


@check("schedule")
def is_a_function_of_the_step(subject: Subject) -> None:
    """Each update's share of the rate is a number from 0 on, and the same in whatever order it is asked for."""
    for one, other in zip(_begun(subject), _begun(subject), strict=True):
        forwards = [one.lr_at(step, UPDATES) for step in range(UPDATES)]
        for step, lr in enumerate(forwards):
            assert math.isfinite(lr) and lr >= 0, f"update {step} of {UPDATES} has the rate {lr}"
        backwards = [other.lr_at(step, UPDATES) for step in reversed(range(UPDATES))]
        for step, (lr, again) in enumerate(zip(forwards, reversed(backwards), strict=True)):
            assert lr == again, f"update {step} has the rate {lr}; asked before the ones below it, {again}"


@check("schedule")
def goes_on_from_what_it_has_heard(subject: Subject) -> None:
    """One that follows metrics says the same of steps that were taken, and `load_state(state())` in another goes on.

    It is tried with a metric that never improves.
    """
    goal = subject.task.goal
    for one, other in zip(_begun(subject), _begun(subject), strict=True):
        schedule = one.lr_schedule
        if type(schedule).evaluated is LRSchedule.evaluated:
            raise NotApplicable("it follows no metric")
        assert isinstance(schedule, Stateful), "it follows metrics, and has no `state` and `load_state` to go on from"
        assert isinstance(other.lr_schedule, Stateful)
        taken: dict[int, float] = {}
        for number in range(1, EVALUATIONS + 1):
            step = number * UPDATES // EVALUATIONS
            schedule.evaluated(step, {goal.metric: 0.5})
            taken |= {before: one.lr_at(before, UPDATES) for before in range(step) if before not in taken}
            if number == EVALUATIONS // 2:
                other.lr_schedule.load_state(schedule.state())
            elif number > EVALUATIONS // 2:
                other.lr_schedule.evaluated(step, {goal.metric: 0.5})
        for step, lr in taken.items():
            assert one.lr_at(step, UPDATES) == lr, f"what was the rate of update {step} has changed since"
            assert other.lr_at(step, UPDATES) == lr, f"after resuming, update {step} has another rate"


def _begun(subject: Subject) -> Iterator[Optimizer]:
    """The optimizers of its recipe, made anew."""
    assert inspect.isclass(subject.target) and issubclass(subject.target, LRSchedule), "it is no LRSchedule"
    for optimizer in subject.built().optimizers.values():
        optimizer.lr_schedule.begin(PER_EPOCH, subject.task.goal)
        yield optimizer
