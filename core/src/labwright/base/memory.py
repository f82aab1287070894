"""Memory: a tensor that this machine's doesn't hold is refused before it is allocated; what says that it is full."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

LARGE = 2**30  # bytes; smaller ones aren't asked about
_MAKERS = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)
_GROUPS = (  # a container's limit, and its own share of what is used: cgroups of version 2 and 1
    ("memory.max", "memory.stat", "anon"),
    ("memory/memory.limit_in_bytes", "memory/memory.stat", "total_rss"),
)


class Room(TorchFunctionMode):
    """Inside it, making a tensor that doesn't fit raises ValueError with its shape and the memory it takes."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func in _MAKERS:
            _check(args, given)
        return func(*args, **given)


def _check(args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
    sizes = given.get("size", args)
    shape = tuple(sizes[0]) if sizes and isinstance(sizes[0], tuple | list) else tuple(sizes)
    if not all(isinstance(size, int) for size in shape):
        return
    dtype = given.get("dtype") or torch.get_default_dtype()
    wanted = math.prod(shape) * dtype.itemsize
    if wanted < LARGE or torch.device(given.get("device") or torch.get_default_device()).type != "cpu":
        return
    free = free_memory()
    if free is not None and wanted > free:
        raise ValueError(
            f"it asks for a tensor of shape {shape}, which takes {wanted / 1e9:,.1f} GB of memory; "
            f"{free / 1e9:,.1f} GB are free"
        )


def out_of_memory(error: Exception) -> bool:
    """Whether an error is about memory; of the CPU's PyTorch has no error of its own, but words."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be taken without swapping, within the limits of a container; None where that can't be told.

    Where the system doesn't say what is free, it is all there is. `root` is where /proc and /sys are.

    Example: `fits = needed < (lw.free_memory() or needed + 1)`
    """
    limits = (_of_machine(root), *(_of_group(root, *group) for group in _GROUPS))
    return min((limit for limit in limits if limit), default=None)


def _of_machine(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(dict(line.split(":") for line in lines)["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError, IndexError):  # no Linux: what the machine has
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_group(root: Path, limit: str, statistics: str, own: str) -> int | None:
    """What a container has left; None without a limit."""
    folder = root / "sys/fs/cgroup"
    try:
        allowed = int((folder / limit).read_text(encoding="ascii"))
        used = dict(line.split() for line in (folder / statistics).read_text(encoding="ascii").splitlines())[own]
        return max(1, allowed - int(used))
    except (OSError, ValueError, KeyError):
        return None
