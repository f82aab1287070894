"""Run folders as they lie on disk: where they are, what each holds, and how far it has come.

Nothing is written, and no folder ends it all: one that is damaged, half-written or being written is an entry that says
so.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import socket
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from labwright import LabwrightError, Plugins, located, nearest
from labwright.cli.shared import say

from labwright_instruments.runs.goals import Goal, goal_of
from labwright_instruments.runs.notes import Notes, read_notes

ENDED = ("finished", "stopped", "interrupted", "failed")  # as outcome.json says it
OTHERWISE = ("running", "crashed", "unfinished", "damaged")
TAIL = 1 << 20  # bytes of a log in which the last evaluations are looked for
TURNED_DOWN = (errno.EWOULDBLOCK, errno.EACCES)  # of a lock that somebody holds


@dataclass(frozen=True)
class Entry:
    """A run folder.

    `status` is that of its outcome, or `running`; `crashed` if its process ended without one; `unfinished` if nothing
    says whether somebody is at it; `damaged` if it can't be read. `fault` says why in words. `begun` is in seconds
    since 1970, `seconds` those spent on the run, `settings` are by dotted path, `variant` is that of its recipe's file.
    """

    folder: Path
    status: str
    fault: str = ""
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    begun: float | None = None
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    goal: Goal | None = None
    notes: Notes = field(default_factory=Notes)
    variant: str = ""

    @property
    def name(self) -> str:
        return str(self.folder)

    @cached_property
    def fields(self) -> dict[str, Any]:
        """All that can be asked of it, by name: settings by path, metrics as SPLIT.METRIC."""
        measured = {f"{split}.{name}": value for split, of in self.metrics.items() for name, value in of.items()}
        facts: dict[str, Any] = {"name": self.name, "status": self.status, "step": self.step, "steps": self.steps}
        facts |= {"seconds": self.seconds, "when": self.when, "fault": self.fault}
        if self.goal:
            facts["goal"] = self.goal.metric
            facts |= {split: measured.get(f"{split}.{self.goal.metric}") for split in ("valid", "test")}
        told = {"note": self.notes.note, "tag": list(self.notes.tags), "variant": self.variant}
        return measured | dict(self.settings) | {key: value for key, value in (facts | told).items() if value != ""}

    @property
    def when(self) -> str:
        from datetime import datetime

        return "" if self.begun is None else f"{datetime.fromtimestamp(self.begun):%Y-%m-%d %H:%M}"


def entries_below(folders: Iterable[Path], plugins: Plugins) -> list[Entry]:
    """Every run in these folders and below them, the one that was begun first before the others.

    Raises LabwrightError for a folder that isn't there, or if there is no run at all.
    """
    given = list(folders)
    paths = [path for folder in given for path in run_folders(folder)]
    if not paths:
        raise LabwrightError(
            f"there is no run in {', '.join(map(str, given))} or below. `labwright run RECIPE` makes one in runs/; "
            "name another folder to look there."
        )
    entries = [entry_of(path, plugins) for path in dict.fromkeys(paths)]
    return sorted(entries, key=lambda entry: (entry.begun or 0.0, entry.name))


def run_folders(folder: Path) -> Iterator[Path]:
    """A folder, if it is a run's, or those below it. Raises LabwrightError if it isn't there."""
    if not folder.is_dir():
        beside = [str(path) for path in folder.parent.glob("*/")] if folder.parent.is_dir() else []
        near = nearest(str(folder), beside, "; `labwright run RECIPE` makes runs in runs/.")
        raise LabwrightError(f"there is no folder {located(folder)}{near}")
    seen = set()
    for path, below, files in os.walk(folder, followlinks=True, onerror=_left_out):
        place = os.path.realpath(path)
        if place in seen:  # a link back to where we came from
            below.clear()
        elif _of_run({*below, *files}):
            below.clear()
            yield Path(path)
        seen.add(place)
        below[:] = sorted(name for name in below if not name.startswith("."))


def _left_out(error: OSError) -> None:
    say(f"note: {error.filename} is left out: {error.strerror}")


def one_run(folder: Path, plugins: Plugins) -> Entry:
    """The entry of a folder that has to be a run's. Raises LabwrightError if it isn't."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not _of_run(names):
        beside = [str(path) for path in folder.parent.glob("*/")] if folder.parent.is_dir() else []
        raise LabwrightError(
            f"{str(folder)!r} is no run folder{nearest(str(folder), beside)} `labwright runs` shows those that are."
        )
    return entry_of(folder, plugins)


def _of_run(names: set[str]) -> bool:
    """Whether a folder with these names in it is a run's: not a recipe alone, as comparisons have one a candidate."""
    begun = ".lock" in names and bool(names & {"recipe.toml", "task"})
    return begun or bool(names & {"outcome.json", "metrics.jsonl"}) or names >= {"recipe.toml", "environment.json"}


def entry_of(folder: Path, plugins: Plugins) -> Entry:
    """What a run folder holds; whatever it looks like, it is an entry."""
    faults: list[str] = []
    recipe = _recipe(folder, faults)
    outcome = _outcome(folder, faults)
    last = {} if outcome else _last(folder / "metrics.jsonl")
    notes = read_notes(folder, faults)
    status, why = _status(folder, outcome, faults)
    settings = {path: value for path, value in flat(recipe) if path.partition(".")[0] not in ("log", "search")}
    metrics = outcome.get("metrics", last.get("metrics", {}))
    step = outcome.get("step", last.get("step", 0 if recipe else None))
    return Entry(
        folder,
        status,
        why,
        step,
        step if status == "finished" else _steps(recipe, last),
        outcome.get("seconds", last.get("seconds")),
        _begun(folder),
        metrics,
        settings,
        goal_of(settings, {name for of in metrics.values() for name in of}, plugins),
        notes,
        _variant(folder),
    )


def flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a recipe by dotted path; a component's name stands at the component's own path."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{key}.")
        else:
            yield (path.rstrip(".") if key == "name" and path else f"{path}{key}"), value


def records(file: Path, torn: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """The records of a log, with numbers that aren't finite as numbers; the numbers of torn lines go to `torn`."""
    with suppress(OSError):
        yield from _parsed(file.read_bytes().split(b"\n")[:-1], torn)


def _parsed(lines: Iterable[bytes], torn: list[int] | None = None) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if record["event"] == "evaluation":
                record["metrics"] = {str(name): float(value) for name, value in record["metrics"].items()}
                str.strip(record["split"])
            else:
                record |= {name: float(value) for name, value in record.items() if name.split("/")[0] == "loss"}
            record["step"] = int(record["step"])
            yield record
        except (ValueError, TypeError, KeyError, AttributeError):
            if torn is not None:
                torn.append(number)


def _recipe(folder: Path, faults: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        faults.append("there is no recipe.toml")
    except (OSError, ValueError) as error:
        faults.append(f"recipe.toml can't be read: {_reason(error)}")
    return {}


def _variant(folder: Path) -> str:
    """Which variant of its recipe's file a run is of; nothing if of none, or where that isn't written down."""
    try:
        return str(json.loads((folder / "environment.json").read_text(encoding="utf-8"))["recipe"]["variant"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _outcome(folder: Path, faults: list[str]) -> dict[str, Any]:
    """What outcome.json says, with numbers where numbers belong; nothing if it isn't there or is torn."""
    try:
        told = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        if told["status"] not in ENDED:
            raise ValueError(f"status is {told['status']!r}")
        metrics = {
            str(split): {str(name): float(value) for name, value in of.items()} for split, of in told["metrics"].items()
        }
        return {
            "status": told["status"],
            "reason": str(told["reason"]),
            "step": int(told["step"]),
            "seconds": float(told["seconds"]),
            "metrics": metrics,
        }
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        faults.append(f"outcome.json can't be read: {_reason(error)}")
    return {}


def _last(log: Path) -> dict[str, Any]:
    """How far a log has come: step, seconds, steps an epoch has, and the last metrics of each split."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().split(b"\n")[size > TAIL : -1]
    except OSError:
        return {}
    last: dict[str, Any] = {"metrics": {}}
    for record in _parsed(lines):
        last |= {"step": record["step"], "seconds": record.get("seconds")}
        if record.get("epoch"):
            last["per_epoch"] = record["step"] / record["epoch"]
        if record["event"] == "evaluation":
            last["metrics"][record["split"]] = record["metrics"]
    return last


def _steps(recipe: Mapping[str, Any], last: Mapping[str, Any]) -> int | None:
    """How many steps a run that isn't over has in all: as the recipe says, or by what the log says of its epochs."""
    train = recipe.get("train")
    if not isinstance(train, Mapping):
        return None
    steps, epochs = train.get("steps"), train.get("epochs")
    if isinstance(steps, int):
        return steps
    per_epoch: float | None = last.get("per_epoch")
    return round(epochs * per_epoch) if isinstance(epochs, int) and per_epoch else None


def _begun(folder: Path) -> float | None:
    """When a run was begun, by the oldest of the files that are written then: resuming writes some of them anew."""
    times = []
    for name in ("recipe.toml", "environment.json", "task/read.json"):
        with suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    if not times:
        with suppress(OSError):
            times.append(folder.stat().st_mtime)
    return min(times, default=None)


def _status(folder: Path, outcome: Mapping[str, Any], faults: list[str]) -> tuple[str, str]:
    held, who = _held(folder / ".lock")
    told = "; ".join(faults)
    if held:
        return "running", told if outcome or "recipe" not in told else "it is being begun"
    if told:
        return "damaged", told
    if held is None:
        return "unfinished", who
    if who:  # a lock that wasn't given back is newer than whatever outcome there is
        return "crashed", f"{who} is gone without an outcome"
    if outcome:
        return str(outcome["status"]), "" if outcome["status"] == "finished" else outcome["reason"]
    if (folder / ".lock").exists():
        return "crashed", "it ended without an outcome"
    return "unfinished", "there is no outcome, and no lock that says whether it is still trained"


def _held(lock: Path) -> tuple[bool | None, str]:
    """Whether a process holds a run folder's lock, None if that can't be seen from here, and who wrote into it.

    The lock itself is tried only where a process is there that may hold it: a run that was beginning at that moment
    would find it taken.
    """
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False, ""
    try:
        process, _, host = os.read(handle, 200).decode(errors="replace").strip().partition(" ")
        here = host == socket.gethostname()
        who = f"process {process} on {host}" if process else ""
        if not who or (here and not _lives(process)):
            return False, who
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            # where there are no locks, a process of that number is all there is to go by
            return (True, who) if error.errno in TURNED_DOWN or here else (None, f"whether {who} lives can't be seen")
        return (False, who) if here else (None, f"whether {who} is still at it can't be seen from here")
    finally:
        os.close(handle)


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)
