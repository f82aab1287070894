"""One trial: an ordinary run with some settings changed, whose evaluations are reported and answered.

Nothing here knows Optuna: a trial is told by its answers whether it goes on, so that it runs the same in this process,
in a worker process, and on several processes that train it together.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal

from labwright import (
    Diverged,
    Experiment,
    Goal,
    LabwrightError,
    Outcome,
    Run,
    RunFailed,
    StopRun,
    Task,
    hookimpl,
    listed,
    nearest,
    ranks,
    sentence,
)
from labwright.engine import Prepared, Trainer, write_text

from labwright_study.folder import emptied

if TYPE_CHECKING:
    from labwright_study.fused import Form

State = Literal["complete", "pruned", "diverged", "failed"]
Answer = Callable[[int, list[list[float]]], bool]  # trial number, reports so far -> whether it is pruned

BROKE = "broke: "  # how a process begins to say why a trial ended there
ALIKE_SECONDS = 10.0  # in which a trial that breaks on all of several processes does so
PARAMETERS, STEP_SECONDS = "parameters", "step_seconds"  # what can be searched for beside a task's metrics


@dataclass(frozen=True, eq=False)
class Spec:
    """A trial to run: the values it sets in the study's experiment, its folder, and whether the test part counts."""

    number: int
    values: dict[str, Any]
    folder: str
    tested: bool = False


@dataclass(frozen=True)
class Group:
    """Trials that are run as one: one after another if there is no form, else as one program of that form."""

    specs: tuple[Spec, ...]
    form: Form | None = None

    def json(self) -> dict[str, Any]:
        return {"specs": [asdict(spec) for spec in self.specs], "form": self.form}


@dataclass
class Result:
    """How a trial ended: `diverged` if its numbers ceased to be numbers, as with too high a rate.

    `reports` holds the values after each evaluation, from the first on; `metrics` are those of each split.
    """

    number: int
    state: State
    values: list[float]
    reports: list[list[float]] = field(default_factory=list)
    reason: str = ""
    steps: int = 0
    seconds: float = 0.0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        return asdict(self)


class Trials:
    """Runs trials of one experiment, one after another; the data of the last one stays in memory."""

    def __init__(self, experiment: Experiment, goals: Sequence[Goal], threads: int) -> None:
        self.experiment = experiment.varied({"log": [], "device.threads": threads})
        self.goals = goals
        self.tasks = Prepared(check=lambda task: check_measurable(task, goals))

    def check(self) -> int:
        """Read the data, build the experiment itself and try it. Returns the number of its training samples.

        Raises LabwrightError if the data isn't there, can't be searched on, or the experiment can't be trained.
        """
        task = self.tasks.of(self.experiment)
        built = self.experiment.preflight(task=task)
        if "valid" in built.metrics:
            check_goals(self.goals, built.metrics["valid"])
        ranks.gathered(None)  # none goes on alone
        samples = task.batches("train", size=1, seed=0, epoch=0)
        return 0 if samples is None else len(samples)

    def run(self, group: Group, answer: Answer) -> Iterator[Result]:
        """Train a group's trials, each to its end, to where it is pruned, or to where it fails: a Result of each."""
        if group.form is None:
            for spec in group.specs:
                yield self._alone(spec, answer)
        else:
            yield from self._together(group.specs, group.form, answer)

    def begun(self, spec: Spec, answer: Answer) -> tuple[Trainer, Reporting]:
        """A trial before its first step. Raises LabwrightError for settings that don't go together."""
        reporting = Reporting(spec.number, self.goals, answer)
        experiment = self.experiment.varied(spec.values)
        task = self.tasks.of(experiment)
        folder = ranks.by_first(lambda: emptied(Path(spec.folder)))  # of an attempt that was killed
        trainer = experiment.trial(folder, task, listeners=[reporting])
        trainer.tested = spec.tested
        return trainer, reporting

    def _alone(self, spec: Spec, answer: Answer) -> Result:
        begun = time.monotonic()
        place = ranks.shared(token_hex(8))  # where processes that train it together meet in the end
        reporting = None
        try:
            trainer, reporting = self.begun(spec, answer)
            result = self._result(spec, reporting, trainer.fit(interruptible=False))
        except Exception as error:  # noqa: BLE001 - a trial that breaks is one point of the study, not its end
            result = self._broken(spec, reporting, error)
        result.seconds = round(time.monotonic() - begun, 3)
        self._meet(place, result)
        return result

    def _meet(self, place: str, result: Result) -> None:
        """Wait for the other processes. Raises RunFailed if the trial broke on some of them alone."""
        broke = result.state in ("diverged", "failed")
        # not by a collective: those on which it didn't break wait in one of the trial's, and come no more
        word, within = (f"{BROKE}{result.reason}", ALIKE_SECONDS) if broke else ("ended", math.inf)
        words = ranks.met(place, word, within)
        reasons = {str(n): word.removeprefix(BROKE) for n, word in enumerate(words) if word.startswith(BROKE)}
        if 0 < len(reasons) < ranks.count():
            raise RunFailed(
                f"trial {result.number} broke on process {' and '.join(reasons)} of {ranks.count()} (counted from 0) "
                f"and not on all of them, which ends the study: {sentence(next(iter(reasons.values())))} The same "
                "command goes on with it."
            )

    def _together(self, specs: Sequence[Spec], form: Form, answer: Answer) -> Iterator[Result]:
        """Trials as one program; the seconds of each are its share."""
        from labwright_study.fused import fit_fused

        begun = time.monotonic()
        trainers, results = {}, []
        for spec in specs:
            try:
                trainers[spec] = self.begun(spec, answer)
            except Exception as error:  # noqa: BLE001 - the others go on
                results.append(self._broken(spec, None, error))
        outcomes = fit_fused([trainer for trainer, _ in trainers.values()], form, interruptible=False).outcomes
        for (spec, (_, reporting)), outcome in zip(trainers.items(), outcomes, strict=True):
            if isinstance(outcome, RunFailed):
                results.append(self._broken(spec, reporting, outcome.__cause__ or outcome))
            else:
                results.append(self._result(spec, reporting, outcome))
        for result in results:
            result.seconds = round((time.monotonic() - begun) / len(specs), 3)
            yield result

    def _result(self, spec: Spec, reporting: Reporting, outcome: Outcome) -> Result:
        run = reporting.run
        assert run is not None
        values = reporting.measured(run, outcome.metrics.get("valid", {}))
        if not all(math.isfinite(value) for value in values):
            return self._broken(spec, reporting, Diverged("a value is no finite number"))
        return Result(
            spec.number,
            "pruned" if reporting.pruned else "complete",
            values,
            reporting.reports,
            reason=outcome.reason if outcome.status == "stopped" else "",
            steps=outcome.step,
            metrics=outcome.metrics,
        )

    def _broken(self, spec: Spec, reporting: Reporting | None, error: BaseException) -> Result:
        """What is told of a trial that failed; for an error nobody foresaw its traceback is kept in error.txt."""
        run = reporting.run if reporting is not None else None
        if isinstance(error, LabwrightError):
            reason = run.outcome.reason if run is not None and run.outcome is not None else str(error)
        else:
            Path(spec.folder).mkdir(parents=True, exist_ok=True)
            write_text(Path(spec.folder) / "error.txt", "".join(traceback.format_exception(error)))
            last = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
        return Result(
            spec.number,
            "diverged" if isinstance(error, Diverged) else "failed",
            [],
            reporting.reports if reporting is not None else [],
            reason=reason,
            steps=run.step if run is not None else 0,
        )


class Reporting:
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

    labwright_run_started.every_process = True  # type: ignore[attr-defined]

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
            PARAMETERS: lambda: float(sum(each.numel() for each in run.model.parameters() if each.requires_grad)),
            STEP_SECONDS: lambda: (time.monotonic() - self._begun) / max(run.step, 1),
        }
        check_goals(self.goals, metrics)
        names = [goal.metric for goal in self.goals]
        return [float(metrics[name]) if name in metrics else beside[name]() for name in names]


def check_goals(goals: Sequence[Goal], metrics: Mapping[str, float]) -> None:
    """Raises LabwrightError if an evaluation of `valid` gave no value for a goal."""
    known = [*metrics, PARAMETERS, STEP_SECONDS]
    for goal in goals:
        if goal.metric not in known:
            raise LabwrightError(
                f"the evaluation of `valid` gave no {goal.metric!r}{nearest(goal.metric, known)} It gave "
                f"{listed(metrics)}."
            )


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
