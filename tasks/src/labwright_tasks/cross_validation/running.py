"""A run of each fold of a recipe's data, and their mean."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from labwright import Built, Experiment, LabwrightError, Outcome, ranks
from labwright.cli.shared import new_folder

from labwright_tasks.cross_validation.interval import corrected_interval
from labwright_tasks.cross_validation.lacking import lacking

RESULT = "folds.json"
LEVEL = 0.95
_VALID = 0.1  # where the data has no such setting


@dataclass(frozen=True)
class Scores:
    """A metric of each fold on what it held out, their mean, and its interval; None where a score is no number."""

    values: list[float]
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class CrossValidation:
    """What came of it. `held_out` is the samples a fold is measured on over those it learned from, the mean of all.

    `floors` are what simple rules reach of the goal on the same folds, by their names: see `Task.floors`.
    """

    folder: Path
    goal: str
    folds: int
    held_out: float
    scores: dict[str, Scores]
    floors: dict[str, Scores] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder), "level": LEVEL}


def folded(
    experiment: Experiment, folds: int, *, by: str | None, valid: float | None, seed: int
) -> tuple[list[Experiment], list[str]]:
    """The experiment on each fold of its data, and what to know of it.

    Raises LabwrightError for an experiment whose data has no folds.
    """
    data = experiment.table()["task"].get("data")
    if not isinstance(data, Mapping) or "name" not in data:
        raise LabwrightError(f"the task of {experiment.name} has no data in the recipe, so that it has no folds.")
    if data["name"] == "fold":
        raise LabwrightError(f"{experiment.name} is one fold already; cross-validate the recipe it came from.")
    share, notes = data.get("valid"), []
    if isinstance(share, float) and 0 < share < 1:
        # else its samples were never augmented, and what the data learns of `train` would know nothing of them
        data = {**data, "valid": 0.0}
        valid = share if valid is None else valid
        notes.append(f"task.data.valid is 0: instead each fold holds out {valid:g} of what it learns from.")
    table: dict[str, Any] = {"name": "fold", "data": dict(data), "of": folds, "seed": seed}
    table |= {"valid": _VALID if valid is None else valid} | ({"by": by} if by else {})
    return [experiment.varied({"task.data": {**table, "number": number}}) for number in range(1, folds + 1)], notes


def cross_validate(
    experiments: list[Experiment], folder: Path | None, *, notes: list[str], say: Callable[..., None]
) -> CrossValidation | Outcome:
    """Train each fold in a folder of its own; those that have ended are taken as they are, others gone on with.

    Returns the outcome of the fold that was interrupted, if one was. Raises LabwrightError for a folder of other folds
    and for a fold of whose parts one is empty, RunFailed for a fold that can't go on.
    """
    # before there is a folder, as each fold's own comes too late for the one around them
    first = experiments[0].preflight(Path("runs")) if folder is None else None
    found = [*lacking(experiments[0], experiments[0].prepared() if first is None else first.task)]
    say(*(f"note: {note}" for note in found))
    notes += found
    place = ranks.by_first(lambda: new_folder(f"{experiments[0].name}-folds")) if folder is None else folder
    outcomes = []
    for number, experiment in enumerate(experiments, 1):
        say(f"fold {number} of {len(experiments)}: {place / f'fold-{number}'}")
        outcome = _trained(experiment, place / f"fold-{number}", first if number == 1 else None)
        if outcome.status == "interrupted":
            return outcome
        outcomes.append(outcome)
    result = _together(place, experiments[0].goal.metric, outcomes, notes)
    written = json.dumps(result.json(), indent=1) + "\n"
    ranks.by_first(lambda: (place / RESULT).write_text(written, encoding="utf-8"))
    return result


def _trained(experiment: Experiment, folder: Path, built: Built | None) -> Outcome:
    if not (folder / "recipe.toml").exists():
        return experiment.trainer(folder, built=built).fit()
    kept = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    wanted = tomllib.loads(tomli_w.dumps(experiment.table()))
    differing = sorted(key for key in kept.keys() | wanted.keys() if kept.get(key) != wanted.get(key))
    if differing:
        raise LabwrightError(
            f"{folder} holds a run of another recipe or other folds: its {', '.join(differing)} differ. Give another "
            "--folder."
        )
    try:
        outcome = Outcome.read(folder)
    except (OSError, ValueError, TypeError, KeyError):
        outcome = None
    if outcome is not None and outcome.status in ("finished", "stopped"):
        return outcome
    trainer, _ = experiment.resumed(folder)
    return trainer.fit()


def _together(place: Path, goal: str, outcomes: list[Outcome], notes: list[str]) -> CrossValidation:
    sizes = [_sizes(outcome) for outcome in outcomes]
    held_out = math.fsum(size["test"] / (size["train"] + size.get("valid", 0)) for size in sizes) / len(sizes)
    metrics = [outcome.metrics["test"] for outcome in outcomes]
    every = set.intersection(*(set(of_fold) for of_fold in metrics))
    # an interval of one fold's samples says nothing of all of them
    named = sorted((name for name in every if "_95/" not in name), key=lambda name: (name != goal, name))
    scores = {name: _scores([of_fold[name] for of_fold in metrics], held_out) for name in named}
    of_folds = [{rule: floor[goal] for rule, floor in outcome.floors.items() if goal in floor} for outcome in outcomes]
    rules = [rule for rule in of_folds[0] if all(rule in of_fold for of_fold in of_folds)]
    floors = {rule: _scores([of_fold[rule] for of_fold in of_folds], held_out) for rule in rules}
    return CrossValidation(place, goal, len(outcomes), held_out, scores, floors, notes)


def _scores(values: list[float], held_out: float) -> Scores:
    sound = all(map(math.isfinite, values))
    interval = corrected_interval(values, held_out, LEVEL) if sound else None
    return Scores(values, math.fsum(values) / len(values) if sound else math.nan, interval)


def _sizes(outcome: Outcome) -> Mapping[str, int]:
    """The samples of each part; of an outcome that was read they are a plain table."""
    data: Any = outcome.data
    sizes: Mapping[str, int] = data["samples"] if isinstance(data, Mapping) else data.samples
    return sizes
