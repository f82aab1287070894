"""The conformance kit's frame: which checks there are, what they are given, and a pytest test made of them.

A check is a function of a Subject that raises AssertionError; its docstring says what must hold and how to mend it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from labwright import Batch, ClosedForm, Component, Experiment, LabwrightError, Plugins, Recipe, Task, nearest
from labwright.config.compatibility import fitting_names
from labwright.config.resolve import ComponentSpec, Where, resolve
from labwright.config.signature import Signature, signature
from labwright.plugin.discovery import canonical
from labwright.runs.prepared import Prepared
from labwright.train.built import Built
from torch import Generator, nn

KEPT = 8  # tasks in memory: those of one plugin's recipes, as a rule


@dataclass(frozen=True)
class Check:
    """A check, the kinds of component it is for, "recipe" among them, and whether it needs no training and no data."""

    name: str
    kinds: tuple[str, ...]
    function: Callable[[Subject], None]
    fast: bool

    @property
    def mend(self) -> str:
        """What must hold and how to mend it."""
        return inspect.getdoc(self.function) or ""


CHECKS: dict[str, Check] = {}
Recipes = Mapping[str, str | Sequence[str] | Experiment]  # by `KIND NAME`; texts are a recipe's name and overrides


def check(*kinds: str, fast: bool = False) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Make a function a check of these kinds of component, of all if none is named; its name becomes kebab-case."""

    def registered(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name = function.__name__.replace("_", "-")
        CHECKS[name] = Check(name, kinds, function, fast)
        return function

    return registered


class NotApplicable(Exception):
    """A check has nothing to look at in this component; the reason is shown."""


@dataclass
class Kit:
    """The plugins of a session, and the tasks that were prepared for their components."""

    plugins: Plugins
    recipes: Recipes = field(default_factory=dict)
    tasks: Prepared = field(default_factory=lambda: Prepared(KEPT))

    def prepared(self, experiment: Experiment) -> Task:
        return self.tasks.of(experiment)


class Subject:
    """A component under test, and a recipe in which it stands; or a recipe under test."""

    def __init__(self, kit: Kit, component: Component | Recipe) -> None:
        self.kit, self.plugins, self.component = kit, kit.plugins, component
        self.kind = component.kind if isinstance(component, Component) else "recipe"
        self.owner = kit.plugins.owners(self.kind, component.name)[0][0]
        self.notes: list[str] = []  # what checks have to say that is no failure

    @property
    def label(self) -> str:
        return f"{self.kind} {self.component.name}"

    @cached_property
    def name(self) -> str:
        """The component's name, or that of a family's first member."""
        name = self.component.name
        if isinstance(self.component, Recipe) or not name.endswith("/*"):
            return name
        first: str = next(iter(self.plugins.target(self.component)))
        return name[:-1] + first

    @cached_property
    def target(self) -> Any:
        return self.plugins.load(self.kind, self.name)

    @cached_property
    def signature(self) -> Signature:
        return signature(self.target)

    def spec(self, settings: Mapping[str, Any]) -> ComponentSpec:
        """The component with these settings, validated. Raises LabwrightError."""
        return resolve(self.kind, {"name": self.name, **settings}, self.plugins, Where((self.kind,)))

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
                self.kit.prepared(experiment)
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
                if self.kind == "task" or not self._fits(recipe):
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

    def _fits(self, recipe: str) -> bool:
        return self.component.name in fitting_names(self.kind, recipe, self.plugins)

    def _there(self, experiment: Experiment) -> bool:
        if self.kind == "data":
            data = experiment.task.settings.get("data")
            return isinstance(data, ComponentSpec) and data.name == self.name
        spec = experiment.component(self.kind)
        return spec is not None and spec.name == self.name

    @cached_property
    def task(self) -> Task:
        return self.kit.prepared(self.experiment)

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
                found[phase.name] = self.task.loss(built.model, batch, built.criterion, phase.name)
        return found

    def results(self, model: nn.Module, batch: Batch) -> tuple[Any, ...]:
        """What the task's metrics are called with, in evaluation mode."""
        model.eval()
        with torch.no_grad():
            return self.task.evaluate(model, batch)


def subjects(kit: Kit, distribution: str) -> list[Subject]:
    """What a distribution declares. Raises LabwrightError if it isn't installed, or brings nothing."""
    known = {name for plugin in kit.plugins.plugins for name in (plugin.distribution, plugin.name)}
    asked = canonical(distribution)
    mine = [one for one in kit.plugins.plugins if asked in (canonical(one.distribution), canonical(one.name))]
    if not mine:
        raise LabwrightError(f"no plugin is called {distribution!r}{nearest(distribution, known)} Is it installed?")
    for plugin in mine:
        if plugin.state != "loaded":
            raise LabwrightError(f"plugin {plugin.name} is {plugin.state}: {plugin.reason}")
    things: list[Component | Recipe] = [thing for plugin in mine for thing in plugin.components]
    things += [recipe for plugin in mine for recipe in plugin.recipes]
    return [Subject(kit, thing) for thing in things]


def checks_of(subject: Subject, *, fast_only: bool = False) -> Iterator[Check]:
    """The checks of a kind, the quick ones first: what they find explains what the others say."""
    for one in sorted(CHECKS.values(), key=lambda one: not one.fast):
        if (subject.kind in one.kinds if one.kinds else subject.kind != "recipe") and (one.fast or not fast_only):
            yield one


def conformance(
    distribution: str, *, exempt: Mapping[str, str] | None = None, recipes: Recipes | None = None
) -> Callable[..., None]:
    """A pytest test of everything a distribution brings: `test_conformance = conformance("labwright-proteins")`.

    `exempt` maps `KIND NAME: CHECK` to the reason why the check can't hold; it is run all the same, and the test fails
    if it holds after all. `recipes` maps `KIND NAME` to what it is tried in: a recipe's name, a list of that and
    settings, `["proteins/folds", "task.data.folder=small"]`, or an Experiment. Raises LabwrightError for an exemption
    of something that isn't there, or without a reason.
    """
    import pytest

    kit = Kit(Plugins.discover(), recipes or {})
    try:
        found = subjects(kit, distribution)
    except LabwrightError as error:
        pytest.fail(str(error), pytrace=False)
    cases = {f"{one.label}: {each.name}": (one, each) for one in found for each in checks_of(one)}
    exemptions = dict(exempt or {})
    for key, reason in exemptions.items():
        if key not in cases:
            raise LabwrightError(f"exempt: there is no check {key!r}{nearest(key, cases)}")
        if not reason.strip():
            raise LabwrightError(f"exempt: {key!r} needs a reason.")
    labels = {one.label for one, _ in cases.values()}
    for key in recipes or {}:
        if key not in labels:
            raise LabwrightError(f"recipes: {distribution} brings no {key!r}{nearest(key, labels)}")

    def marks(key: str) -> Any:
        return pytest.mark.xfail(reason=exemptions[key], strict=True) if key in exemptions else ()

    parameters = [pytest.param(*case, id=key, marks=marks(key)) for key, case in cases.items()]

    @pytest.mark.parametrize(("subject", "each"), parameters)
    def test(subject: Subject, each: Check, record_property: Callable[[str, object], None]) -> None:
        run(subject, each)
        for note in subject.notes:
            record_property("labwright", f"{subject.label}: {note}")
        subject.notes.clear()

    test.__doc__ = f"What must hold of everything that {distribution} brings."
    return test


def run(subject: Subject, each: Check) -> None:
    """Run a check as a test; what it says is followed by what must hold."""
    import pytest

    try:
        each.function(subject)
    except NotApplicable as reason:
        pytest.skip(str(reason))
    except (AssertionError, LabwrightError) as error:
        raise AssertionError(f"{subject.label}: {error}\n\n{each.name}: {each.mend}") from error
