"""What is compared: recipes, run folders and trials of studies, each under a name of its own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labwright import LabwrightError, Plugins, listed, nearest

if TYPE_CHECKING:
    from labwright import Experiment, Goal

    Source = str | Path | Experiment
    Sources = Sequence[Source] | Mapping[str, Source]

_FILE = re.compile(r"(.*)\.toml(:[^:/]+|)")  # of a recipe, perhaps with a variant


@dataclass(frozen=True)
class Candidate:
    """An experiment under the name it has in the comparison."""

    name: str
    experiment: Experiment

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return slug(self.name)


def slug(name: str) -> str:
    """A name that can be a file's."""
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.")


def candidates(sources: Sources, overrides: Iterable[str], plugins: Plugins) -> list[Candidate]:
    """The candidates of a comparison: two or more, with the overrides applied to each.

    A source is an experiment or a text: `[NAME=]SOURCE [field=value ...]`, where SOURCE is a recipe's name, a file that
    ends in .toml, a `:VARIANT` of either, or a folder with a recipe.toml, such as a run's or a trial's.

    Raises LabwrightError.
    """
    common = list(overrides)
    if isinstance(sources, str | Path):
        sources = [sources]
    named = sources.items() if isinstance(sources, Mapping) else [(None, source) for source in sources]
    # All are read before the first is built, so that a misspelt name is answered at once.
    read = [(name, _read(source, plugins) if isinstance(source, str | Path) else source) for name, source in named]
    compared = []
    for name, source in read:
        if isinstance(source, _Text):
            settings = [*source.overrides, *common]
            compared.append(_named(name or source.name, _experiment(source.place, settings, plugins), settings))
        else:
            compared.append(_named(name or source.name, _varied(source, common), common))
    if len(compared) < 2:
        names = listed(candidate.name for candidate in compared)
        raise LabwrightError(
            f"a comparison needs two candidates or more; given {names}. The same recipe "
            'with other settings is one as well: labwright compare RECIPE "RECIPE field=value".'
        )
    taken: dict[str, str] = {}
    for candidate in compared:
        name, folder = candidate.name, candidate.folder
        if folder in taken:
            raise LabwrightError(
                f"two candidates are called {name!r}. Give one of them another name: NAME=SOURCE, a dict in Python."
                if name == taken[folder]
                else f"{taken[folder]!r} and {name!r} would have the same folder, {folder!r}. Give one of them another "
                "name: NAME=SOURCE, a dict in Python."
            )
        taken[folder] = name
    return compared


def check_names(sources: Iterable[str], plugins: Plugins) -> None:
    """Raises LabwrightError for a recipe that there isn't, without importing torch."""
    for source in sources:
        _read(source, plugins)


def common_goal(compared: Sequence[Candidate], metric: str | None) -> Goal:
    """What the candidates are measured by: the goal they have in common, or `metric` as NAME or NAME:minimize.

    Raises LabwrightError where there is no such goal, or the direction isn't known.
    """
    from labwright import Goal

    goals = {candidate.name: candidate.experiment.goal for candidate in compared}
    if metric is None:
        if len(set(goals.values())) > 1:
            each = ", ".join(f"{name} has {goal.metric} ({goal.direction})" for name, goal in goals.items())
            raise LabwrightError(
                f"the candidates have different goals: {each}. Name a metric that all of them report: --metric NAME."
            )
        return compared[0].experiment.goal
    name, colon, direction = metric.rpartition(":")
    if colon and direction in ("minimize", "maximize"):
        return Goal(name, direction)  # type: ignore[arg-type]
    known = {goal.direction for goal in goals.values() if goal.metric == metric}
    if len(known) != 1:
        raise LabwrightError(
            f"metric {metric!r} isn't the goal of a candidate, so say whether lower or higher is better: "
            f"{metric}:minimize or {metric}:maximize."
        )
    return Goal(metric, known.pop())


@dataclass(frozen=True)
class _Text:
    """A source in words: what it is called, where it is, what is changed in it."""

    name: str
    place: str
    overrides: list[str]


def _read(source: str | Path, plugins: Plugins) -> _Text:
    """A source's parts. Raises LabwrightError for a recipe's name that there isn't."""
    try:
        words = [str(source)] if isinstance(source, Path) or Path(source).exists() else shlex.split(source)
    except ValueError as error:
        raise LabwrightError(
            f"candidate {source!r} can't be read: {error}. A quote within it is closed within it: "
            "labwright compare RECIPE \"RECIPE log=['progress']\"."
        ) from error
    place, *overrides = words or [""]
    name, equals, after = place.partition("=")
    if equals and not Path(place).exists():
        place = after
    else:
        name = " ".join([_name_of(place), *overrides])
    path = Path(place)
    known = path.is_dir() or (path.parent != Path() and path.parent.is_dir())
    if not known and name.partition(".")[0] in ("task", "model", "loss", "optimizer", "train", "device"):
        raise LabwrightError(
            f'candidate {source!r} names no recipe: a setting stands behind its own, in quotes, as "RECIPE {source}", '
            "and for all candidates after --set."
        )
    if not known:
        plugins.recipe_file(place)
    return _Text(name, place, overrides)


def _varied(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    from labwright.engine import parsed

    values = {path.strip(): value.strip() for path, _, value in (text.partition("=") for text in overrides)}
    return experiment.varied({path: parsed(value) if value else None for path, value in values.items()})


def _named(name: str, experiment: Experiment, overrides: Sequence[str]) -> Candidate:
    if any(text.partition("=")[0].strip() in ("train.seed", "train") for text in overrides):
        raise LabwrightError(f"candidate {name!r}: the comparison sets train.seed itself; say how many with --seeds.")
    if not slug(name):
        raise LabwrightError(f"candidate {name!r} needs a name with a letter or a number in it: NAME={name}.")
    return Candidate(name, experiment)


def _experiment(place: str, overrides: Sequence[str], plugins: Plugins) -> Experiment:
    from labwright import Experiment

    path = Path(place)
    if _FILE.fullmatch(place) or (path / "recipe.toml").is_file():
        recipe: str | Path = place if _FILE.fullmatch(place) else path / "recipe.toml"
        return Experiment.from_recipe(recipe, overrides, plugins=plugins)
    if (path / "trials").is_dir():
        raise LabwrightError(
            f"{place!r} is a study; a candidate is one of its trials, such as {path / 'trials' / '0000'}."
        )
    if place.partition(":")[0] not in plugins.names("recipe") and path.parent != Path() and path.parent.is_dir():
        runs = [str(recipe.parent) for recipe in path.parent.glob("*/recipe.toml")]
        raise LabwrightError(f"{place!r} is no run folder: it has no recipe.toml{nearest(place, runs)}")
    return Experiment.from_recipe(place, overrides, plugins=plugins)


def _name_of(place: str) -> str:
    """What a candidate is called by itself: the recipe, the file, the run, or the study and the trial."""
    path = Path(place)
    if (of_file := _FILE.fullmatch(path.name)) and path.name != "recipe.toml":
        return f"{of_file[1]}{of_file[2]}"
    folder = path.parent if path.name == "recipe.toml" else path
    if not (folder / "recipe.toml").is_file():
        return place
    folder = folder.resolve()
    return f"{folder.parent.parent.name}/{folder.name}" if folder.parent.name == "trials" else folder.name
