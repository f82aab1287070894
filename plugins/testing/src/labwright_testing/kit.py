"""The conformance kit's frame: what a check is, what it is given, and what came of it.

A check is a function of a Subject that raises AssertionError; its docstring says what must hold and how to mend it.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from labwright import (
    Batch,
    Built,
    ClosedForm,
    Component,
    Experiment,
    Kind,
    LabwrightError,
    Plugins,
    Prepared,
    Recipe,
    Setting,
    Task,
    Verb,
    fitting_names,
    nearest,
    signature,
)
from packaging.utils import canonicalize_name
from torch import Generator, Tensor, nn

KEPT = 8  # tasks in memory: those of one plugin's recipes, as a rule
TRIED = ("task", "data", "model", "loss", "optimizer", "method", "device")  # what stands in every recipe
TRIED_IN_RECIPES: list[Check] = []  # in the order in which `check` made them
Declared = Component | Recipe | Verb | Kind
Recipes = Mapping[str, str | Sequence[str] | Experiment]  # by `KIND NAME`; texts are a recipe's name and overrides
Inputs = Mapping[str, Sequence[str]]  # by `KIND NAME` of tasks and data: lines as `labwright predict` takes them
LISTS = {"logger": "log", "stop": "stop"}  # where a recipe lists components of these kinds
Tried = Callable[["Subject"], None]


class NotApplicable(Exception):
    """A check has nothing to look at in this component; the reason is shown.

    Example: `raise NotApplicable("it has no settings")`
    """


@dataclass(frozen=True)
class Check:
    """A function of a Subject that raises AssertionError, and the kinds it is for; `component` is every component's.

    The function's docstring says what must hold and how to mend it.

    Example: `Check(has_a_licence, ("data",))`
    """

    function: Tried
    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.function.__name__.replace("_", "-")

    @property
    def mend(self) -> str:
        return inspect.getdoc(self.function) or ""

    def applies(self, subject: Subject) -> bool:
        return subject.kind in self.kinds or ("component" in self.kinds and isinstance(subject.declared, Component))


def check(*kinds: str) -> Callable[[Tried], Tried]:
    """Make a function a check of these kinds of component; its name becomes kebab-case."""

    def registered(function: Tried) -> Tried:
        TRIED_IN_RECIPES.append(Check(function, kinds))
        return function

    return registered


@dataclass(frozen=True)
class Finding:
    """What came of a check of one thing; `found` is empty if nothing was wrong.

    Example: `print(*(finding.found for finding in quick_findings(lw.Plugins.discover(), "proteins")))`
    """

    check: Check
    label: str
    found: str


def findings(subjects: Iterable[Subject], checks: Iterable[Check]) -> Iterator[Finding]:
    """Try every check on every thing it is for; a check that has nothing to look at is passed over.

    Example: `list(findings(Kit(lw.Plugins.discover()).subjects("proteins"), CHECKS.values()))`
    """
    checks = list(checks)
    for subject in subjects:
        for check in checks:
            if not check.applies(subject):
                continue
            fault = ""
            try:
                check.function(subject)
            except NotApplicable:
                continue
            except (AssertionError, LabwrightError) as error:
                fault = str(error)
            except Exception as error:  # noqa: BLE001 - of somebody's component; it is what the check found
                fault = traceback.format_exception_only(error)[-1].strip()
            yield Finding(check, subject.label, fault)


# --------------------------------------------------------------------------------------------------- what is looked at


@dataclass
class Kit:
    """The plugins of a session, and the tasks that were prepared for their components.

    `recipes` maps `KIND NAME` to what it is tried in, `inputs` to what it is to read, as in `conformance`.

    Example: `Kit(lw.Plugins.discover()).subjects("proteins")`
    """

    plugins: Plugins
    recipes: Recipes = field(default_factory=dict)
    inputs: Inputs = field(default_factory=dict)
    tasks: Prepared = field(default_factory=lambda: Prepared(KEPT))
    _read: dict[tuple[str, ...], Experiment | None] = field(default_factory=dict, init=False, repr=False)
    _fitting: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict, init=False, repr=False)

    def experiment(self, recipe: str, overrides: Sequence[str] = ()) -> Experiment | None:
        """A recipe as it stands, read once for all that is tried in it; None if it can't be."""
        if (key := (recipe, *overrides)) not in self._read:
            try:
                self._read[key] = Experiment.from_recipe(recipe, overrides, plugins=self.plugins)
            except LabwrightError:
                self._read[key] = None
        return self._read[key]

    def fits(self, kind: str, name: str, recipe: str) -> bool:
        """Whether a component goes with a recipe's task, as `labwright list --fitting` says."""
        if (key := (kind, recipe)) not in self._fitting:
            try:
                self._fitting[key] = frozenset(fitting_names(kind, recipe, self.plugins))
            except LabwrightError:
                self._fitting[key] = frozenset()
        return name in self._fitting[key]

    def subjects(self, name: str = "") -> list[Subject]:
        """What a plugin or distribution declares; what all do, if none is named.

        Raises LabwrightError if it isn't in use.
        """
        names = [(plugin, {plugin.name, plugin.distribution}) for plugin in self.plugins.plugins]
        owners = [plugin for plugin, own in names if canonicalize_name(name) in map(canonicalize_name, own)]
        if name and not owners:
            close = nearest(name, [known for _, own in names for known in own])
            raise LabwrightError(f"no plugin is called {name!r}{close} Is it installed?")
        for plugin in owners:
            if plugin.state != "loaded":
                raise LabwrightError(f"plugin {plugin.name} is {plugin.state}: {plugin.reason}")
        return [Subject(self, declared) for plugin in owners or self.plugins.loaded for declared in plugin.brings]


class Subject:
    """One thing that a plugin declares, under test: a component and a recipe it stands in, or a recipe, verb or kind.

    `label` is `KIND NAME`, where the kind may be recipe, verb or kind; `owner` the plugin that declares it.

    Example: `Subject(kit, kit.plugins.find("model", "proteins/esm"))`
    """

    def __init__(self, kit: Kit, declared: Declared) -> None:
        self.kit, self.plugins, self.declared = kit, kit.plugins, declared
        self.kind = declared.kind if isinstance(declared, Component) else type(declared).__name__.lower()
        self.label = f"{self.kind} {declared.name}"
        self.owner = self.plugins.owners(self.kind, declared.name)[0][0]
        self.notes: list[str] = []  # what checks have to say that is no failure

    @cached_property
    def name(self) -> str:
        """Its name, or that of a family's first member. Raises LabwrightError if the family can't be loaded."""
        if not isinstance(self.declared, Component) or not self.declared.name.endswith("/*"):
            return self.declared.name
        first: str = next(iter(self.plugins.target(self.declared)))
        return self.declared.name[:-1] + first

    @cached_property
    def target(self) -> Any:
        """The class or function behind it. Raises LabwrightError if it can't be loaded."""
        if isinstance(self.declared, Component):
            return self.plugins.load(self.kind, self.name)
        if isinstance(self.declared, Kind):
            return self.plugins.base(self.declared.name)
        assert isinstance(self.declared, Verb), "a recipe has no target"
        return self.plugins.target(self.declared)

    @cached_property
    def settings(self) -> Mapping[str, Setting]:
        """Its settings. Raises LabwrightError naming a parameter that can't be one."""
        return signature(self.target).settings

    def made(self, settings: Mapping[str, Any], **given: Any) -> Any:
        """The component alone with these settings, validated, and what the core would give it."""
        values = {name: self.settings[name].validated(value) for name, value in settings.items()}
        for name, setting in self.settings.items():
            if setting.part and isinstance(setting.default, str) and name not in values:  # the name of a component
                values[name] = self.plugins.load(setting.part.kind, setting.default)()
        return self.target(**given, **values)

    # ------------------------------------------------------------------------------------------------- in a recipe

    def candidates(self) -> Iterator[Experiment]:
        """Recipes in which the component stands, on one thread of the CPU, without loggers; nothing of them is read.

        The recipe that `recipes` gives, else those that name the component, then those it fits into; of both, those of
        its own plugin come first. Each is made when it is asked for.
        """
        given = self.kit.recipes.get(self.label)
        if isinstance(given, Experiment):
            yield self._quiet(given)
            return
        own = [recipe.name for recipe in self.owner.recipes]
        others = [name for name in self.plugins.names("recipe") if name not in own]
        recipes: list[Sequence[str]] = [[name] for name in (*own, *others)]
        if given is not None:
            recipes = [[given] if isinstance(given, str) else given]
        read = [(recipe, self.kit.experiment(recipe, overrides)) for recipe, *overrides in recipes]
        whole = [(recipe, experiment) for recipe, experiment in read if experiment is not None]
        standing = {recipe for recipe, experiment in whole if self._stands_in(experiment)}
        for named in (True, False):
            for recipe, experiment in whole:
                if named == (recipe in standing) and (named or self._fits(recipe)):
                    try:
                        yield self._quiet(experiment, {} if named else self._named())
                    except LabwrightError:
                        continue

    @cached_property
    def first(self) -> Experiment | None:
        """The first candidate, whether its data is there or not."""
        return next(self.candidates(), None)

    @cached_property
    def experiment(self) -> Experiment:
        """The first candidate whose data is there. Raises AssertionError if there is none."""
        try:
            _ = self.settings
        except LabwrightError as error:  # no recipe can hold it, and this is why
            raise AssertionError(str(error)) from error
        reasons = []
        for experiment in self.candidates():
            try:
                task = self.kit.tasks.of(experiment)
                if self.kind == "method":  # what it can't train, it says no earlier
                    experiment.build(task=task)
            except LabwrightError as error:
                reasons.append(f" {experiment.name}: {error}")
            else:
                return experiment
        raise AssertionError(
            f"no recipe can try it here: bring one that names it and runs without a network, or give one, with what it "
            f'needs: conformance(..., recipes={{"{self.label}": ["NAME", "FIELD=VALUE"]}}).{"".join(reasons)}'
        )

    def _fits(self, recipe: str) -> bool:
        return self.kind != "task" and self.kit.fits(self.kind, self.declared.name, recipe)

    def _quiet(self, experiment: Experiment, named: Mapping[str, Any] | None = None) -> Experiment:
        quiet: dict[str, Any] = {key: [] for kind, key in LISTS.items() if kind != self.kind}
        if self.kind != "device":
            quiet["device"] = {"name": "cpu", "threads": 1}
        return experiment.varied({**(named or {}), **quiet})

    def _stands_in(self, experiment: Experiment) -> bool:
        if self.kind == "metric":
            parts = experiment.task.parts().values()
            return any(part.kind == "metric" and part.name == self.name for part in parts)
        if self.kind in LISTS:
            return any(spec.kind == self.kind and spec.name == self.name for spec in experiment.listeners)
        if self.kind == "schedule":
            within = [optimizer.settings.get("schedule") for optimizer in experiment.optimizers.values()]
            return any(spec is not None and spec.name == self.name for spec in within)
        data = self.kind == "data"
        spec = experiment.task.settings.get("data") if data else experiment.component(self.kind)
        return spec is not None and spec.name == self.name

    def _named(self) -> dict[str, Any]:
        """The settings of a recipe that name the component."""
        if self.kind == "metric":
            # the goal must be one of the metrics
            return {"task.metrics": [self.name], "task.goal": f"{self.name.rpartition('/')[2]}:maximize"}
        if self.kind in LISTS:
            return {LISTS[self.kind]: [self.name]}
        return {{"data": "task.data", "schedule": "optimizer.schedule"}.get(self.kind, self.kind): self.name}

    @cached_property
    def task(self) -> Task:
        return self.kit.tasks.of(self.experiment)

    def built(self, **changes: Any) -> Built:
        """Model, loss and optimizers, made anew."""
        experiment = self.experiment.varied(changes) if changes else self.experiment
        return experiment.build(task=self.task)

    def descends(self) -> None:
        """Raises NotApplicable for a model in closed form."""
        if self.experiment.model.is_a(ClosedForm):
            raise NotApplicable("it is computed in closed form")

    def batch(self, size: int, number: int = 0) -> Batch:
        """The training batch of that number, with its random parts drawn; the same each time."""
        batches = self.task.batches("train", size=size, seed=0, epoch=0, start=number)
        assert batches is not None, "the data has no training part"
        drawn: Batch = self.task.draw(next(iter(batches)), Generator().manual_seed(0))
        return drawn

    def held_out(self, size: int) -> Batch:
        """The first batch of what evaluation looks at: `valid`, else `test`, else `train`."""
        parts = (self.task.batches(name, size=size, seed=0, epoch=0) for name in ("valid", "test", "train"))
        batches = next(part for part in parts if part is not None and len(part))
        batch: Batch = next(iter(batches))
        return batch

    def losses(self, built: Built, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss of each phase that has an optimizer; random numbers of the model begin at the same place."""
        losses = {}
        for phase in self.task.phases():
            if phase.name in built.optimizers:
                torch.manual_seed(0)
                loss = self.task.loss(built.model, batch, built.criterion, phase.name)
                losses[phase.name] = torch.stack(tuple(loss.values())).sum() if isinstance(loss, dict) else loss
        return losses

    def results(self, model: nn.Module, batch: Batch) -> tuple[Any, ...]:
        """What the task's metrics are called with, in evaluation mode."""
        model.eval()
        with torch.no_grad():
            results = self.task.evaluate(model, batch)
        return results if isinstance(results, tuple) else (results,)


def tensors(value: Any) -> list[Tensor]:
    """The tensors in what a model or a task returns."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Batch):
        return tensors(vars(value))
    if isinstance(value, dict):
        return [tensor for part in value.values() for tensor in tensors(part)]
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in tensors(part)]
    return []
