"""Rules that end a run before its last step. What was trained until then is saved and evaluated."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from labwright import Built, Goal, LabwrightError, Run, StopRun, hookimpl, listed, nearest, read_log
from pydantic import Field


@dataclass(eq=False, kw_only=True)
class Early:
    """End when a metric of `valid` has not improved for a while.

    A value that is no number is no improvement. Its state is a function of the run's log, so that a resumed run ends
    where it would have ended: at once, if its patience was used up already.

    Args:
        metric: which one; the task's goal if left out.
        direction: which way it improves; known for the goal, to be given for any other.
        patience: the evaluations without improvement that end the run.
        min_delta: how much better than the best before it a value must be to count.
    """

    metric: str | None = None
    direction: Literal["minimize", "maximize"] | None = None
    patience: Annotated[int, Field(ge=1)] = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0

    @hookimpl
    def labwright_preflight(self, built: Built) -> None:
        if built.metrics or built.task.part("valid") is None:
            self._goal(built.task.goal, built.metrics.get("valid"))

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        if run.task.part("valid") is None:  # of one that is gone on with
            self._goal(run.task.goal, None)
        # from the log and not from a state of its own, so that a resumed run needs nothing else
        self._best: float | None = None
        self._waited = 0
        for record in read_log(run.folder / "metrics.jsonl"):
            if record["event"] == "evaluation" and record["split"] == "valid" and record["step"] <= run.step:
                self._take(self._goal(run.task.goal, record["metrics"]), record["metrics"])
        self._check()

    @hookimpl
    def labwright_evaluated(self, run: Run, split: str, metrics: Mapping[str, float]) -> None:
        if split == "valid":
            self._take(self._goal(run.task.goal, metrics), metrics)
            self._check()

    def _goal(self, goal: Goal, metrics: Mapping[str, float] | None) -> Goal:
        """What is watched, and in which direction. Raises LabwrightError if either isn't known, or there is nothing."""
        if metrics is None:
            raise LabwrightError(
                "stop 'early': the data has no `valid` split to watch. Hold one out: task.data.valid=0.1, or stop=[]."
            )
        name = self.metric or goal.metric
        if name not in metrics:
            raise LabwrightError(
                f"stop 'early', metric: the task's metrics are {listed(metrics)}, "
                f"none is called {name!r}{nearest(name, metrics)}"
            )
        direction = self.direction or (goal.direction if name == goal.metric else None)
        if direction is None:
            raise LabwrightError(
                f"stop 'early', direction: {name!r} is not the task's goal ({goal.metric!r}); say whether to "
                "'minimize' or 'maximize' it."
            )
        return Goal(name, direction)

    def _take(self, goal: Goal, metrics: Mapping[str, float]) -> None:
        self._watched = goal.metric
        value = metrics[goal.metric]
        # the margin is what a value must be better by, so that it counts against the value
        discounted = value - self.min_delta if goal.direction == "maximize" else value + self.min_delta
        if goal.better(value if self._best is None else discounted, self._best):
            self._best, self._waited = value, 0
        else:
            self._waited += 1

    def _check(self) -> None:
        if self._waited >= self.patience:
            evaluations = f"{self._waited} evaluation{'s' if self._waited > 1 else ''}"
            if self._best is None:
                raise StopRun(f"{self._watched} was no number in {evaluations}")
            raise StopRun(f"{self._watched} has not improved on {self._best:.6g} in {evaluations}")


@dataclass(eq=False, kw_only=True)
class Seconds:
    """End after a stretch of time, at the end of the step under way.

    Args:
        limit: seconds of this process: what was trained before a resumption doesn't count.
    """

    limit: Annotated[float, Field(gt=0)]

    @hookimpl
    def labwright_run_started(self) -> None:
        self._end = time.monotonic() + self.limit

    @hookimpl
    def labwright_step_ended(self) -> None:
        if time.monotonic() >= self._end:
            raise StopRun(f"{self.limit:g} seconds are over")
