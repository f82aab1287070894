"""labwright: a plugin-based research framework on PyTorch. `import labwright as lw`.

Every public name is here. Those that need torch are imported on first use, so that plugins can be listed without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from labwright.base import ranks
from labwright.base.errors import LabwrightError, RunFailed, StopRun
from labwright.plugin.hookspecs import Component, Kind, Recipe, Verb, hookimpl

if TYPE_CHECKING:
    from labwright.base.errors import Diverged as Diverged
    from labwright.base.errors import listed as listed
    from labwright.base.errors import located as located
    from labwright.base.errors import nearest as nearest
    from labwright.base.errors import sentence as sentence
    from labwright.base.isolation import isolated as isolated
    from labwright.base.memory import free_memory as free_memory
    from labwright.base.search import Choice as Choice
    from labwright.base.search import Integers as Integers
    from labwright.base.search import PerTrial as PerTrial
    from labwright.base.search import Uniform as Uniform
    from labwright.base.seeding import derived_seed as derived_seed
    from labwright.base.seeding import draws as draws
    from labwright.base.seeding import epoch_order as epoch_order
    from labwright.base.seeding import generator as generator
    from labwright.builtin.optimizers import AdamW as AdamW
    from labwright.config.compatibility import fitting_names as fitting_names
    from labwright.config.signature import Part as Part
    from labwright.config.signature import Setting as Setting
    from labwright.config.signature import signature as signature
    from labwright.data.batching import IndexedBatches as IndexedBatches
    from labwright.data.batching import Workers as Workers
    from labwright.data.batching import bucketed as bucketed
    from labwright.data.dataset import Augmented as Augmented
    from labwright.data.dataset import Batch as Batch
    from labwright.data.dataset import Data as Data
    from labwright.data.dataset import Finding as Finding
    from labwright.data.dataset import Input as Input
    from labwright.data.dataset import Labelled as Labelled
    from labwright.data.dataset import LeftOut as LeftOut
    from labwright.data.dataset import Ragged as Ragged
    from labwright.data.dataset import Sharded as Sharded
    from labwright.data.dataset import Split as Split
    from labwright.data.dataset import TensorSplit as TensorSplit
    from labwright.data.ports import Audio as Audio
    from labwright.data.ports import Classes as Classes
    from labwright.data.ports import Features as Features
    from labwright.data.ports import Heads as Heads
    from labwright.data.ports import Image as Image
    from labwright.data.ports import Interactions as Interactions
    from labwright.data.ports import Latent as Latent
    from labwright.data.ports import Port as Port
    from labwright.data.ports import Tokens as Tokens
    from labwright.data.ports import Values as Values
    from labwright.interfaces.closed_form import ClosedForm as ClosedForm
    from labwright.interfaces.device import Device as Device
    from labwright.interfaces.library import Family as Family
    from labwright.interfaces.library import LibraryOptimizer as LibraryOptimizer
    from labwright.interfaces.loss import LEFT_OUT as LEFT_OUT
    from labwright.interfaces.loss import Loss as Loss
    from labwright.interfaces.loss import normalizer as normalizer
    from labwright.interfaces.loss import separable as separable
    from labwright.interfaces.method import Method as Method
    from labwright.interfaces.method import Stateful as Stateful
    from labwright.interfaces.method import Steps as Steps
    from labwright.interfaces.method import Update as Update
    from labwright.interfaces.optimizer import Group as Group
    from labwright.interfaces.optimizer import Optimizer as Optimizer
    from labwright.interfaces.optimizer import Schedule as Schedule
    from labwright.interfaces.run import Outcome as Outcome
    from labwright.interfaces.run import Run as Run
    from labwright.interfaces.sections import Figure as Figure
    from labwright.interfaces.sections import Pictures as Pictures
    from labwright.interfaces.sections import Section as Section
    from labwright.interfaces.sections import Sounds as Sounds
    from labwright.interfaces.sections import Table as Table
    from labwright.interfaces.sections import Text as Text
    from labwright.interfaces.task import Attachment as Attachment
    from labwright.interfaces.task import Goal as Goal
    from labwright.interfaces.task import Metric as Metric
    from labwright.interfaces.task import Phase as Phase
    from labwright.interfaces.task import Task as Task
    from labwright.plugin.registry import Plugins as Plugins
    from labwright.runs.experiment import Experiment as Experiment
    from labwright.runs.load import load as load
    from labwright.runs.prepared import Prepared as Prepared
    from labwright.train.built import Built as Built
    from labwright.train.evaluation import evaluate as evaluate
    from labwright.train.evaluation import evaluating as evaluating
    from labwright.train.metrics import Accuracy as Accuracy
    from labwright.train.metrics import LogLoss as LogLoss
    from labwright.train.metrics import Mean as Mean
    from labwright.train.metrics import Of as Of
    from labwright.train.metrics import Perplexity as Perplexity
    from labwright.train.settings import Train as Train

# room and module -> the names in it
_LATER = {
    "base.errors": "Diverged listed located nearest sentence",
    "base.isolation": "isolated",
    "base.memory": "free_memory",
    "base.search": "Choice Integers PerTrial Uniform",
    "base.seeding": "derived_seed draws epoch_order generator",
    "builtin.optimizers": "AdamW",
    "config.compatibility": "fitting_names",
    "config.signature": "Part Setting signature",
    "data.batching": "IndexedBatches Workers bucketed",
    "data.dataset": "Augmented Batch Data Finding Input Labelled LeftOut Ragged Sharded Split TensorSplit",
    "data.ports": "Audio Classes Features Heads Image Interactions Latent Port Tokens Values",
    "interfaces.closed_form": "ClosedForm",
    "interfaces.device": "Device",
    "interfaces.library": "Family LibraryOptimizer",
    "interfaces.loss": "LEFT_OUT Loss normalizer separable",
    "interfaces.method": "Method Stateful Steps Update",
    "interfaces.optimizer": "Group Optimizer Schedule",
    "interfaces.run": "Outcome Run",
    "interfaces.sections": "Figure Pictures Section Sounds Table Text",
    "interfaces.task": "Attachment Goal Metric Phase Task",
    "plugin.registry": "Plugins",
    "runs.experiment": "Experiment",
    "runs.load": "load",
    "runs.prepared": "Prepared",
    "train.built": "Built",
    "train.evaluation": "evaluate evaluating",
    "train.metrics": "Accuracy LogLoss Mean Of Perplexity",
    "train.settings": "Train",
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names.split()}
_OF_STUDIES = ("Comparison", "Study", "compare")  # of the plugin that is called study, found through its entry point

__all__ = [
    "Component",
    "Kind",
    "LabwrightError",
    "Recipe",
    "RunFailed",
    "StopRun",
    "Verb",
    "hookimpl",
    "ranks",
    *_MODULE_OF,
    *_OF_STUDIES,
]


def __getattr__(name: str) -> Any:
    if name in _OF_STUDIES:
        value = _of_studies(name)
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(f"labwright.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'labwright' has no attribute {name!r}")
    globals()[name] = value
    return value


def _of_studies(name: str) -> Any:
    """A name of the plugin whose entry point is called `study`.

    Raises ImportError where it isn't installed: of an AttributeError `from labwright import Study` would lose the text.
    """
    from importlib import metadata

    for point in metadata.entry_points(group="labwright", name="study"):
        return getattr(importlib.import_module(point.module.partition(".")[0]), name)
    raise ImportError(f"labwright.{name} comes with labwright-study: pip install labwright[study]")


def __dir__() -> list[str]:
    return sorted(__all__)
