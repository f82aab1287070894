"""Every hook of labwright. A plugin implements those it needs, marked with `labwright.hookimpl`.

The first four say what a plugin brings; they are called at discovery, so that its module imports nothing heavy. The
others are called by a run, for the plugin that implements them and for the recipe's loggers and stopping rules. An
OSError once a run has begun, as of a broken pipe, ends nothing but the calls of that hook, with a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from torch import Tensor

    from labwright.interfaces.run import Outcome, Run

hookspec = pluggy.HookspecMarker("labwright")
hookimpl = pluggy.HookimplMarker("labwright")
"""Marks a function or method as what is called for the hook of its name.

Raises nothing: a hook that isn't there, or other arguments, set the plugin aside when it is loaded.

Example: `@lw.hookimpl
def labwright_logged(step, values): print(step, values["loss"])`
"""


@dataclass(frozen=True)
class Component:
    """One thing a recipe can name: what it is, what it is called, where its code is.

    `kind` is task, data, model, loss, optimizer, device, logger, stop, or one that a plugin adds. `name` is kebab-case,
    `domain/name`. `target` is `module:attribute`, imported when the component is first used: a class, or a function
    that returns the object. A name that ends in `/*` is a family: its target is a mapping from the rest of the name to
    a class.
    `summary` is one line for `labwright list`.

    Example: `lw.Component("model", "proteins/esm", "labwright_proteins.models:ESM", "protein language model")`
    """

    kind: str
    name: str
    target: str
    summary: str


@dataclass(frozen=True)
class Recipe:
    """A complete experiment as a TOML file. `name` is `domain/name`; `path` the file; `summary` one line.

    Example: `lw.Recipe("proteins/folds", Path(__file__).parent / "recipes" / "folds.toml", "fold recognition")`
    """

    name: str
    path: Path
    summary: str


@dataclass(frozen=True)
class Kind:
    """A kind of component: what it is called, and what its components are.

    `base` is the class they derive from, or what a function returns, as `module:Class`, imported when the first of them
    is used; "" asks for none. `heading` is its plural, in `labwright list`. `chosen` says in a few words where one of
    them is named, such as `tune --sampler`.

    Example: `lw.Kind("scorer", "labwright_proteins.scoring:Scorer", "scorers", "fold --scorer")`
    """

    name: str
    base: str
    heading: str
    chosen: str


@dataclass(frozen=True)
class Verb:
    """A word that follows `labwright`: `name` is kebab-case, `target` a function as Typer takes it, `module:attribute`.

    The target is imported when the verb is used or asked for help; its docstring is the help, whose last paragraph
    begins with `Example:`. It takes `ctx: typer.Context`, whose `obj.plugins` are the plugins, and should take
    `as_json: labwright.cli.shared.Json`. `summary` is one line for `labwright --help`, `group` the heading it stands
    under there. A verb that `trains` (or evaluates) first says which plugins did not load, and minds labwright.lock.

    Example: `lw.Verb("fold", "labwright_proteins.fold:verb", "predict a structure", trains=True)`
    """

    name: str
    target: str
    summary: str
    group: str = ""
    trains: bool = False


@hookspec
def labwright_kinds() -> Iterable[Kind]:
    """Called at discovery: kinds of components this plugin adds. Must not import torch.

    Example: `yield lw.Kind("scorer", "labwright_proteins.scoring:Scorer", "scorers", "fold --scorer")`
    """
    raise NotImplementedError


@hookspec
def labwright_verbs() -> Iterable[Verb]:
    """Called at discovery: words this plugin adds to the command line. Must not import torch.

    Example: `yield lw.Verb("fold", "labwright_proteins.fold:verb", "predict the structure of a sequence")`
    """
    raise NotImplementedError


@hookspec
def labwright_components() -> Iterable[Component]:
    """Called at discovery: the components this plugin brings. Must not import torch.

    Example: `yield lw.Component("model", "proteins/esm", "labwright_proteins.models:ESM", "protein language model")`
    """
    raise NotImplementedError


@hookspec
def labwright_recipes() -> Iterable[Recipe]:
    """Called at discovery: the recipes this plugin brings. Must not import torch.

    Example: `yield lw.Recipe("proteins/folds", Path(__file__).parent / "recipes" / "folds.toml", "fold recognition")`
    """
    raise NotImplementedError


@hookspec
def labwright_preflight(experiment: Any, built: Any, folder: Path | None) -> None:
    """Called before a run has its folder, where it would be; without a folder for a study, once, and before a run is
    gone on with whose recipe was changed.

    `experiment` is a `labwright.Experiment`, `built` the `labwright.Built` that it has become; `built.metrics` are of a
    batch of each part, by split. Raise `labwright.LabwrightError(message)` to refuse it.

    Example: `def labwright_preflight(built): print(built.metrics)`
    """


@hookspec
def labwright_run_started(run: Run) -> None:
    """Called once, before the first step of a run or of its resumption; `run.step` is the number of steps done.

    Raise `labwright.StopRun(reason)` to end the run before it begins; any other error ends it as failed.

    Example: `def labwright_run_started(run): print(run.folder, run.total_steps)`
    """


@hookspec
def labwright_step_ended(run: Run, step: int, losses: Mapping[str, Tensor]) -> None:
    """Called after each step with the loss of every phase that was due, as scalars that still lie on the device.

    Reading one (`float(loss)`) makes a GPU wait: keep the tensors and read them later, or use `labwright_logged`.
    Raise `labwright.StopRun(reason)` to end the run early; any other error ends it as failed.

    Example: `def labwright_step_ended(step, losses): kept.append(losses["train"])`
    """


@hookspec
def labwright_logged(run: Run, step: int, values: Mapping[str, float]) -> None:
    """Called every `train.log_every` steps with numbers that have reached the host: `loss`, `lr`, `steps_per_second`.

    A run of several phases has `loss/PHASE` and `lr/PHASE`. On a GPU the call comes one interval late, so that the
    loop never waits. Raise `labwright.StopRun(reason)` to end the run early; any other error ends it as failed.

    Example: `def labwright_logged(step, values): writer.add_scalar("loss", values["loss"], step)`
    """


@hookspec
def labwright_evaluated(run: Run, step: int, split: str, metrics: Mapping[str, float]) -> None:
    """Called after each evaluation of a split, with the metrics just written to the run's log.

    Raise `labwright.StopRun(reason)` to end the run early; any other error ends it as failed.

    Example: `def labwright_evaluated(step, metrics): print(step, metrics["accuracy"])`
    """


@hookspec
def labwright_run_ended(run: Run, outcome: Outcome) -> None:
    """Called once when a run ends in whatever way; `outcome.status` is finished, stopped, interrupted or failed.

    Example: `def labwright_run_ended(run, outcome): notify(f"{run.folder}: {outcome.status}")`
    """
