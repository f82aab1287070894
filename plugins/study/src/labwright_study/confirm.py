"""The best trials again, over seeds the search hasn't seen: what they really are, and how much of a lead was luck."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labwright import Goal
from optuna.trial import FrozenTrial

from labwright_study.paired_tests import in_brackets, spread
from labwright_study.selection import Selection, selection_bias
from labwright_study.trial import Result

Plan = Sequence[tuple[FrozenTrial, int]]  # trials and the seeds they are run again with


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
        """Everything, ready for JSON."""
        return {"seeds": self.seeds, "test": self.test, "asked": self.asked} | self.selection.json()

    def lines(self) -> Iterator[str]:
        """A table of the trials and what a person should know, as text."""
        yield "again over fresh seeds, best in the search first:"
        for trial in self.selection.trials:
            mean = "failed" if trial.mean is None else f"{trial.mean:.5g}"
            seen = spread(trial.interval, trial.range, trial.seeds, self.selection.confidence, ".5g")
            test = f", on test {self.test[trial.name]:.5g}" if trial.name in self.test else ""
            again = f"{mean} over fresh seeds{in_brackets(seen)}{test}"
            yield f"  {trial.name}: {trial.searched:.5g} in the search, {again}"
        yield from self.selection.sentences()
        if self.interrupted:
            yield f"It was interrupted: this is what {len(self.seeds)} of {self.asked} seeds say."


def confirmed(
    complete: Sequence[FrozenTrial],
    goal: Goal,
    *,
    top: int,
    seeds: Sequence[int],
    train: Callable[[Plan], Iterator[Result]],
    say: Callable[[str], None],
) -> Confirmation:
    """Run the `top` best of the complete trials again, each over all seeds.

    `train` runs a plan; the number of a result is its place in the plan. It goes seed by seed, so that one that is
    interrupted has whole seeds: the others are left out. `say` shows a line for each run. Raises KeyboardInterrupt
    where no seed is whole.
    """
    sign = -1 if goal.direction == "maximize" else 1
    ranked = sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))[:top]
    plan = [(trial, seed) for seed in seeds for trial in ranked]
    results: dict[str, dict[int, Result]] = {name_of(trial): {} for trial in ranked}
    for result in train(plan):
        trial, seed = plan[result.number]
        results[name_of(trial)][seed] = result
        value = f"{goal.metric} {result.values[0]:.5g}" if result.values else result.reason
        say(f"{name_of(trial)} again, seed {seed}: {value}")
    whole = [seed for seed in seeds if all(seed in by_seed for by_seed in results.values())]
    if not whole:
        raise KeyboardInterrupt
    kept = {name: [by_seed[seed] for seed in whole] for name, by_seed in results.items()}
    values = {
        name: [result.values[0] if result.state == "complete" else None for result in its_results]
        for name, its_results in kept.items()
    }
    searched = {name_of(trial): trial.values[0] for trial in complete}
    selection = selection_bias(searched, values, goal.direction)
    return Confirmation(selection, whole, _tests(kept, goal.metric), len(seeds))


def name_of(trial: FrozenTrial) -> str:
    """What a trial is called where it is told of."""
    return f"trial {trial.number}"


def _tests(results: Mapping[str, Sequence[Result]], metric: str) -> dict[str, float]:
    """The mean of each trial's values on `test`, of those that have some."""
    means = {}
    for name, its_results in results.items():
        tests = (result.metrics.get("test", {}) for result in its_results)
        values = [test[metric] for test in tests if metric in test]
        if values:
            means[name] = statistics.mean(values)
    return means
