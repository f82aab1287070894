"""The best trials again, over seeds the search hasn't seen: what they really are, and how much of a lead was luck."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomli_w
import typer
from labwright import LabwrightError, derived_seed
from labwright.base.files import write_json, write_text
from optuna.trial import FrozenTrial, TrialState

from labwright_study.selection import Selection, selection_bias
from labwright_study.trial import Group, Result, Spec

if TYPE_CHECKING:
    from labwright_study.study import Study
    from labwright_study.trial_store import TrialStore
    from labwright_study.workers import Pool


@dataclass(frozen=True)
class Confirmation:
    """`selection` says what the fresh seeds say, on `valid`; `test` is each trial's mean on `test`, if there is one.

    `seeds` are those that all trials were run with: fewer than the `asked` if it was interrupted.
    """

    selection: Selection
    seeds: list[int]
    test: dict[str, float]
    asked: int

    @property
    def interrupted(self) -> bool:
        return len(self.seeds) < self.asked

    def json(self) -> dict[str, Any]:
        return {"seeds": self.seeds, "test": self.test, "asked": self.asked} | self.selection.json()

    def lines(self) -> Iterator[str]:
        """A table of the trials and what a person should know, as text."""
        yield "again over fresh seeds, best in the search first:"
        for one in self.selection.trials:
            mean = "failed" if one.mean is None else f"{one.mean:.5g}"
            between = "" if one.interval is None else f" ({one.interval[0]:.5g} to {one.interval[1]:.5g})"
            test = f", on test {self.test[one.name]:.5g}" if one.name in self.test else ""
            yield f"  {one.name}: {one.searched:.5g} in the search, {mean}{between} over {one.seeds} seeds{test}"
        yield from self.selection.sentences()
        if self.interrupted:
            yield f"It was interrupted: this is what {len(self.seeds)} of {self.asked} seeds say."


def confirmed(study: Study, book: TrialStore, pool: Pool, *, top: int, seeds: int) -> Confirmation:
    """Run the `top` best trials over `seeds` fresh seeds each; writes confirmed.json and confirmed.toml.

    Seed by seed, so that one that is interrupted has whole seeds: the others are left out. Raises LabwrightError if
    there is no complete trial, or the study has several goals; KeyboardInterrupt before the first seed is whole.
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
    fresh = [derived_seed(study.seed, 11, number) % 2**31 for number in range(seeds)]
    plan = [(seed, name) for seed in fresh for name in best]
    specs = (
        Spec(index, study.values(best[name]) | {"train.seed": seed}, _folder(study, best[name], seed), tested=True)
        for index, (seed, name) in enumerate(plan)
    )
    results: dict[str, dict[int, Result]] = {name: {} for name in best}
    for result in pool.run((Group((spec,)) for spec in specs), lambda *_: False):
        seed, name = plan[result.number]
        results[name][seed] = result
        if not study.quiet:
            value = f"{goal.metric} {result.values[0]:.5g}" if result.values else result.reason
            typer.echo(f"{name} again, seed {seed}: {value}", err=True)
    whole = [seed for seed in fresh if all(seed in each for each in results.values())]
    if not whole:
        raise KeyboardInterrupt
    values = {
        name: [each[seed].values[0] if each[seed].state == "complete" else None for seed in whole]
        for name, each in results.items()
    }
    selection = selection_bias({_name(trial): trial.values[0] for trial in complete}, values, goal.direction)
    kept = {name: [each[seed] for seed in whole] for name, each in results.items()}
    found = Confirmation(selection, whole, _tests(kept, goal.metric), seeds)
    write_json(study.folder / "confirmed.json", found.json())
    if selection.first is not None:
        with suppress(TypeError):  # objects from Python have no recipe
            write_text(study.folder / "confirmed.toml", tomli_w.dumps(study.recipe_of(best[selection.first])))
    return found


def _tests(results: Mapping[str, Sequence[Result]], metric: str) -> dict[str, float]:
    found = {}
    for name, each in results.items():
        values = [one.metrics["test"][metric] for one in each if metric in one.metrics.get("test", {})]
        if values:
            found[name] = statistics.mean(values)
    return found


def _name(trial: FrozenTrial) -> str:
    return f"trial {trial.number}"


def _folder(study: Study, trial: FrozenTrial, seed: int) -> str:
    return str(study.folder / "confirm" / f"{trial.number:04d}" / f"seed-{seed}")
