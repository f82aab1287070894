"""One trial: an ordinary run with some settings changed, whose evaluations are reported and answered.

Nothing here knows Optuna: a trial is told by its answers whether it goes on, so that it runs the same in this process,
in a worker process, and under `torchrun`.
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from labwright.errors import Diverged, LabwrightError, StopRun, listed, nearest
from labwright.experiment import Experiment
from labwright.hookspecs import hookimpl
from labwright.interfaces import Goal, Task
from labwright.run import Run

State = Literal["complete", "pruned", "failed"]
Answer = Callable[[int, list[list[float]]], bool]  # trial number, reports so far -> whether it is pruned

PARAMETERS, STEP_SECONDS = "parameters", "step_seconds"  # what can be searched for beside a task's metrics


@dataclass(frozen=True)
class Spec:
    """A trial to run: the values it sets in the study's experiment, its folder, and whether the test part counts."""

    number: int
    values: dict[str, Any]
    folder: str
    tested: bool = False


@dataclass
class Result:
    """How a trial ended. `reports` holds the values after each evaluation, from the first on.

    `diverged` says that its numbers ceased to be numbers, as with too high a rate. `metrics` are those of each split.
    """

    number: int
    state: State
    values: list[float]
    reports: list[list[float]] = field(default_factory=list)
    reason: str = ""
    steps: int = 0
    seconds: float = 0.0
    diverged: bool = False
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        return asdict(self)


class Trials:
    """Runs trials of one experiment, one after another; data that was read once stays in memory."""

    def __init__(self, experiment: Experiment, goals: Sequence[Goal], threads: int) -> None:
        self.experiment = experiment.varied({"log": [], "device.threads": threads})
        self.goals = goals
        self._tasks: dict[str, Task] = {}

    def run(self, spec: Spec, answer: Answer) -> Result:
        """Train one trial to its end, to where it is pruned, or to where it fails: a Result in every case."""
        begun = time.monotonic()
        reporting = _Reporting(spec.number, self.goals, answer)
        result = Result(spec.number, "complete", [])
        try:
            experiment = self.experiment.varied(spec.values)
            trainer = experiment.trial(Path(spec.folder), self._prepared(experiment), listeners=[reporting])
            trainer.tested = spec.tested
            outcome = trainer.fit(interruptible=False)
            result.metrics = outcome.metrics
            result.values = reporting.measured(trainer.run, outcome.metrics.get("valid", {}))
            result.state = "pruned" if reporting.pruned else "complete"
            result.reason = outcome.reason if outcome.status == "stopped" else ""
            result.steps = outcome.step
            if not all(math.isfinite(value) for value in result.values):
                raise Diverged("a value is no finite number")
        except LabwrightError as error:
            run = reporting.run
            result.reason = run.outcome.reason if run is not None and run.outcome is not None else str(error)
            result.state, result.steps = "failed", run.step if run is not None else 0
            result.diverged = isinstance(error, Diverged)
        except Exception as error:  # noqa: BLE001 - a trial that breaks is one point of the study, not its end
            Path(spec.folder).mkdir(parents=True, exist_ok=True)
            (Path(spec.folder) / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            result.state, result.reason = "failed", f"{type(error).__name__}: {error}"
        result.reports = reporting.reports
        result.seconds = round(time.monotonic() - begun, 3)
        return result

    def _prepared(self, experiment: Experiment) -> Task:
        key = json.dumps(experiment.task.table(), sort_keys=True, default=repr)
        if key not in self._tasks:
            task = experiment.prepared()
            check_measurable(task, self.goals)
            self._tasks[key] = task
        return self._tasks[key]


class _Reporting:
    """Reports each evaluation of `valid`, and ends the run where the answer is that it is pruned."""

    def __init__(self, number: int, goals: Sequence[Goal], answer: Answer) -> None:
        self.number, self.goals, self.answer = number, goals, answer
        self.reports: list[list[float]] = []
        self.pruned = False
        self.run: Run | None = None

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        self.run = run
        self._begun = time.monotonic()

    @hookimpl
    def labwright_evaluated(self, run: Run, split: str, metrics: Mapping[str, float]) -> None:
        if split != "valid" or self.pruned:
            return
        values = self.measured(run, metrics)
        self.reports.append(values)
        if run.step < run.total_steps and self.answer(self.number, self.reports):
            self.pruned = True
            raise StopRun(f"pruned after step {run.step} of {run.total_steps}")

    def measured(self, run: Run, metrics: Mapping[str, float]) -> list[float]:
        """The values of the study's goals."""
        beside = {
            PARAMETERS: lambda: float(sum(one.numel() for one in run.model.parameters() if one.requires_grad)),
            STEP_SECONDS: lambda: (time.monotonic() - self._begun) / max(run.step, 1),
        }
        return [float(metrics[one.metric]) if one.metric in metrics else beside[one.metric]() for one in self.goals]


def check_measurable(task: Task, goals: Sequence[Goal]) -> None:
    """Raises LabwrightError if a prepared task has no part to search on, or not the metrics that are searched for."""
    valid = task.batches("valid", size=1, seed=0, epoch=0)
    if valid is None or not len(valid):
        raise LabwrightError(
            "a study chooses by the `valid` split, and the data has none: the test part is for afterwards. Hold some "
            "of the training part out, for example with task.data.valid=0.2."
        )
    known = [*task.metrics(), PARAMETERS, STEP_SECONDS]
    for goal in goals:
        if goal.metric not in known and goal.metric.partition("/")[0] not in known:  # a metric may be a table
            raise LabwrightError(
                f"nothing is called {goal.metric!r} that could be searched for{nearest(goal.metric, known)} "
                f"There are {listed(known)}."
            )
