"""What an experiment consists of: five components and how long to train them, resolved, checked and written out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Self

from labwright.base.elsewhere import Absent, brought
from labwright.base.errors import LabwrightError, listed, nearest
from labwright.base.search import Mark
from labwright.config.compatibility import check_fit
from labwright.config.recipe import FIELDS, TABLES, Source, changed, override, whole_recipe
from labwright.config.resolve import (
    ComponentSpec,
    Idle,
    Where,
    check_containers,
    plain_table,
    resolve,
    validated,
    with_default,
)
from labwright.config.signature import signature
from labwright.interfaces.closed_form import ClosedForm
from labwright.interfaces.task import Task
from labwright.plugin.registry import Plugins, parted
from labwright.runs.start import Start
from labwright.train.settings import Train


class ExperimentSpec:
    """The components of an experiment with their settings, checked before anything is built; it does nothing yet."""

    def __init__(
        self,
        *,
        task: Any,
        model: Any,
        loss: Any = None,
        optimizer: Any = None,
        method: Any = "descent",
        device: Any = "auto",
        train: Mapping[str, Any] | None = None,
        start: Mapping[str, Any] | Path | str | None = None,
        log: Sequence[Any] = ("progress", "report"),
        stop: Sequence[Any] = (),
        search: Mapping[str, Any] | None = None,
        plugins: Plugins | Sequence[object] = (),
        name: str = "experiment",
        source: Source | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.notes = list(notes)
        self.given = {
            "task": task,
            "model": model,
            "loss": loss,
            "optimizer": optimizer,
            **({} if method == "descent" else {"method": method}),  # studies of before there were others have none
            "device": device,
            "train": train or {},
            "start": start,
            "log": log,
            "stop": stop,
            "search": search or {},
        }
        known = plugins if isinstance(plugins, Plugins) else Plugins.discover().extended(plugins)
        if known is not plugins:  # else whoever found them has said it
            self.notes += known.notes
        here = Where(source=source)
        check_containers(self.given, here)
        self.plugins, self.name, self.source = known, name, source
        self.search = plain_table(search or {}, here / "search")
        self.task = resolve("task", task, known, here / "task")
        self.model = resolve("model", model, known, here / "model")
        self.loss = None if loss is None else resolve("loss", loss, known, here / "loss")
        self.method = resolve("method", with_default(method, "descent"), known, here / "method")
        self.device = resolve("device", with_default(device, "auto"), known, here / "device")
        self.train = Train(**validated(Train, train or {}, "train", known, here / "train"))
        self.start = None if start is None else self._resolve_start(start, here / "start")
        self.closed_form = self.model.is_a(ClosedForm)
        self._check_length(here / "train")
        unprepared = self._unprepared()
        self.goal = unprepared.goal
        self.phases = [phase.name for phase in unprepared.phases()]
        self.optimizers = self._resolve_optimizers(optimizer, here / "optimizer")
        self.listeners = [
            *(resolve("logger", given, known, here / "log") for given in log),
            *(resolve("stop", given, known, here / "stop") for given in stop),
        ]
        check_fit(unprepared, self.task, self.model, self.loss, known, here)
        self._check_descent(here, needed=unprepared.contract is not None)

    @classmethod
    def from_recipe(
        cls, recipe: str | Path, overrides: Iterable[str] = (), *, plugins: Plugins | Sequence[object] = ()
    ) -> Self:
        """The experiment of a recipe: a name of an installed one, or a file that ends in .toml, with overrides.

        `:VARIANT` behind either names one of its variants, as in `mine.toml:wide`.
        """
        known = plugins if isinstance(plugins, Plugins) else Plugins.discover().extended(plugins)
        table, source, fell = whole_recipe(str(recipe), known)
        (place, variant), file = parted(str(recipe)), source.file
        name = file.parent.name if file.name == "recipe.toml" else file.stem if place.endswith(".toml") else place
        name = f"{name}-{variant}" if variant else name
        given = list(overrides)
        table, notes = override(table, given)
        source = source.with_overrides(given)
        try:
            made = cls.from_table(table, plugins=known, name=name, source=source, notes=[*fell, *notes])
        except Idle as error:
            # of a run from before this was refused, or by an override of what it depends on
            told = tuple(text.partition("=")[0].strip() + "." for text in given)
            if not (told or file.name == "recipe.toml") or f"{error.path}.".startswith(told):
                raise
            made = cls.from_recipe(recipe, [*given, f"{error.path}="], plugins=known)
            made.notes.append(f"{error.path} of the recipe is left out: {error.why}.")
            return made
        if source.overridden or source.role == "variant":
            with suppress(Absent):
                made.notes[:0] = brought("tasks", "effects")(made)
        return made

    @classmethod
    def from_table(
        cls,
        table: Mapping[str, Any],
        *,
        plugins: Plugins,
        name: str = "experiment",
        source: Source | None = None,
        notes: Sequence[str] = (),
    ) -> Self:
        """The experiment of a recipe's tables."""
        here = Where(source=source)
        for key in table:
            if key not in TABLES:
                near = nearest(key, {*FIELDS} - {key})
                raise LabwrightError(f"{here / key}: a recipe has no {key!r}{near} It has {', '.join(TABLES)}.")
        for key in ("task", "model"):
            if key not in table:
                raise LabwrightError(
                    f"{here / key}: the recipe names no {key}; a {key} is one of {listed(plugins.names(key))}."
                )
        return cls(**table, plugins=plugins, name=name, source=source, notes=notes)

    def quiet(self) -> Self:
        """The same experiment without its loggers and stopping rules."""
        silent = copy(self)
        silent.listeners = []
        return silent

    def settled(self, per_epoch: int) -> Self:
        """The same experiment with what its recipe leaves to the size of the data: see `Train`."""
        settled = copy(self)
        settled.train = self.train.settled(per_epoch)
        return settled

    def varied(self, values: Mapping[str, Any]) -> Self:
        """The same experiment with other values at dotted paths, such as `{"model.width": 64}`.

        A new component's name drops the settings of the one before. Raises LabwrightError for what doesn't fit.
        """
        return type(self)(**changed(self.given, values), plugins=self.plugins, name=self.name, source=self.source)

    def table(self, *, bare: bool = False) -> dict[str, Any]:
        """The complete recipe: every setting, defaults included; made to be written as TOML.

        `bare` is of the same components with nothing set but what has no default.
        """
        table: dict[str, Any] = {"task": self.task.table(bare=bare), "model": self.model.table(bare=bare)}
        if self.loss:
            table["loss"] = self.loss.table(bare=bare)
        if first := self.component("optimizer"):
            phases = self.optimizers.items()
            differing = {phase: spec.table(bare=bare) for phase, spec in phases if spec.table() != first.table()}
            table["optimizer"] = first.table(bare=bare) | differing
        if self.method.name != "descent":  # the usual one has nothing to say
            table["method"] = self.method.table(bare=bare)
        table["device"] = self.device.table(bare=bare)
        train = Train(self.train.epochs, self.train.steps) if bare else self.train
        table["train"] = plain_table(vars(train), Where())
        if self.start:
            table["start"] = plain_table(vars(self.start), Where())
        table["log"] = [spec.table(bare=bare) for spec in self.listeners if spec.kind == "logger"]
        table["stop"] = [spec.table(bare=bare) for spec in self.listeners if spec.kind == "stop"]
        return table | ({"search": self.search} if self.search else {})

    def component(self, kind: str) -> ComponentSpec | None:
        """The task, model, loss, method, device, or the optimizer of the first phase."""
        if kind == "optimizer":
            return next(iter(self.optimizers.values()), None)
        return getattr(self, kind) if kind in ("task", "model", "loss", "method", "device") else None

    def marks(self) -> dict[str, Mark]:
        """The search marks of every component, by dotted path."""
        components = {"task": self.task, "model": self.model, "loss": self.loss, "method": self.method}
        for phase, optimizer in self.optimizers.items():
            components["optimizer" if len(self.optimizers) == 1 else f"optimizer.{phase}"] = optimizer
        marks = {f"{at}.{path}": mark for at, spec in components.items() if spec for path, mark in spec.marks().items()}
        return marks | {f"train.{key}": one.mark for key, one in signature(Train).settings.items() if one.mark}

    def _unprepared(self) -> Task:
        """The task, to be asked for its ports and phases before any data is read: constructors do no work."""
        task = self.task.build()
        if not isinstance(task, Task):
            raise LabwrightError(f"task {self.task.name or task!r} is no labwright.Task but a {type(task).__name__}.")
        return task

    def _check_length(self, where: Where) -> None:
        """Raises LabwrightError for a descent without a length or with two."""
        if not self.closed_form and (self.train.epochs is None) == (self.train.steps is None):
            given = "neither" if self.train.epochs is None else "both"
            raise LabwrightError(f"{where}: given {given} of epochs and steps; a run has one of them.")

    def _check_descent(self, here: Where, *, needed: bool) -> None:
        """Raises LabwrightError for a model in closed form with settings of a descent, and for a task without some."""
        descent = {
            "loss": self.loss,
            "optimizer": self.optimizers,
            **{f"train.{key}": getattr(self.train, key) for key in ("epochs", "steps", "clip", "ema", "drop_last")},
            "start": self.start,
        }
        given = [field for field, value in descent.items() if value]
        if self.closed_form and given:
            raise LabwrightError(
                f"{here / 'model'}: model {self.model.label!r} is computed in closed form: it has no use for "
                f"{listed(given)}. As overrides, `{' '.join(f'{field}=' for field in given)}` leave them out."
            )
        if needed and not self.optimizers and not self.closed_form:
            raise LabwrightError(
                f"{here / 'optimizer'}: task {self.task.label!r} needs an optimizer: sgd, adam, adamw, torch/NAME."
            )

    def _resolve_start(self, value: Any, where: Where) -> Start:
        table = value if isinstance(value, Mapping) else {"run": value}
        return Start(**validated(Start, table, "start", self.plugins, where))

    def _resolve_optimizers(self, value: Any, where: Where) -> dict[str, ComponentSpec]:
        """One optimizer for each phase; a table named after a phase overrides the others' settings."""
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            return dict.fromkeys(self.phases, resolve("optimizer", value, self.plugins, where))
        # a phase may be called what a setting is called; then only a table or a name is the phase's
        own = {phase: value[phase] for phase in self.phases if isinstance(value.get(phase), Mapping | str)}
        common = {key: one for key, one in value.items() if key not in own}
        specs = {}
        for phase in self.phases:
            settings = own.get(phase, {})
            settings = {"name": settings} if isinstance(settings, str) else settings
            another = "name" in settings and settings["name"] != common.get("name")  # whose settings the others' aren't
            place = where / phase if phase in own else where
            specs[phase] = resolve("optimizer", settings if another else common | settings, self.plugins, place)
        return specs
