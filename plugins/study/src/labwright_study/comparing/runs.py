"""The runs of a comparison: which are there already, and the making of the others."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labwright import Experiment, Goal, LabwrightError, Outcome, RunFailed, listed, nearest
from labwright.engine import Prepared

from labwright_study.comparing.candidates import Candidate
from labwright_study.comparing.folder import written
from labwright_study.progress import Tally

KEPT = 4  # candidates' data in memory: runs are made seed by seed, and most candidates have the same


@dataclass(frozen=True)
class Job:
    """A run that is to be made: a candidate's experiment with one seed, and its folder."""

    name: str
    seed: int
    experiment: Experiment
    folder: Path


def try_out(compared: Iterable[Candidate], goal: Goal, tasks: Prepared) -> None:
    """Build each candidate and try it, before there is a folder. Raises LabwrightError for what would fail, by name."""
    for candidate in compared:
        try:
            built = candidate.experiment.preflight(task=tasks.of(candidate.experiment))
        except LabwrightError as error:
            raise type(error)(f"candidate {candidate.name!r}: {error}") from error
        if built.metrics:
            measured(built.metrics, "test" if "test" in built.metrics else "valid", goal.metric, candidate.name)


def run_here(jobs: Iterable[Job], tasks: Prepared) -> Iterator[tuple[Job, Outcome]]:
    """Make the runs, one after another in this process; each comes back as it ends, one that failed as well.

    This is all that knows how runs are made: whatever takes jobs and gives outcomes, in any order, can stand here.
    """
    for job in jobs:
        trainer = job.experiment.trial(job.folder, tasks.of(job.experiment))
        trainer.tested = True
        try:
            outcome = trainer.fit(interruptible=False)
        except RunFailed:
            failed = trainer.run.outcome
            assert failed is not None
            outcome = failed
        del trainer  # and what it holds of the data
        yield job, outcome


def outcomes_of(
    jobs: Sequence[Job], place: Path, goal: Goal, tasks: Prepared, *, quiet: bool
) -> dict[tuple[str, int], Outcome]:
    """How each run ended, by candidate and seed; those that are there already are read."""
    outcomes = {(job.name, job.seed): before for job in jobs if (before := _finished(job)) is not None}
    names = list(dict.fromkeys(job.name for job in jobs))
    with Tally("runs", len(jobs), len(outcomes), quiet=quiet) as tally:
        kept = f", {len(outcomes)} of them are there" if outcomes else ""
        tally.say(f"{place}: {len(jobs)} runs of {', '.join(names)}{kept}; {goal.direction} {goal.metric}")
        for job, outcome in run_here((job for job in jobs if (job.name, job.seed) not in outcomes), tasks):
            outcomes[job.name, job.seed] = outcome
            split = "test" if "test" in outcome.metrics else "valid"
            line = f"{job.name}, seed {job.seed}: "
            if outcome.status == "failed":
                line += f"failed: {outcome.reason}"
            else:
                line += f"{split} {goal.metric} {value_of(outcome, split, goal.metric, job.name):.5g}"
            tally.ended(f"{line} in {outcome.seconds:.1f} s")
    return outcomes


def _finished(job: Job) -> Outcome | None:
    """The outcome of a run that was made before, of the same recipe, to its end."""
    try:
        recipe = tomllib.loads((job.folder / "recipe.toml").read_text(encoding="utf-8"))
        outcome = Outcome.read(job.folder)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    same = recipe == written(job.experiment)
    return outcome if same and outcome.status in ("finished", "stopped") else None


def value_of(outcome: Outcome, split: str, metric: str, name: str) -> float:
    """A metric of a run that ended. Raises LabwrightError if there is none of that name."""
    return measured(outcome.metrics, split, metric, name)


def measured(by_split: Mapping[str, Mapping[str, float]], split: str, metric: str, name: str) -> float:
    """A metric of a split that a candidate was measured on. Raises LabwrightError if there is none of that name."""
    metrics = by_split.get(split, {})
    if metric not in metrics:
        raise LabwrightError(
            f"candidate {name!r} reports no {metric!r} on {split}{nearest(metric, metrics)} It reports "
            f"{listed(metrics)}."
            if metrics
            else f"candidate {name!r} has neither a test nor a valid part to compare on."
        )
    return metrics[metric]
