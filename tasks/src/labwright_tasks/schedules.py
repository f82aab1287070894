"""Schedules of the learning rate. Each gives the share of `optimizer.lr` that an update uses.

Places within a run are shares of it, such as 0.5, or stretches from its beginning, such as "500 steps" or "2 epochs".
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from labwright import Goal, LabwrightError, LRSchedule, Stretch, in_steps, listed, nearest
from pydantic import Field

ONE_CYCLE_RISE = 0.3  # share of the run, and the rate it starts from: PyTorch's and fastai's defaults
ONE_CYCLE_START = 1 / 25
PERIODS = 3  # of cosine restarts, if their length is left out
UNHEARD: Mapping[str, Any] = {"falls": (), "best": None, "waited": 0, "cooling": 0}  # of what watches a plateau

Share = Annotated[float, Field(gt=0, lt=1)]
Place = Stretch | Share


class Placed(LRSchedule):
    """A schedule with places that may be in epochs."""

    _per_epoch: int | None = None

    def begin(self, per_epoch: int, goal: Goal) -> None:  # noqa: ARG002
        self._per_epoch = per_epoch

    def steps(self, place: Place, total: int) -> int:
        """How many steps a share of `total`, or a stretch, is; one at least."""
        if not isinstance(place, str):
            return max(1, round(place * total))
        if self._per_epoch is None and "epoch" in place:
            raise LabwrightError(f"schedule: {place!r} is known within a run only; elsewhere give steps or a share.")
        return in_steps(place, self._per_epoch or 0)


class Linear(LRSchedule):
    """The rate falls along a line from `lr` to `lr * end`."""

    def shape(self, share: float, end: float) -> float:
        return (1.0 - share) + end * share


class Cosine(LRSchedule):
    """The rate falls along half a cosine from `lr` to `lr * end` (Loshchilov & Hutter 2017, without restarts)."""

    def shape(self, share: float, end: float) -> float:
        return _cosine(1.0, end, share)


class Exponential(LRSchedule):
    """The rate falls by the same factor from update to update, from `lr` to `lr * end`."""

    def shape(self, share: float, end: float) -> float:
        return float(end**share)


class OneCycle(LRSchedule):
    """The rate rises from `lr / 25` to `lr` over the first 0.3 of the run, then falls to `lr * end`.

    Both along half a cosine, as in PyTorch and fastai (Smith & Topin 2018).
    """

    def shape(self, share: float, end: float) -> float:
        if share < ONE_CYCLE_RISE:
            return _cosine(ONE_CYCLE_START, 1.0, share / ONE_CYCLE_RISE)
        return _cosine(1.0, end, (share - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE))


class Polynomial(LRSchedule):
    """The rate falls from `lr` to `lr * end` as a power of what is left of the run (Chen et al. 2018, section 4.1).

    Args:
        power: 1 falls along a line, 2 fast at first and then ever slower, 0.5 slowly at first.
    """

    def __init__(self, *, power: Annotated[float, Field(gt=0)] = 2.0) -> None:
        self.power = power

    def shape(self, share: float, end: float) -> float:
        return end + (1.0 - end) * float((1.0 - share) ** self.power)


class Step(Placed):
    """The rate is multiplied by `factor` at places of the run, and constant in between, whatever `end` is.

    Places count from the beginning of the run, a warm-up included: PyTorch's MultiStepLR, or its StepLR with `every`.

    Args:
        at: where it falls: shares of the run such as 0.5, or stretches such as "30 epochs" or "500 steps".
        every: instead of `at`: the share or stretch after which it falls again and again.
        factor: what the rate is multiplied by at each place.

    Raises ValueError unless one of `at` and `every` is given.
    """

    def __init__(
        self,
        *,
        at: Annotated[list[Place], Field(min_length=1)] | None = None,
        every: Place | None = None,
        factor: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    ) -> None:
        if (at is None) == (every is None):
            given = "neither" if at is None else "both"
            raise ValueError(
                f'given {given} of `at`, such as [0.5, 0.75] or ["30 epochs"], and `every`, such as "30 epochs"; '
                "it falls at places by the first or again and again by the second."
            )
        self.at, self.every, self.by = at, every, factor

    def factor(self, step: int, start: int, total: int, end: float) -> float:  # noqa: ARG002
        if self.every is not None:
            return float(self.by ** (step // self.steps(self.every, total)))
        return float(self.by ** sum(step >= self.steps(place, total) for place in self.at or ()))

    def beyond(self, total: int) -> list[Place]:
        """The places that a run of so many steps doesn't reach."""
        return [place for place in [*(self.at or ()), self.every] if place and self.steps(place, total) >= total]


class CosineRestarts(Placed):
    """The rate falls along half a cosine from `lr` to `lr * end` again and again (SGDR, Loshchilov & Hutter 2017).

    Each period begins at `lr`. Its last update is one before `lr * end`, as in PyTorch's CosineAnnealingWarmRestarts.

    Args:
        first: the length of the first period, after a warm-up: a share of what follows it, or a stretch such as
            "10 epochs"; left out, one with which three periods fill the run.
        growth: how many times as long as the one before it each period is.
    """

    def __init__(self, *, first: Place | None = None, growth: Annotated[int, Field(ge=1)] = 2) -> None:
        self.first, self.growth = first, growth

    def factor(self, step: int, start: int, total: int, end: float) -> float:
        growth, done = self.growth, step - start
        first = 1 / sum(growth**period for period in range(PERIODS)) if self.first is None else self.first
        length = self.steps(first, total - start)
        if growth == 1:
            return _cosine(1.0, end, done % length / length)
        while done >= length:  # which grows at least twofold, so that this ends soon
            done, length = done - length, length * growth
        return _cosine(1.0, end, done / length)


class ReduceOnPlateau(LRSchedule):
    """The rate is multiplied by `factor` when a metric of `valid` hasn't improved for a while; never below `lr * end`.

    PyTorch's ReduceLROnPlateau, whose `patience` is one less: there it falls after more bad epochs than that. A value
    that is no finite number is no improvement. What it has heard is part of each checkpoint.

    Args:
        metric: which one; the task's goal if left out.
        direction: which way it improves; known for the goal, to be given for any other.
        factor: what the rate is multiplied by.
        patience: the evaluations in a row without improvement after which it falls.
        min_delta: how much better than the best before it a value must be to count, in the metric's own units.
        cooldown: the evaluations after a fall that don't count.
    """

    _falls: list[int]
    _best: float | None
    _waited: int
    _cooling: int

    def __init__(
        self,
        *,
        metric: str | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
        factor: Annotated[float, Field(gt=0, lt=1)] = 0.1,
        patience: Annotated[int, Field(ge=1)] = 3,
        min_delta: Annotated[float, Field(ge=0)] = 0.0,
        cooldown: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.metric, self.direction, self.by = metric, direction, factor
        self.patience, self.min_delta, self.cooldown = patience, min_delta, cooldown
        self.load_state(UNHEARD)

    def begin(self, per_epoch: int, goal: Goal) -> None:  # noqa: ARG002
        self.load_state(UNHEARD)  # an object from Python may have followed another run
        name = self.metric or goal.metric
        direction = self.direction or (goal.direction if name == goal.metric else None)
        if direction is None:
            raise LabwrightError(
                f"optimizer.schedule.direction: {name!r} is not the task's goal ({goal.metric!r}); say whether to "
                "'minimize' or 'maximize' it."
            )
        self._goal = Goal(name, direction)

    def check(self, metrics: Mapping[str, float] | None) -> None:
        """Raises LabwrightError if the metric isn't among those of `valid`, or if there is no `valid` split."""
        if metrics is None:
            raise LabwrightError(
                "optimizer.schedule 'reduce-on-plateau': the data has no `valid` split to watch. Hold one out: "
                "task.data.valid=0.1, or take a schedule that follows the steps, such as cosine."
            )
        if self._goal.metric not in metrics:
            raise LabwrightError(
                f"optimizer.schedule.metric: the task's metrics are {listed(metrics)}, none is called "
                f"{self._goal.metric!r}{nearest(self._goal.metric, metrics)}"
            )

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        self.check(metrics)
        value, goal = metrics[self._goal.metric], self._goal
        # the margin counts against the value
        discounted = value - self.min_delta if goal.direction == "maximize" else value + self.min_delta
        if math.isfinite(value) and goal.better(value if self._best is None else discounted, self._best):
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        if self._cooling:
            self._cooling, self._waited = self._cooling - 1, 0
        if self._waited >= self.patience:
            self._falls.append(step)
            self._cooling, self._waited = self.cooldown, 0

    def factor(self, step: int, start: int, total: int, end: float) -> float:  # noqa: ARG002
        # by when it fell, so that the rate of a step that was taken stays what it was
        return max(end, self.by ** bisect_right(self._falls, step))

    def state(self) -> Mapping[str, Any]:
        return {"falls": list(self._falls), "best": self._best, "waited": self._waited, "cooling": self._cooling}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._falls, self._best = list(state["falls"]), state["best"]
        self._waited, self._cooling = int(state["waited"]), int(state["cooling"])


PLAIN: Mapping[str, type[LRSchedule]] = {
    "linear": Linear,
    "cosine": Cosine,
    "exponential": Exponential,
    "one-cycle": OneCycle,
}


def schedule(name: str) -> LRSchedule:
    """The schedule of a name, where there is no recipe: `AdamW(parameters, schedule="cosine")`.

    Raises LabwrightError for a name that can't be given so.
    """
    if name not in PLAIN:
        raise LabwrightError(
            f"schedule: given {name!r}{nearest(name, PLAIN)} By its name alone an optimizer takes constant, "
            f'{", ".join(PLAIN)}; any other as an object of its class, lw.Plugins.discover().load("schedule", NAME).'
        )
    return PLAIN[name]()


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
