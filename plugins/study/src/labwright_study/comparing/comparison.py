"""Which is really better? Each candidate is trained with the same seeds, and the differences are judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labwright import Goal, LabwrightError, Outcome, Plugins
from labwright.base.locks import Lock

from labwright_study.comparing.candidates import Candidate, candidates, common_goal
from labwright_study.comparing.folder import RESULT, flat, keep, opened, sources_in
from labwright_study.comparing.report import write_report
from labwright_study.comparing.runs import Job, outcomes_of, value_of
from labwright_study.paired_tests import LEVEL, Direction, Pair, finite, mean_interval, paired

if TYPE_CHECKING:
    from labwright_study.comparing.candidates import Sources


@dataclass(frozen=True)
class Standing:
    """One candidate: its value for each seed, None where the run failed, with the reasons by seed."""

    name: str
    folder: Path
    values: list[float | None]
    mean: float | None
    interval: tuple[float, float] | None
    seconds: float
    failures: dict[int, str]


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison. `settings` are those in which the candidates differ, by dotted path and candidate."""

    folder: Path
    metric: str
    direction: Direction
    split: str
    level: float
    seeds: int
    candidates: list[Standing]
    pairs: list[Pair]
    settings: dict[str, dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return {"state": "done"} | asdict(self)

    def sentences(self) -> list[str]:
        """The verdicts in words; where there are several pairs, what they come to is the first."""
        said = [pair.sentence() for pair in self.pairs]
        best = self.best
        if len(self.pairs) < 2 or best is None:
            return said
        mine = [pair for pair in self.pairs if best in (pair.first, pair.second)]
        beaten = [str(pair.worse) for pair in mine if pair.better == best]
        others = [pair.second if pair.first == best else pair.first for pair in mine if pair.better is None]
        line = f"{best} has the best mean"
        line += f", and is better than {' and '.join(beaten)}" if beaten else ""
        line += f"; it isn't shown to be better than {' or '.join(others)}" if others else ""
        return [f"{line}.", *said]

    @property
    def best(self) -> str | None:
        """The candidate with the best mean, which need not be shown to be better; None if two share it."""
        means = {one.name: one.mean for one in self.candidates if one.mean is not None}
        if not means:
            return None
        best = (min if self.direction == "minimize" else max)(means.values())
        named = [name for name, mean in means.items() if math.isclose(mean, best, rel_tol=1e-12)]
        return named[0] if len(named) == 1 else None

    @property
    def winner(self) -> str | None:
        """The candidate that is shown to be better than each of the others, if one is."""
        for one in self.candidates:
            if all(pair.better == one.name for pair in self.pairs if one.name in (pair.first, pair.second)):
                return one.name
        return None


def compare(
    sources: Sources = (),
    seeds: int = 10,
    *,
    metric: str | None = None,
    level: float = LEVEL,
    folder: Path | str | None = None,
    overrides: Iterable[str] = (),
    plugins: Plugins | Sequence[object] = (),
    quiet: bool = False,
) -> Comparison:
    """Train every candidate with seeds 0, 1, ... and say which is better, by how much, and how sure that is.

    A source is an experiment, or `[NAME=]SOURCE [field=value ...]` with a recipe's name, a file that ends in .toml, a
    run folder or a trial of a study; a dict gives names. `metric`, the goal of all candidates by default, is measured
    on `test`, or on `valid` where a candidate has no test part. `overrides` hold for all. A `folder` that is there is
    gone on with: what has finished isn't run again, and more seeds are added; `sources` can be left out then. A run
    that fails doesn't end the rest.

    Raises LabwrightError for candidates that can't be compared, and for a folder that holds other ones.
    Source: Colas, Sigaud & Oudeyer 2018, "How Many Random Seeds?"; Bouthillier et al. 2021 on paired seeds.

    Example: `lw.compare({"wide": "vision/digits-mlp model.width=256", "narrow": "vision/digits-mlp"}, seeds=8)`
    """
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 2:
        raise LabwrightError(f"seeds: given {seeds!r}; a comparison needs a whole number from 2 on.")
    if not 0 < level < 1:
        raise LabwrightError(f"level: given {level!r}; it is the rate of false alarms, such as 0.05.")
    known = plugins if isinstance(plugins, Plugins) else Plugins.discover().extended(plugins)
    found = candidates(sources if sources or folder is None else sources_in(folder), overrides, known)
    goal = common_goal(found, metric)
    quieted = [Candidate(one.name, one.experiment.varied({"log": [], "train.seed": 0})) for one in found]
    place, notes = opened(folder, quieted)
    notes = [*(f"{one.name}: {note}" for one in found for note in one.experiment.notes), *notes, *_data_note(quieted)]
    jobs = [
        Job(one.name, seed, one.experiment.varied({"train.seed": seed}), place / one.folder / f"seed-{seed}")
        for seed in range(seeds)  # seed by seed, so that one that is interrupted has whole pairs
        for one in quieted
    ]
    lock = Lock(place)
    lock.acquire()
    try:
        outcomes = outcomes_of(jobs, place, goal, quiet=quiet)
    finally:
        lock.release()
    result = _judged(place, quieted, outcomes, goal, level, seeds, notes)
    keep(place / RESULT, result.json())
    write_report(result)
    return result


# ------------------------------------------------------------------------------------------------------- the verdict


def _judged(
    place: Path,
    found: Sequence[Candidate],
    outcomes: Mapping[tuple[str, int], Outcome],
    goal: Goal,
    level: float,
    seeds: int,
    notes: Sequence[str],
) -> Comparison:
    ended = [outcome for outcome in outcomes.values() if outcome.status != "failed"]
    split = "test" if all("test" in outcome.metrics for outcome in ended) else "valid"
    standings = []
    for one in found:
        mine = [outcomes[one.name, seed] for seed in range(seeds)]
        standings.append(_standing(one, place, mine, split, goal, level))
    pairs = paired({one.name: one.values for one in standings}, goal.direction, level=level)
    notes = list(notes)
    if split == "valid":
        notes.append("measured on valid, because there is no test part for all; what was tuned on it looks too good.")
    for standing in standings:
        if standing.failures:
            lost = ", ".join(map(str, standing.failures))
            notes.append(
                f"{standing.name} failed with {len(standing.failures)} of {seeds} seeds ({lost}), which are left out; "
                "what is left may look better than it is."
            )
    return Comparison(
        folder=place,
        metric=goal.metric,
        direction=goal.direction,
        split=split,
        level=level,
        seeds=seeds,
        candidates=standings,
        pairs=pairs,
        settings=_differing(found),
        notes=notes,
    )


def _standing(one: Candidate, place: Path, mine: Sequence[Outcome], split: str, goal: Goal, level: float) -> Standing:
    values: list[float | None] = []
    failures = {}
    for seed, outcome in enumerate(mine):
        value = math.nan if outcome.status == "failed" else value_of(outcome, split, goal.metric, one.name)
        values.append(value if math.isfinite(value) else None)
        if not math.isfinite(value):
            failures[seed] = outcome.reason if outcome.status == "failed" else f"{goal.metric} is {value}"
    seen = finite(values)
    return Standing(
        name=one.name,
        folder=place / one.folder,
        values=values,
        mean=sum(seen) / len(seen) if seen else None,
        interval=mean_interval(seen, 1 - level) if len(seen) > 1 else None,
        seconds=sum(outcome.seconds for outcome in mine) / len(mine),
        failures=failures,
    )


def _differing(found: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """The settings in which the candidates' recipes differ."""
    settings = {one.name: dict(flat(one.experiment.table())) for one in found}
    paths = dict.fromkeys(path for one in settings.values() for path in one)
    return {
        path: {name: one.get(path) for name, one in settings.items()}
        for path in paths
        if len({repr(one.get(path)) for one in settings.values()}) > 1
    }


def _data_note(found: Sequence[Candidate]) -> Iterator[str]:
    data = {one.name: dict(flat(one.experiment.table())).get("task.data") for one in found}
    if len(set(map(repr, data.values()))) > 1:
        each = ", ".join(f"{name} {value}" for name, value in data.items())
        yield f"the candidates' data differ ({each}), so they aren't measured on the same samples."
