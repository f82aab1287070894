"""The optimizers of timm by the names of its registry: `timm/lion`, `timm/adan`, `timm/muon`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from labwright import Family
from labwright_tasks.library_optimizers import LibraryOptimizer

MOMENTUM = 0.9  # what timm's own factory gives every optimizer that takes a momentum


def _names() -> Iterable[str]:
    """Those that can be used here; what is left out, and why, stands beside the condition."""
    optim = _timm()
    for name in optim.list_optimizers():
        info = optim.get_optimizer_info(name)
        if (
            info.second_order
        ):  # adahessian: its step differentiates the gradients again, and their graph is gone by then
            continue
        if name.startswith("kron"):  # its state has lists, and a random generator of its own
            continue
        if isinstance(info.opt_class, str):  # of apex or bitsandbytes, which need a GPU
            package = info.opt_class.partition(".")[0]
            if not torch.cuda.is_available() or find_spec(package) is None:
                continue
        yield name


def _find(name: str) -> tuple[Callable[..., torch.optim.Optimizer], Mapping[str, Any]]:
    optim = _timm()
    info = optim.get_optimizer_info(name)
    defaults = dict(info.defaults or {})
    if info.has_momentum:
        defaults.setdefault("momentum", MOMENTUM)
    return optim.get_optimizer_class(name, bind_defaults=False), defaults


def _timm() -> Any:
    """timm.optim, imported when it is first asked for: it takes 7 s and brings torchvision."""
    return import_module("timm.optim")


TIMM: Mapping[str, type[LibraryOptimizer]] = Family("timm", _names, _find, LibraryOptimizer)
