"""labwright: a plugin-based research framework on PyTorch. `import labwright as lw`.

Names that need torch are imported on first use, so that plugins can be listed without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from labwright.errors import LabwrightError, RunFailed, StopRun
from labwright.hookspecs import Component, Recipe, hookimpl

if TYPE_CHECKING:
    from labwright.comparing.comparison import Comparison as Comparison
    from labwright.comparing.comparison import compare as compare
    from labwright.config import Part as Part
    from labwright.data import Batch as Batch
    from labwright.data import Data as Data
    from labwright.data import Labelled as Labelled
    from labwright.data import LeftOut as LeftOut
    from labwright.data import Split as Split
    from labwright.data import TensorSplit as TensorSplit
    from labwright.evaluation import Accuracy as Accuracy
    from labwright.evaluation import Mean as Mean
    from labwright.experiment import Experiment as Experiment
    from labwright.experiment import Train as Train
    from labwright.interfaces import Attachment as Attachment
    from labwright.interfaces import ClosedForm as ClosedForm
    from labwright.interfaces import Device as Device
    from labwright.interfaces import Goal as Goal
    from labwright.interfaces import Group as Group
    from labwright.interfaces import Loss as Loss
    from labwright.interfaces import Metric as Metric
    from labwright.interfaces import Optimizer as Optimizer
    from labwright.interfaces import Phase as Phase
    from labwright.interfaces import Task as Task
    from labwright.ports import Audio as Audio
    from labwright.ports import Classes as Classes
    from labwright.ports import Features as Features
    from labwright.ports import Image as Image
    from labwright.ports import Interactions as Interactions
    from labwright.ports import Latent as Latent
    from labwright.ports import Port as Port
    from labwright.ports import Tokens as Tokens
    from labwright.ports import Values as Values
    from labwright.run import Outcome as Outcome
    from labwright.run import Run as Run
    from labwright.search import Choice as Choice
    from labwright.search import Integers as Integers
    from labwright.search import Uniform as Uniform
    from labwright.study.study import Study as Study

_LATER = {
    "comparing.comparison": ["Comparison", "compare"],
    "config": ["Part"],
    "data": ["Batch", "Data", "Labelled", "LeftOut", "Split", "TensorSplit"],
    "evaluation": ["Accuracy", "Mean"],
    "experiment": ["Experiment", "Train"],
    "interfaces": [
        "Attachment",
        "ClosedForm",
        "Device",
        "Goal",
        "Group",
        "Loss",
        "Metric",
        "Optimizer",
        "Phase",
        "Task",
    ],
    "ports": ["Audio", "Classes", "Features", "Image", "Interactions", "Latent", "Port", "Tokens", "Values"],
    "run": ["Outcome", "Run"],
    "search": ["Choice", "Integers", "Uniform"],
    "study.study": ["Study"],
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
