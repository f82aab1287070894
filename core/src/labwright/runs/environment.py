"""What a result may depend on beside the recipe: versions, threads, hardware, the git commit."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement

from labwright.base import ranks
from labwright.plugin.registry import Plugins
from labwright.runs import git

if TYPE_CHECKING:
    import torch


SECRETS = "password|passwd|secret|token|api[-_]?key|access[-_]?key"


def environment(plugins: Plugins, device: torch.device, threads: int | None = None) -> dict[str, Any]:
    """What a result may depend on beside the recipe, for JSON; `threads` are the run's, None: the process's."""
    import torch

    named = tuple((plugin.distribution, plugin.version) for plugin in plugins.loaded if plugin.version)
    searched = tuple((place, Path(place).stat().st_mtime_ns) for place in sys.path if Path(place).is_dir())
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "processor": _processor(),
        "threads": threads or torch.get_num_threads(),
        "processes": ranks.count(),
        "cores": os.cpu_count(),
        "distributions": _versions(named, searched),
        "git": git.commit(),
        "command": without_secrets(sys.argv),
    }


def environment_of(folder: Path) -> dict[str, Any]:
    """What a run folder's environment.json says, or nothing where it is missing or torn."""
    try:
        return dict(json.loads((folder / "environment.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


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


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments and can change the last bits of a result, in words."""
    kinds = ("torch", "device", "device_name", "processes", "threads", "platform")
    before = {"processes": 1, **before}  # of before there could be several
    return [f"{kind} was {before.get(kind)}, is {now[kind]}" for kind in kinds if before.get(kind) != now[kind]]


def _processor() -> str:
    """The processor's name; the kind of machine where the system doesn't tell it."""
    file = Path("/proc/cpuinfo")
    named = re.search(r"(?m)^model name\s*: (.+)$", file.read_text(encoding="utf-8") if file.is_file() else "")
    return named[1] if named else platform.processor() or platform.machine()


@cache
def _versions(plugins: tuple[tuple[str, str], ...], _searched: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """The versions of plugins and of what they require, looked up anew where an installation changed what is searched.

    To look them up takes longer than a small run.
    """
    versions = {"labwright": metadata.version("labwright"), **dict(plugins)}
    for line in [line for distribution, _ in plugins for line in metadata.requires(distribution) or ()]:
        try:
            requirement = Requirement(line)
            if requirement.marker is None:  # what an extra or a platform asks for may rightly be missing
                versions[requirement.name] = metadata.version(requirement.name)
        except InvalidRequirement:
            versions[line] = "no requirement that can be read"
        except metadata.PackageNotFoundError:
            versions[requirement.name] = "not installed"
    return dict(sorted(versions.items()))
