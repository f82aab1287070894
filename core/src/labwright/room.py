"""Room for a model: a tensor that this machine's memory doesn't hold is refused before it is allocated."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

LARGE = 2**30  # bytes; smaller ones aren't asked about
_MAKERS = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)


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
    free = _free()
    if free is not None and wanted > free:
        raise ValueError(
            f"it asks for a tensor of shape {shape}, which takes {wanted / 1e9:,.1f} GB of memory; "
            f"{free / 1e9:,.1f} GB are free"
        )


def _free() -> int | None:
    """Bytes that can still be allocated; None where that can't be told."""
    if sys.platform == "win32":
        return None
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return 1024 * (kilobytes["MemAvailable"] + kilobytes["SwapFree"])
    except (OSError, ValueError, KeyError, IndexError):  # no Linux: what the machine has
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
