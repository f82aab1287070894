"""Whether what is about to be computed fits into the machine's memory: said in numbers before it begins."""

from __future__ import annotations

import os
from pathlib import Path

from labwright.errors import LabwrightError

_GROUPS = (  # what a container may use, and its own share of it: cgroups of version 2 and 1
    ("memory.max", "memory.stat", "anon"),
    ("memory/memory.limit_in_bytes", "memory/memory.stat", "total_rss"),
)


def free(root: Path = Path("/")) -> int | None:
    """Bytes that can be taken without swapping, within the limits of a container; None where nothing says so.

    Where the system doesn't say what is free, it is all there is. `root` is where /proc and /sys are.
    """
    found = [known for known in (_of_machine(root), *(_of_group(root, *group) for group in _GROUPS)) if known]
    return min(found, default=None)


def enough(needed: int, what: str, instead: str) -> None:
    """Raises LabwrightError if there is less memory than `what` needs, in bytes; `instead` is what to do then."""
    there = free()
    if there is not None and needed > there:
        raise LabwrightError(f"{what} needs {gigabytes(needed)} of memory, and {gigabytes(there)} are free. {instead}")


def gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"


def _of_machine(root: Path) -> int | None:
    try:
        facts = dict(line.split(":") for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines())
        return 1024 * int(facts["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        names = getattr(os, "sysconf_names", {})
        pages = os.sysconf("SC_PHYS_PAGES") if "SC_PHYS_PAGES" in names else 0
        return pages * os.sysconf("SC_PAGE_SIZE") if pages > 0 else None


def _of_group(root: Path, limit: str, statistics: str, own: str) -> int | None:
    """What a container has left; None without a limit."""
    folder = root / "sys/fs/cgroup"
    try:
        allowed = int((folder / limit).read_text(encoding="ascii"))
        used = dict(line.split() for line in (folder / statistics).read_text(encoding="ascii").splitlines())[own]
        return max(1, allowed - int(used))
    except (OSError, ValueError, KeyError):
        return None
