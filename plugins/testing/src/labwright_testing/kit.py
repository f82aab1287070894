"""The conformance kit's frame: which checks there are, and what they are given.

A check is a function of a Subject that raises AssertionError; its docstring says what must hold and how to mend it. The
quick ones are the core's; those here try a component in a recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import labwright as lw
import torch
from labwright import (
    QUICK_CHECKS,
    Batch,
    Built,
    Check,
    ClosedForm,
    Experiment,
    LabwrightError,
    NotApplicable,
    Plugins,
    Prepared,
    Task,
    fitting_names,
)
from torch import Generator, Tensor, nn

KEPT = 8  # tasks in memory: those of one plugin's recipes, as a rule
TRIED = ("task", "data", "model", "loss", "optimizer", "device")  # what stands in every recipe
CHECKS: dict[str, Check] = {check.name: check for check in QUICK_CHECKS}  # the quick ones explain what others find
Recipes = Mapping[str, str | Sequence[str] | Experiment]  # by `KIND NAME`; texts are a recipe's name and overrides
Tried = Callable[["Subject"], None]


def check(*kinds: str) -> Callable[[Tried], Tried]:
    """Make a function a check of these kinds of component; its name becomes kebab-case."""

    def registered(function: Tried) -> Tried:
        added = Check(function, kinds)
        CHECKS[added.name] = added
        return function

    return registered


@dataclass
class Kit:
    """The plugins of a session, and the tasks that were prepared for their components."""

    plugins: Plugins
    recipes: Recipes = field(default_factory=dict)
    tasks: Prepared = field(default_factory=lambda: Prepared(KEPT))

    def subjects(self, name: str) -> list[Subject]:
        """What a plugin or distribution declares. Raises LabwrightError if it isn't in use."""
        return [Subject(self, declared) for plugin in self.plugins.called(name) for declared in plugin.brings]


class Subject(lw.Subject):
    """A component under test, and a recipe in which it stands; or a recipe, verb or kind under test."""

    def __init__(self, kit: Kit, declared: lw.Component | lw.Recipe | lw.Verb | lw.Kind) -> None:
        super().__init__(kit.plugins, declared)
        self.kit = kit

    def made(self, settings: Mapping[str, Any], **given: Any) -> Any:
        """The component alone with these settings, validated, and what the core would give it."""
        known = self.signature.settings
        return self.target(**given, **{name: known[name].validated(value) for name, value in settings.items()})

    # ------------------------------------------------------------------------------------------------- in a recipe

    @cached_property
    def candidates(self) -> list[Experiment]:
        """Recipes in which the component stands, on one thread of the CPU, without loggers; nothing of them is read.

        The recipe that `recipes` gives, else those that name the component, then those it fits into; of both, those of
        its own plugin come first.
        """
        given = self.kit.recipes.get(self.label)
        if isinstance(given, Experiment):
            return [self._quiet(given)]
        mine = [recipe.name for recipe in self.owner.recipes]
        others = [name for name in self.plugins.names("recipe") if name not in mine]
        recipes: list[Sequence[str]] = [[name] for name in (*mine, *others)]
        if given is not None:
            recipes = [[given] if isinstance(given, str) else given]
        found = [pair for recipe, *overrides in recipes if (pair := self._within(recipe, overrides)) is not None]
        return [experiment for experiment, named in sorted(found, key=lambda pair: not pair[1])]

    @cached_property
    def experiment(self) -> Experiment:
        """The first candidate whose data is there. Raises AssertionError if there is none."""
        try:
            _ = self.signature
        except LabwrightError as error:  # no recipe can hold it, and this is why
            raise AssertionError(str(error)) from error
        reasons = []
        for experiment in self.candidates:
            try:
                self.kit.tasks.of(experiment)
            except LabwrightError as error:
                reasons.append(f" {experiment.name}: {error}")
            else:
                return experiment
        raise AssertionError(
            f"no recipe can try it here: bring one that names it and runs without a network, or give one, with what it "
            f'needs: conformance(..., recipes={{"{self.label}": ["NAME", "FIELD=VALUE"]}}).{"".join(reasons)}'
        )

    def _within(self, recipe: str, overrides: Sequence[str]) -> tuple[Experiment, bool] | None:
        """An experiment of a recipe with the component in it, and whether the recipe names it itself."""
        try:
            experiment = Experiment.from_recipe(recipe, overrides, plugins=self.plugins)
            there = self._there(experiment)
            if not there:
                if self.kind == "task" or self.declared.name not in fitting_names(self.kind, recipe, self.plugins):
                    return None
                experiment = experiment.varied({"task.data" if self.kind == "data" else self.kind: self.name})
            return self._quiet(experiment), there
        except LabwrightError:
            return None

    def _quiet(self, experiment: Experiment) -> Experiment:
        quiet: dict[str, Any] = {"log": [], "stop": []}
        if self.kind != "device":
            quiet["device"] = {"name": "cpu", "threads": 1}
        return experiment.varied(quiet)

    def _there(self, experiment: Experiment) -> bool:
        data = self.kind == "data"
        spec = experiment.task.settings.get("data") if data else experiment.component(self.kind)
        return spec is not None and spec.name == self.name

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
        found: Batch = next(iter(batches))
        return found

    def losses(self, built: Built, batch: Batch) -> dict[str, torch.Tensor]:
        """The loss of each phase that has an optimizer; random numbers of the model begin at the same place."""
        found = {}
        for phase in self.task.phases():
            if phase.name in built.optimizers:
                torch.manual_seed(0)
                loss = self.task.loss(built.model, batch, built.criterion, phase.name)
                found[phase.name] = sum(loss.values()) if isinstance(loss, dict) else loss
        return found

    def results(self, model: nn.Module, batch: Batch) -> tuple[Any, ...]:
        """What the task's metrics are called with, in evaluation mode."""
        model.eval()
        with torch.no_grad():
            return self.task.evaluate(model, batch)


def tensors(value: Any) -> list[Tensor]:
    """The tensors in what a model or a task returns."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Batch):
        return tensors(vars(value))
    if isinstance(value, dict):
        return [tensor for one in value.values() for tensor in tensors(one)]
    if isinstance(value, tuple | list):
        return [tensor for one in value for tensor in tensors(one)]
    return []
