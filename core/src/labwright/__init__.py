"""labwright: a plugin-based research framework on PyTorch. `import labwright as lw`.

Names that need torch are imported on first use, so that plugins can be listed without it.
"""

# ruff: noqa: F401 - the names for type checkers are those of _LATER
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from labwright.errors import LabwrightError, RunFailed, StopRun
from labwright.hookspecs import Component, Recipe, hookimpl

if TYPE_CHECKING:
    from labwright.config import Part
    from labwright.evaluation import Accuracy, Mean
    from labwright.experiment import Experiment, Train
    from labwright.interfaces import Batch, Data, Device, Goal, Group, Loss, Metric, Optimizer, Phase, Split, Task
    from labwright.ports import Audio, Classes, Features, Image, Interactions, Latent, Port, Tokens, Values
    from labwright.run import Outcome, Run
    from labwright.search import Choice, Integers, Uniform

_LATER = {
    "config": ["Part"],
    "evaluation": ["Accuracy", "Mean"],
    "experiment": ["Experiment", "Train"],
    "interfaces": ["Batch", "Data", "Device", "Goal", "Group", "Loss", "Metric", "Optimizer", "Phase", "Split", "Task"],
    "ports": ["Audio", "Classes", "Features", "Image", "Interactions", "Latent", "Port", "Tokens", "Values"],
    "run": ["Outcome", "Run"],
    "search": ["Choice", "Integers", "Uniform"],
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}

__all__ = ["Component", "LabwrightError", "Recipe", "RunFailed", "StopRun", "hookimpl", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'labwright' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"labwright.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
