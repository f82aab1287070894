"""The best trials again, over seeds the search hasn't seen: what they really are, and how much of a lead was luck."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomli_w
import typer
from optuna.trial import FrozenTrial, TrialState

from labwright.errors import LabwrightError
from labwright.feeding import derived
from labwright.selection import Selection, selection_bias
from labwright.study.trial import Group, Result, Spec

if TYPE_CHECKING:
    from labwright.study.book import Book
    from labwright.study.study import Study
    from labwright.study.workers import Pool


@dataclass(frozen=True)
class Confirmation:
    """`selection` says what the fresh seeds say, on `valid`; `test` is each trial's mean on `test`, if there is one."""

    selection: Selection
    seeds: list[int]
    test: dict[str, float]

    def json(self) -> dict[str, Any]:
        return {"seeds": self.seeds, "test": self.test} | self.selection.json()

    def lines(self) -> Iterator[str]:
        """A table of the trials and what a person should know, as text."""
        yield "again over fresh seeds, best in the search first:"
        for one in self.selection.trials:
            mean = "failed" if one.mean is None else f"{one.mean:.5g}"
            between = "" if one.interval is None else f" ({one.interval[0]:.5g} to {one.interval[1]:.5g})"
            test = f", on test {self.test[one.name]:.5g}" if one.name in self.test else ""
            yield f"  {one.name}: {one.searched:.5g} in the search, {mean}{between} over {one.seeds} seeds{test}"
        yield from self.selection.sentences()


def confirmed(study: Study, book: Book, pool: Pool, *, top: int, seeds: int) -> Confirmation:
    """Run the `top` best trials over `seeds` fresh seeds each; writes confirmed.json and confirmed.toml.

    Raises LabwrightError if there is no complete trial, or the study has several goals.
    """
    if len(study.goals) > 1:
        raise LabwrightError("--confirm is about one winner, and a study of several goals has none.")
    goal = study.goals[0]
    complete = book.trials(TrialState.COMPLETE)
    if not complete:
        raise LabwrightError(f"the study {study.name!r} has no complete trial to confirm.")
    sign = -1 if goal.direction == "maximize" else 1
    ranked = sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))
    best = {_name(trial): trial for trial in ranked[:top]}
    fresh = [derived(study.seed, 11, number) % 2**31 for number in range(seeds)]
    results = {name: [None] * seeds for name in best}  # type: dict[str, list[Result | None]]
    specs = [
        (Spec(index, study.space.values(trial.params) | {"train.seed": seed}, _folder(study, trial, seed), tested=True))
        for index, (trial, seed) in enumerate((trial, seed) for trial in best.values() for seed in fresh)
    ]
    for result in pool.run((Group((spec,)) for spec in specs), lambda *_: False):
        name = list(best)[result.number // seeds]
        results[name][result.number % seeds] = result
        if not study.quiet:
            value = f"{goal.metric} {result.values[0]:.5g}" if result.values else result.reason
            typer.echo(f"{name} again, seed {fresh[result.number % seeds]}: {value}", err=True)
    values = {
        name: [one.values[0] if one and one.state == "complete" else None for one in each]
        for name, each in results.items()
    }
    selection = selection_bias({_name(trial): trial.values[0] for trial in complete}, values, goal.direction)
    found = Confirmation(selection, fresh, _tests(results, goal.metric))
    (study.folder / "confirmed.json").write_text(json.dumps(found.json(), indent=1) + "\n", encoding="utf-8")
    if selection.first is not None:
        with suppress(TypeError):  # objects from Python have no recipe
            recipe = tomli_w.dumps(study.recipe_of(best[selection.first]))
            (study.folder / "confirmed.toml").write_text(recipe, encoding="utf-8")
    return found


def _tests(results: dict[str, list[Result | None]], metric: str) -> dict[str, float]:
    found = {}
    for name, each in results.items():
        values = [
            one.metrics["test"][metric] for one in each if one is not None and metric in one.metrics.get("test", {})
        ]
        if values:
            found[name] = statistics.mean(values)
    return found


def _name(trial: FrozenTrial) -> str:
    return f"trial {trial.number}"


def _folder(study: Study, trial: FrozenTrial, seed: int) -> str:
    return str(study.folder / "confirm" / f"{trial.number:04d}" / f"seed-{seed}")
