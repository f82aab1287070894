"""The run folder: recipe, environment, what the task learned, log, checkpoints, outcome.

recipe.toml        complete; enough to run it again
environment.json   versions, threads, hardware, git commit
task/              what the task learned from its data, checksummed
metrics.jsonl      one line for each stretch of training and each evaluation
checkpoints/       see checkpoint.py
outcome.json       how it ended
report.html        curves, tables, samples
.lock              held by the process that writes here, see locks.py

Every file is written whole or not at all and through no link, see files.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import InvalidRequirement, Requirement

from labwright import git
from labwright.errors import LabwrightError, RunFailed
from labwright.files import append_line, json_text, numbers, sync, write_json, write_text
from labwright.plugins import Plugins

if TYPE_CHECKING:
    import torch
    from torch import nn

    from labwright.data_summary import DataSummary
    from labwright.interfaces import Task

Status = Literal["finished", "stopped", "interrupted", "failed"]

SECRETS = "password|passwd|secret|token|api[-_]?key|access[-_]?key"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the status, its reason in words, the steps done, and the last metrics of each split.

    `samples` says of how many samples a split's metrics are; `notes` is what to know besides, a sentence each.
    """

    status: Status
    reason: str
    step: int
    metrics: dict[str, dict[str, float]]
    seconds: float
    folder: Path
    samples: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    data: DataSummary | None = None

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder)}

    def write(self) -> None:
        """Write outcome.json; a disk that takes no more doesn't hide the outcome itself."""
        with suppress(RunFailed):
            write_json(self.folder / "outcome.json", self.json())

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """What `write` wrote. Raises OSError, ValueError, TypeError or KeyError if it isn't there or is torn."""
        told = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        return cls(**(told | {"folder": folder, "metrics": numbers(told["metrics"])}))


@dataclass
class Run:
    """A run as hook implementations see it."""

    folder: Path
    recipe: Mapping[str, Any]
    task: Task
    model: nn.Module
    device: torch.device
    total_steps: int
    steps_per_epoch: int
    name: str = "experiment"
    step: int = 0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    data: DataSummary | None = None
    notes: list[str] = field(default_factory=list)
    best: float | None = None
    outcome: Outcome | None = None

    @property
    def epoch(self) -> float:
        return self.step / self.steps_per_epoch


def new_folder(name: str, parent: Path = Path("runs")) -> Path:
    """Make and return `parent/NAME-001`, or the next number that is free.

    Raises LabwrightError if the folder can't be written.
    """
    stem = name.replace("/", "-")
    number = 1
    while True:
        folder = parent / f"{stem}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            if not parent.is_dir():
                raise LabwrightError(f"can't make the run folder {folder}: {parent} is a file.") from error
            number += 1
            continue
        except OSError as error:
            raise _unwritable(folder, error) from error
        return folder


def claim_folder(folder: Path) -> Path:
    """Make the folder a run was told to use. Raises LabwrightError if something is in it or it can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        filled = any(folder.iterdir())
    except OSError as error:
        raise _unwritable(folder, error) from error
    if filled:
        raise LabwrightError(
            f"the run folder {folder} isn't empty. Give another one, or go on with `labwright resume {folder}`."
        )
    return folder


def _unwritable(folder: Path, error: OSError) -> LabwrightError:
    return LabwrightError(f"can't write the run folder {folder}: {error.strerror}. Give another one.")


class Log:
    """metrics.jsonl: appended line by line, cut back to a step when a run is resumed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records, self._digest = 0, hashlib.sha256()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record. Raises RunFailed if the disk takes no more."""
        line = json_text(record)
        try:
            append_line(self.file, line)
        except OSError as error:
            raise RunFailed(f"can't write {self.file}: {error.strerror}. What was logged before is kept.") from error
        self._take(line)

    def mark(self, *, durable: bool = True) -> dict[str, Any]:
        """What a checkpoint says of the log until now, for `cut`; `durable` sees that all of it has reached the disk.

        The digest is of everything but the times, which are others each time a run is made.
        """
        if durable and self.file.exists():
            sync(self.file)
        return {"records": self.records, "sha256": self._digest.hexdigest()}

    def cut(self, mark: Mapping[str, Any]) -> list[str]:
        """Drop what was logged after a mark, and lines that are torn. Returns what differs from the mark, in words."""
        lines = _lines(self.file)[: mark["records"]]
        torn = [number for number, (_, record) in enumerate(lines, 1) if record is None]
        self.records, self._digest = 0, hashlib.sha256()
        kept = [line for line, record in lines if record is not None]
        for line in kept:
            self._take(line)
        write_text(self.file, "".join(line + "\n" for line in kept))
        notes = [f"line {number} of {self.file} is torn and left out." for number in torn]
        if len(lines) < mark["records"]:
            notes.append(f"{self.file} has {len(lines)} of the {mark['records']} lines it had at this checkpoint.")
        elif not torn and self.mark(durable=False) != mark:
            notes.append(f"{self.file} holds other values than it did at this checkpoint.")
        return [f"{note} Curves, and rules that end a run, go by what is left." for note in notes]

    def _take(self, line: str) -> None:
        record = json.loads(line)
        record.pop("seconds", None)
        self.records += 1
        self._digest.update(json_text(record).encode())


def read_log(file: Path, torn: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """The records of a metrics.jsonl. Lines that are torn are left out; their numbers, from 1, are added to `torn`."""
    for number, (_, record) in enumerate(_lines(file), 1):
        if record is not None:
            yield record
        elif torn is not None:
            torn.append(number)


def _lines(file: Path) -> list[tuple[str, dict[str, Any] | None]]:
    """Each line of a log, as it stands and as it reads, None if it is torn.

    A last line without an end is left out: it was being written when its process died.
    """
    if not file.is_file():
        return []
    lines = []
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            record = numbers(json.loads(line))
            _check(record)
        except (ValueError, TypeError, KeyError, AttributeError):
            record = None
        lines.append((line, record))
    return lines


def _check(record: dict[str, Any]) -> None:
    """Raises some error for what is no record of a log."""
    if record["event"] == "evaluation":
        str.strip(record["split"])
        values = [*record["metrics"].values(), record["step"]]
    elif record["event"] == "train":
        values = [value for name, value in record.items() if name != "event"]
    else:
        raise ValueError(record["event"])
    for value in values:
        float(value)


def environment(plugins: Plugins, device: torch.device, threads: int | None = None) -> dict[str, Any]:
    """What a result may depend on beside the recipe, for JSON; `threads` are the run's, None: the process's."""
    import torch

    versions = {"labwright": metadata.version("labwright")}
    for plugin in plugins.loaded:
        if not plugin.version:
            continue
        versions[plugin.distribution] = plugin.version
        for line in metadata.requires(plugin.distribution) or ():
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                versions[line] = "no requirement that can be read"
                continue
            if requirement.marker is None:
                versions[requirement.name] = _version(requirement.name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": threads or torch.get_num_threads(),
        "cores": os.cpu_count(),
        "distributions": dict(sorted(versions.items())),
        "git": git.commit(),
        "command": without_secrets(sys.argv),
    }


def without_secrets(words: Iterable[str]) -> list[str]:
    """A command's words, with *** for passwords in URLs and for the values of passwords, tokens and keys."""
    said: list[str] = []
    hidden = False
    for word in words:
        shown = re.sub(r"(\w://[^\s:/@]*):\S*@", r"\1:***@", word)
        shown = re.sub(rf"(?i)((?:^|[\W_])(?:{SECRETS})[\"']?\s*=\s*)\S.*", r"\1***", shown)
        said.append("***" if hidden else shown)
        hidden = re.fullmatch(rf"(?i)--?[\w-]*(?:{SECRETS})", word) is not None
    return said


def plain(recipe: Mapping[str, Any]) -> Any:
    """A recipe's tables as a checkpoint keeps them: as JSON gives them back."""
    return json.loads(json_text(recipe, default=str))


def changes(before: Any, recipe: Mapping[str, Any], where: Iterable[str] = ()) -> list[str]:
    """What a recipe says otherwise than one that `plain` gave, as `path from VALUE to VALUE`; what only watches is left
    out. `where` are the paths that matter, all if there are none.
    """
    was, now = dict(_leaves(before)), dict(_leaves(plain(recipe)))
    matter = tuple(where)
    return [
        f"{path} from {_said(was, path)} to {_said(now, path)}"
        for path in dict.fromkeys([*was, *now])
        if was.get(path, ...) != now.get(path, ...)
        and path.partition(".")[0] not in ("log", "search")
        and (not matter or any(f"{path}.".startswith(f"{one}.") for one in matter))
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or path):
        for key, one in value.items():
            yield from _leaves(one, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _said(values: Mapping[str, Any], path: str) -> str:
    return json_text(values[path]) if path in values else "nothing"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments and can change the last bits of a result, in words."""
    kinds = ("torch", "device", "device_name", "threads", "platform")
    return [f"{kind} was {before.get(kind)}, is {now[kind]}" for kind in kinds if before.get(kind) != now[kind]]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
