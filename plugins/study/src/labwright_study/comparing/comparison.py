"""Which is really better? Each candidate is trained with the same seeds, and the differences are judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labwright import Goal, LabwrightError, Outcome, Plugins
from labwright.engine import Lock, Prepared, write_json

from labwright_study.comparing.candidates import Candidate, candidates, common_goal
from labwright_study.comparing.folder import RESULT, flat, opened, sources_in
from labwright_study.comparing.report import write_report
from labwright_study.comparing.result import Comparison, Standing
from labwright_study.comparing.runs import KEPT, Job, outcomes_of, try_out, value_of
from labwright_study.paired_tests import LEVEL, finite, interval_of, paired, range_of
from labwright_study.progress import say

if TYPE_CHECKING:
    from labwright_study.comparing.candidates import Sources


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
    given = candidates(sources if sources or folder is None else sources_in(folder), overrides, known)
    goal = common_goal(given, metric)
    compared = [Candidate(one.name, one.experiment.varied({"log": [], "train.seed": 0})) for one in given]
    tasks = Prepared(KEPT)
    if folder is None or not (Path(folder) / RESULT).is_file():  # what is gone on with has passed it
        try_out(compared, goal, tasks)
    own = [f"{one.name}: {note}" for one in given for note in one.experiment.notes]
    for note in [] if quiet else own:
        say(f"note: {note}")
    place, notes = opened(folder, compared)
    notes = [*own, *notes, *_data_note(compared)]
    jobs = [
        Job(one.name, seed, one.experiment.varied({"train.seed": seed}), place / one.folder / f"seed-{seed}")
        for seed in range(seeds)  # seed by seed, so that one that is interrupted has whole pairs
        for one in compared
    ]
    lock = Lock(place)
    lock.acquire()
    try:
        outcomes = outcomes_of(jobs, place, goal, tasks, quiet=quiet)
    finally:
        lock.release()
    result = _judged(place, compared, outcomes, goal, level, seeds, notes)
    write_json(place / RESULT, result.json())
    write_report(result)
    return result


# ------------------------------------------------------------------------------------------------------- the verdict


def _judged(
    place: Path,
    compared: Sequence[Candidate],
    outcomes: Mapping[tuple[str, int], Outcome],
    goal: Goal,
    level: float,
    seeds: int,
    notes: Sequence[str],
) -> Comparison:
    ended = [outcome for outcome in outcomes.values() if outcome.status != "failed"]
    split = "test" if all("test" in outcome.metrics for outcome in ended) else "valid"
    standings = [
        _standing(candidate, place, [outcomes[candidate.name, seed] for seed in range(seeds)], split, goal, level)
        for candidate in compared
    ]
    pairs = paired({standing.name: standing.values for standing in standings}, goal.direction, level=level)
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
        settings=_differing(compared),
        notes=notes,
    )


def _standing(
    candidate: Candidate, place: Path, outcomes: Sequence[Outcome], split: str, goal: Goal, level: float
) -> Standing:
    values: list[float | None] = []
    failures = {}
    for seed, outcome in enumerate(outcomes):
        value = math.nan if outcome.status == "failed" else value_of(outcome, split, goal.metric, candidate.name)
        values.append(value if math.isfinite(value) else None)
        if not math.isfinite(value):
            failures[seed] = outcome.reason if outcome.status == "failed" else f"{goal.metric} is {value}"
    measured = finite(values)
    return Standing(
        name=candidate.name,
        folder=place / candidate.folder,
        values=values,
        mean=sum(measured) / len(measured) if measured else None,
        interval=interval_of(measured, level),
        range=range_of(measured),
        seconds=sum(outcome.seconds for outcome in outcomes) / len(outcomes),
        failures=failures,
    )


def _differing(compared: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """The settings in which the candidates' recipes differ."""
    settings = {candidate.name: dict(flat(candidate.experiment.table())) for candidate in compared}
    paths = dict.fromkeys(path for recipe in settings.values() for path in recipe)
    return {
        path: {name: recipe.get(path) for name, recipe in settings.items()}
        for path in paths
        if len({repr(recipe.get(path)) for recipe in settings.values()}) > 1
    }


def _data_note(compared: Sequence[Candidate]) -> Iterator[str]:
    data = {candidate.name: dict(flat(candidate.experiment.table())).get("task.data") for candidate in compared}
    if len(set(map(repr, data.values()))) > 1:
        each = ", ".join(f"{name} {value}" for name, value in data.items())
        yield f"the candidates' data differ ({each}), so they aren't measured on the same samples."
