"""The folder of a study, and the name that is its own: what labwright wrote there, and nothing else is deleted.

study.json        says whose folder it is: the study's id, its name, and the storage that has its trials
journal.log       the storage, unless another was given
lock              held by the process that drives the study
trials/0007       recipe, log and outcome of a trial
best.toml         the best trial's recipe; front/ holds those of several goals
confirm/          the runs of --confirm; confirmed.json and confirmed.toml say what came of them
report.html       what came of it all, to look at
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from labwright import LabwrightError, listed
from labwright.engine import refuse_links, write_json

MARKER = "study.json"
LOCK = "lock"
JOURNAL = "journal.log"
JOURNALS = (JOURNAL, f"{JOURNAL}.flock")
OURS = (
    *(MARKER, LOCK, *JOURNALS),
    *("best.toml", "confirmed.json", "confirmed.toml", "report.html", "trials", "confirm", "front"),
)
LONGEST = 100  # characters of a study's name


@dataclass(frozen=True)
class Marker:
    """Whose folder it is. `storage` is the URL without a password."""

    id: str
    name: str
    storage: str


def checked_name(name: str) -> str:
    """A study's name, which is that of its folder. Raises LabwrightError for one that could be another folder."""
    plain = name.isprintable() and name == name.strip() and not any(character in name for character in "/\\")
    if not plain or not name or name.startswith(".") or len(name.encode()) > LONGEST:
        raise LabwrightError(
            f"given the study's name {name!r}; it is that of a folder in studies/: up to {LONGEST} letters, digits and "
            "signs, without slashes, and not with a dot or a space first."
        )
    return name


def marker_of(folder: Path) -> Marker | None:
    """Whose folder it is; None if it has no marker. Raises LabwrightError for one that says nothing."""
    file = folder / MARKER
    if not file.is_file():
        return None
    try:
        kept = json.loads(file.read_bytes())
        return Marker(str(kept["id"]), str(kept["name"]), str(kept["storage"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabwrightError(
            f"{file} can't be read, so that nobody knows whose folder it is: {type(error).__name__}: {error}. If it is "
            f"this study's, remove that file; it is written anew."
        ) from error


def check_folder(folder: Path, *, begun: bool, journal: bool) -> None:
    """Raises LabwrightError if a folder holds links, or something else than a study that is about to be run.

    `begun` says that the storage has the study already, `journal` that the storage is a journal in the folder.
    """
    if folder.is_dir():
        refuse_links(folder)
    marker = marker_of(folder)
    if marker is not None and not begun:
        raise LabwrightError(
            f"{folder} is the folder of the study {marker.name!r} in {marker.storage}, and this storage has no such "
            "study. Give another --name, or the storage that it was begun with."
        )
    foreign = [name for name in _names(folder) if name not in ((LOCK, *JOURNALS) if journal else (LOCK,))]
    if marker is None and foreign and not (begun and journal):
        raise LabwrightError(f"{folder} is there and holds {listed(foreign)}, but no study. Give another --name.")


def claim(folder: Path, study: Marker) -> None:
    """Take a folder for a study that its storage has. Raises LabwrightError if it is another's, or can't be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)  # whoever joins a study has none yet
    except OSError as error:
        raise LabwrightError(f"the folder {folder} can't be made: {error.strerror}. Give another --name.") from error
    marker = marker_of(folder)
    if marker is None:
        write_json(folder / MARKER, asdict(study))
    elif marker.id != study.id:
        raise LabwrightError(
            f"{folder} is the folder of the study {marker.name!r} in {marker.storage}, not of that in {study.storage}. "
            "Give another --name."
        )


def cleared(folder: Path) -> list[str]:
    """Delete what labwright wrote into a study's folder, and the folder if nothing else is in it. Returns the rest.

    Links are removed and not followed.
    """
    for name in _names(folder):
        path = folder / name
        if name in OURS or _unfinished(name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    rest = list(_names(folder))
    if not rest and not folder.is_symlink():
        folder.rmdir()
    return rest


def emptied(folder: Path) -> Path:
    """A trial's folder, without the files of an attempt before."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.is_symlink() or not path.is_dir():
                path.unlink()
    return folder


def untold(folder: Path, numbers: Iterable[int]) -> list[int]:
    """The trials that have ended in a study's folder and aren't among those that its storage says have ended."""
    ended = {int(name) for name in _names(folder / "trials") if name.isdecimal() and _ended(folder / "trials" / name)}
    return sorted(ended - set(numbers))


def _ended(trial: Path) -> bool:
    return (trial / "outcome.json").is_file()


def _names(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        yield from sorted(path.name for path in folder.iterdir())


def _unfinished(name: str) -> bool:
    """Whether it is a file of ours whose process died before it was whole."""
    return name.endswith(".part") and any(name.startswith(f".{ours}.") for ours in OURS)
