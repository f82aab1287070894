"""The run folder: recipe, environment, what the task learned, log, checkpoints, outcome.

recipe.toml        complete; enough to run it again
environment.json   versions, threads, hardware, git commit
task/              what the task learned from its data, checksummed
metrics.jsonl      one line for each stretch of training and each evaluation
checkpoints/       see checkpoint.py
outcome.json       how it ended
report.html        curves, tables, samples
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import Requirement

from labwright.errors import LabwrightError, RunFailed
from labwright.plugins import Plugins

if TYPE_CHECKING:
    import torch
    from torch import nn

    from labwright.data_summary import DataSummary
    from labwright.interfaces import Task

Status = Literal["finished", "stopped", "interrupted", "failed"]


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
        with suppress(OSError):
            (self.folder / "outcome.json").write_text(json.dumps(self.json(), indent=1) + "\n", encoding="utf-8")


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
    return LabwrightError(f"can't write the run folder {folder}: {error.strerror}. Give another one with --folder.")


class Log:
    """metrics.jsonl: appended line by line, cut back to a step when a run is resumed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records = 0

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record. Raises RunFailed if the disk takes no more."""
        try:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunFailed(f"can't write {self.file}: {error.strerror}. What was logged before is kept.") from error
        self.records += 1

    def cut(self, records: int) -> None:
        """Drop what was logged after that many records, and a last line that was never finished."""
        kept = [json.dumps(record) + "\n" for record in islice(read_log(self.file), records)]
        replacing = self.file.with_suffix(".tmp")
        replacing.write_text("".join(kept), encoding="utf-8")
        replacing.replace(self.file)
        self.records = len(kept)


def read_log(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a metrics.jsonl; a torn last line is left out."""
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def environment(plugins: Plugins, device: torch.device, threads: int | None = None) -> dict[str, Any]:
    """What a result may depend on beside the recipe, for JSON; `threads` are the run's, None: the process's."""
    import torch

    versions = {"labwright": metadata.version("labwright")}
    for plugin in plugins.loaded:
        if not plugin.version:
            continue
        versions[plugin.distribution] = plugin.version
        for line in metadata.requires(plugin.distribution) or ():
            requirement = Requirement(line)
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
        "git": _git(),
        "command": sys.argv,
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments and can change the last bits of a result, in words."""
    kinds = ("torch", "device", "device_name", "threads", "platform")
    return [f"{kind} was {before.get(kind)}, is {now[kind]}" for kind in kinds if before.get(kind) != now[kind]]


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git() -> dict[str, Any] | None:
    try:
        commit = _git_says("rev-parse", "HEAD")
        return {"commit": commit.strip(), "changed": bool(_git_says("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git_says(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=5).stdout  # noqa: S607
