"""The studies of a folder, each as far as its storage tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labwright import LabwrightError, located

from labwright_study.folder import JOURNAL, MARKER, marker_of
from labwright_study.joining import stored
from labwright_study.storage import LEASE, Lease, reached
from labwright_study.trial_store import lost, state_of


@dataclass(frozen=True)
class Shelved:
    """A study in a folder: how many trials have ended of how many, how, and the best values by goal.

    `best` has the values of the best trial of one goal; of several goals `front` says how many no other beats. `at` is
    who runs it, `fault` why less is known of it.
    """

    name: str
    folder: Path
    trials: int | None = None
    of: int | None = None
    states: dict[str, int] = field(default_factory=dict)
    goals: list[str] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    front: int = 0
    at: str = ""
    fault: str = ""

    def json(self) -> dict[str, Any]:
        return vars(self) | {"folder": str(self.folder)}


def shelved_in(folder: Path) -> Iterator[Shelved]:
    """Every study whose folder lies in this one, by name. Raises LabwrightError if the folder isn't there."""
    if not folder.is_dir():
        raise LabwrightError(f"there is no folder {located(folder)}; `labwright tune RECIPE` makes studies/.")
    for path in sorted(folder.iterdir()):
        if path.is_dir() and ((path / MARKER).is_file() or (path / JOURNAL).is_file()):
            try:
                yield _shelved(path)
            except LabwrightError as error:
                yield Shelved(path.name, path, fault=str(error))


def _shelved(folder: Path) -> Shelved:
    marker = marker_of(folder)
    name = marker.name if marker else folder.name
    if not (folder / JOURNAL).is_file():
        where = marker.storage if marker else "another storage"
        return Shelved(name, folder, fault=f"kept in {where}: labwright study show {name} --storage URL")
    url = f"journal:{folder / JOURNAL}"
    with reached(url):
        storage, study, kept = stored(name, url)
        ended = [one for one in study.get_trials(deepcopy=False) if one.state.is_finished() and not lost(one)]
        complete = any(state_of(trial) == "complete" for trial in ended)
        metrics = [str(metric) for metric, _ in kept.get("goals", [])]
        single = complete and len(metrics) == 1
        return Shelved(
            name,
            folder,
            len(ended),
            kept.get("trials"),
            dict(Counter(map(state_of, ended))),
            [f"{direction} {metric}" for metric, direction in kept.get("goals", [])],
            {metrics[0]: study.best_value} if single else {},
            len(study.best_trials) if complete and not single else 0,
            Lease().held_by(storage.get_study_system_attrs(study._study_id).get(LEASE)),
        )
