"""The folder of a comparison: begun for its candidates, or gone on with if they are the same.

comparison.json          what came of it; at first only that it was begun
environment.json         versions, threads, hardware, git commit
report.html              what came of it, to look at
CANDIDATE/recipe.toml    what is compared
CANDIDATE/seed-0/        recipe, log and outcome of a run; there are no checkpoints
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from labwright import Experiment, LabwrightError
from labwright.cli.shared import new_folder
from labwright.engine import differences, environment, refuse_links, write_json, write_text

from labwright_study.comparing.candidates import Candidate, slug

RESULT = "comparison.json"
LONGEST = 40  # characters of a folder's name


def opened(folder: Path | str | None, candidates: Sequence[Candidate]) -> tuple[Path, list[str]]:
    """The comparison's folder, and notes. Raises LabwrightError for one that holds something else."""
    if folder is None:
        name = "-vs-".join(one.folder for one in candidates)
        if len(name) > LONGEST:
            name = f"{candidates[0].folder[:LONGEST]}-and-{len(candidates) - 1}-more"
        place = new_folder(name, Path("comparisons"))
    else:
        place = Path(folder)
        if (place / RESULT).is_file():
            refuse_links(place)
            return place, _gone_on_with(place, candidates)
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise LabwrightError(f"{place} is there and holds no comparison. Give another --folder.")
    try:
        for candidate in candidates:
            (place / candidate.folder).mkdir(parents=True)
            write_text(place / candidate.folder / "recipe.toml", tomli_w.dumps(candidate.experiment.table()))
        write_json(place / "environment.json", _environment(candidates))
        write_json(place / RESULT, {"state": "begun", "candidates": [{"name": one.name} for one in candidates]})
    except OSError as error:
        raise LabwrightError(f"can't write the folder {place}: {error.strerror}. Give another --folder.") from error
    return place, []


def sources_in(folder: Path | str) -> dict[str, Path]:
    """The candidates that a comparison's folder holds, by name. Raises LabwrightError if it holds none."""
    place = Path(folder)
    if not (place / RESULT).is_file():
        raise LabwrightError(f"{place} holds no comparison to go on with, so say what is to be compared.")
    return {name: place / slug(name) / "recipe.toml" for name in _names(place)}


def written(experiment: Experiment) -> dict[str, Any]:
    """The experiment's table as it comes back from a file."""
    return tomllib.loads(tomli_w.dumps(experiment.table()))


def flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a recipe by dotted path; a component's name stands at the component's own path."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{key}.")
        else:
            yield (path.rstrip(".") if key == "name" and path else f"{path}{key}"), value


def _gone_on_with(place: Path, candidates: Sequence[Candidate]) -> list[str]:
    """Notes on going on. Raises LabwrightError where the folder's candidates are others."""
    before, now = _names(place), [candidate.name for candidate in candidates]
    if sorted(now) != sorted(before):
        raise LabwrightError(
            f"{place} compares {', '.join(before)}; given {', '.join(now)}. Give another --folder, or the same ones."
        )
    for candidate in candidates:
        try:
            recipe = tomllib.loads((place / candidate.folder / "recipe.toml").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(place, error) from error
        kept, given = dict(flat(recipe)), dict(flat(written(candidate.experiment)))
        for path in {**kept, **given}:
            if kept.get(path) != given.get(path):
                raise LabwrightError(
                    f"{place} compares another {candidate.name!r}: {path} was {kept.get(path)!r}, is "
                    f"{given.get(path)!r}. Give another --folder, or the same settings."
                )
    try:
        earlier = json.loads((place / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    differing = differences(earlier, _environment(candidates))
    return [f"earlier runs of this comparison were made otherwise: {'; '.join(differing)}."] if differing else []


def _names(place: Path) -> list[str]:
    try:
        result = json.loads((place / RESULT).read_text(encoding="utf-8"))
        return [str(candidate["name"]) for candidate in result["candidates"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(place, error) from error


def _damaged(place: Path, error: Exception) -> LabwrightError:
    return LabwrightError(f"{place} can't be gone on with: {type(error).__name__}: {error}. Give another --folder.")


def _environment(candidates: Sequence[Candidate]) -> dict[str, Any]:
    first = candidates[0].experiment
    return environment(first.plugins, first.device.build().find())
