"""An experiment: five components and how long to train them. From a recipe or from Python, it is the same thing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import nn

from labwright.base.errors import LabwrightError, RunFailed, listed, nearest
from labwright.base.files import refuse_links, write_json, write_text
from labwright.base.isolation import isolated
from labwright.base.locks import Lock
from labwright.base.search import Mark
from labwright.base.seeding import derived_seed
from labwright.config.compatibility import check_fit
from labwright.config.recipe import TABLES, Source, changed, changes, override, read_recipe
from labwright.config.resolve import (
    ComponentSpec,
    Where,
    check_containers,
    plain_table,
    resolve,
    validated,
    with_default,
)
from labwright.config.signature import signature
from labwright.data.summary import read_summary, summarised
from labwright.interfaces.closed_form import ClosedForm, Remarking
from labwright.interfaces.device import Device
from labwright.interfaces.loss import separable
from labwright.interfaces.optimizer import Optimizer
from labwright.interfaces.run import Run
from labwright.interfaces.task import Task
from labwright.plugin.registry import Plugins
from labwright.plugin.relay import Relay, check_listener
from labwright.runs.environment import environment
from labwright.runs.folder import claim_folder, new_folder
from labwright.train.built import Built, phase_parameters
from labwright.train.checkpoints import Checkpoints, MemoryCheckpoints, check_learned, seal, split_state, verify
from labwright.train.materialize import complete
from labwright.train.preflight import preflight
from labwright.train.settings import Train
from labwright.train.trainer import Trainer


class Experiment:
    """Components by name, as tables with settings, or as objects; everything is checked here, before anything is built.

    Raises LabwrightError for a name, a setting or a combination that doesn't fit.

    Example: `lw.Experiment(task={"name": "classification", "data": "vision/digits"}, model="vision/cnn",
    loss="cross-entropy", optimizer="adamw", train={"epochs": 5}).run()`
    """

    def __init__(
        self,
        *,
        task: Any,
        model: Any,
        loss: Any = None,
        optimizer: Any = None,
        device: Any = "auto",
        train: Mapping[str, Any] | None = None,
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
            "device": device,
            "train": train or {},
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
        self.device = resolve("device", with_default(device, "auto"), known, here / "device")
        self.train = Train(**validated(Train, train or {}, "train", known, here / "train"))
        self.closed_form = self.model.is_a(ClosedForm)
        if not self.closed_form and (self.train.epochs is None) == (self.train.steps is None):
            given = "neither" if self.train.epochs is None else "both"
            hint = " As an override, `train.epochs=` leaves the epochs out." if given == "both" else ""
            raise LabwrightError(f"{here / 'train'}: given {given} of epochs and steps; a run has one of them.{hint}")
        unprepared = self._task_unprepared()
        self.goal = unprepared.goal
        self.phases = [phase.name for phase in unprepared.phases()]
        self.optimizers = self._resolve_optimizers(optimizer, here / "optimizer")
        self.listeners = [
            *(resolve("logger", one, known, here / "log") for one in log),
            *(resolve("stop", one, known, here / "stop") for one in stop),
        ]
        check_fit(unprepared, self.task, self.model, self.loss, known, here)
        self._check_closed_form(here)
        if unprepared.contract and not self.optimizers and not self.closed_form:
            raise LabwrightError(
                f"{here / 'optimizer'}: task {self.task.label!r} needs an optimizer: sgd, adam, adamw, torch/NAME."
            )

    @classmethod
    def from_recipe(
        cls, recipe: str | Path, overrides: Iterable[str] = (), *, plugins: Plugins | Sequence[object] = ()
    ) -> Experiment:
        """The experiment of a recipe: a name of an installed one, or a file that ends in .toml, with overrides."""
        known = plugins if isinstance(plugins, Plugins) else Plugins.discover().extended(plugins)
        file = Path(recipe) if str(recipe).endswith(".toml") else known.recipe(str(recipe)).path
        name = file.parent.name if file.name == "recipe.toml" else file.stem if file == Path(recipe) else str(recipe)
        table, source = read_recipe(file)
        given = list(overrides)
        table, notes = override(table, given)
        return cls.from_table(table, plugins=known, name=name, source=source.with_overrides(given), notes=notes)

    @classmethod
    def from_table(
        cls,
        table: Mapping[str, Any],
        *,
        plugins: Plugins,
        name: str = "experiment",
        source: Source | None = None,
        notes: Sequence[str] = (),
    ) -> Experiment:
        """The experiment of a recipe's tables."""
        here = Where(source=source)
        for key in table:
            if key not in TABLES:
                raise LabwrightError(
                    f"{here / key}: a recipe has no {key!r}{nearest(key, TABLES)} It has {', '.join(TABLES)}."
                )
        for key in ("task", "model"):
            if key not in table:
                raise LabwrightError(
                    f"{here / key}: the recipe names no {key}; a {key} is one of {listed(plugins.names(key))}."
                )
        return cls(**table, plugins=plugins, name=name, source=source, notes=notes)

    def quiet(self) -> Experiment:
        """The same experiment without its loggers and stopping rules."""
        silent = copy(self)
        silent.listeners = []
        return silent

    def varied(self, values: Mapping[str, Any]) -> Experiment:
        """The same experiment with other values at dotted paths, such as `{"model.width": 64}`.

        A new component's name drops the settings of the one before. Raises LabwrightError for what doesn't fit.
        """
        return Experiment(**changed(self.given, values), plugins=self.plugins, name=self.name, source=self.source)

    # ------------------------------------------------------------------------------------------------ what it says

    def table(self) -> dict[str, Any]:
        """The complete recipe: every setting, defaults included; made to be written as TOML."""
        train = signature(Train).settings
        optimizers = {phase: spec.table() for phase, spec in self.optimizers.items()}
        first = next(iter(optimizers.values()), None)
        same = all(one == first for one in optimizers.values())
        table: dict[str, Any] = {"task": self.task.table(), "model": self.model.table()}
        if self.loss:
            table["loss"] = self.loss.table()
        if first:
            table["optimizer"] = (
                first if same else first | {phase: one for phase, one in optimizers.items() if one != first}
            )
        table["device"] = self.device.table()
        table["train"] = {
            key: setting.written(value)
            for key, setting in train.items()
            if (value := getattr(self.train, key)) is not None
        }
        table["log"] = [spec.table() for spec in self.listeners if spec.kind == "logger"]
        table["stop"] = [spec.table() for spec in self.listeners if spec.kind == "stop"]
        return table | ({"search": self.search} if self.search else {})

    def component(self, kind: str) -> ComponentSpec | None:
        """The task, model, loss, device, or the optimizer of the first phase."""
        found: ComponentSpec | None = (
            getattr(self, kind, None) if kind != "optimizer" else next(iter(self.optimizers.values()), None)
        )
        return found

    def marks(self) -> dict[str, Mark]:
        """The search marks of every component, by dotted path."""
        spec = {"task": self.task, "model": self.model, "loss": self.loss}
        marks = {f"{key}.{path}": mark for key, one in spec.items() if one for path, mark in one.marks().items()}
        for phase, optimizer in self.optimizers.items():
            prefix = "optimizer" if len(self.optimizers) == 1 else f"optimizer.{phase}"
            marks |= {f"{prefix}.{path}": mark for path, mark in optimizer.marks().items()}
        return marks | {f"train.{key}": one.mark for key, one in signature(Train).settings.items() if one.mark}

    # ----------------------------------------------------------------------------------------------------- building

    def build(self, learned: Path | None = None, *, task: Task | None = None) -> Built:
        """Make everything: read the data (or take up what was learned from it), then model, loss and optimizers.

        `task` is one of the same settings that was prepared before, so that its data isn't read again. Random numbers
        and threads of the process are as before when it returns.
        """
        settings: Device = self.device.build()
        device = settings.find()
        if self.train.batch_size % settings.accumulate:
            raise LabwrightError(
                f"device.accumulate: {settings.accumulate} micro-batches don't divide train.batch_size, "
                f"{self.train.batch_size}."
            )
        with isolated(device, seed=derived_seed(self.train.seed, 0), threads=settings.threads):
            if task is None:
                task = self._task_made(learned)
            torch.manual_seed(derived_seed(self.train.seed, 0))
            inputs, outputs = task.ports()
            given = {"inputs": inputs, "outputs": outputs}
            model: nn.Module = complete(self._made(self.model, given), inputs).to(device)
            criterion = None if self.loss is None else self._made(self.loss, given)
            if isinstance(criterion, nn.Module):
                criterion = criterion.to(device)
            self._check_separable(criterion, settings)
            split_state(model)
            due = [phase for phase in task.phases() if phase.name in self.optimizers]
            optimizers = {
                phase: self._made(self.optimizers[phase], {"parameters": parameters})
                for phase, parameters in phase_parameters(model, criterion, due).items()
            }
        return Built(task, model, criterion, device, settings, optimizers)

    def prepared(self, learned: Path | None = None) -> Task:
        """The task with its data read, or with what was learned from it taken up."""
        with isolated():
            return self._task_made(learned)

    def _task_made(self, learned: Path | None) -> Task:
        task: Task = self.task.build()
        if learned is None:
            task.prepare()
        else:
            verify(learned)
            task.load(learned)
        return task

    def run(self, folder: Path | str | None = None, *, listeners: Sequence[object] = ()) -> Run:
        """Train, evaluate and report, in a new run folder. Returns the run: its model, metrics and outcome."""
        trainer = self.trainer(Path(folder) if folder is not None else None, listeners=listeners)
        trainer.fit()
        return trainer.run

    def trainer(self, folder: Path | None = None, *, listeners: Sequence[object] = ()) -> Trainer:
        """Everything built and written down in a new run folder, before the first step."""
        built = self.build()
        per_epoch = self._steps_per_epoch(built)
        notes = preflight(built, self.train)
        data = summarised(built.task.data)
        folder = claim_folder(folder) if folder is not None else new_folder(self.name)
        lock = Lock(folder)
        lock.acquire()
        try:
            (folder / "task").mkdir()
            built.task.save(folder / "task")
            data.write(folder / "task")
            seal(folder / "task")
        except OSError as error:
            raise RunFailed(f"can't write {folder / 'task'}: {error.strerror or error}.") from error
        self._write_down(folder, built)
        trainer = self._trainer(built, folder, per_epoch, listeners)
        trainer.lock = lock
        trainer.run.data = data
        of_model = built.model.remarks() if isinstance(built.model, Remarking) else ()
        trainer.run.notes += [*data.remarks, *of_model, *notes]
        return trainer

    def trial(self, folder: Path, task: Task, *, listeners: Sequence[object] = ()) -> Trainer:
        """A trainer for one trial of a study, over a prepared task: the same training, and little is written.

        The folder gets the recipe, the log and the outcome. Checkpoints stay in memory, and the test part isn't looked
        at: a search that saw it would choose by it.
        """
        built = self.build(task=task)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.jsonl").unlink(missing_ok=True)  # of an attempt that was killed
        write_text(folder / "recipe.toml", tomli_w.dumps(self.table()), durable=False)
        trainer = self._trainer(built, folder, self._steps_per_epoch(built), listeners)
        trainer.checkpoints = MemoryCheckpoints(folder)
        trainer.tested = False
        return trainer

    def resumed(
        self, folder: Path, *, listeners: Sequence[object] = (), other_data: bool = False
    ) -> tuple[Trainer, list[str]]:
        """A trainer that goes on from a run folder's newest whole checkpoint, and notes for the person.

        Raises LabwrightError where the data isn't what the run was begun with; `other_data` goes on with other samples
        all the same, but never with a task that has learned something else of them. Raises it too if another process
        writes in the folder, or if something in it leads out of it.
        """
        refuse_links(folder)
        lock = Lock(folder)
        lock.acquire()
        try:
            trainer, notes = self._taken_up(folder, listeners, other_data)
        except BaseException:
            lock.release()
            raise
        trainer.lock = lock
        return trainer, notes

    def _taken_up(self, folder: Path, listeners: Sequence[object], other_data: bool) -> tuple[Trainer, list[str]]:
        built = self.build()
        data = summarised(built.task.data)
        check_learned(built.task, folder / "task")
        differing = data.differences(read_summary(folder / "task") or data.json())
        if differing and not other_data:
            raise LabwrightError(
                f"the data isn't what {folder} was begun with: {'; '.join(differing)}. Put it back, begin a new run, "
                "or go on with it all the same: --other-data."
            )
        trainer = self._trainer(built, folder, self._steps_per_epoch(built), listeners)
        trainer.run.data = data
        checkpoint, notes = Checkpoints(folder / "checkpoints").newest()
        if checkpoint is None:
            raise LabwrightError(f"{folder} has no whole checkpoint to go on from. {' '.join(notes)}".strip())
        trainer.restore(checkpoint)
        notes += trainer.log.cut(checkpoint.state["log"])
        changed_since = changes(checkpoint.state["recipe"], self.table())
        if changed_since:
            notes.append(f"changed: {', '.join(changed_since)}. The run is no longer the one its first steps were.")
        self._write_down(folder, built)
        return trainer, [*notes, *(f"the data is not the same: {one}." for one in differing)]

    def _trainer(self, built: Built, folder: Path, per_epoch: int, listeners: Sequence[object]) -> Trainer:
        mine = [spec.build() for spec in self.listeners]
        for listener in (*mine, *listeners):
            check_listener(listener)
        total = self.train.intervals(per_epoch).total
        run = Run(folder, self.table(), built.task, built.model, built.device, total, per_epoch, name=self.name)
        return Trainer(built, self.train, run, Relay(self.plugins, [*mine, *listeners]))

    def _steps_per_epoch(self, built: Built) -> int:
        train = self.train
        batches = built.task.batches("train", size=train.batch_size, seed=train.seed, epoch=0, whole=train.drop_last)
        if batches is None or not len(batches):
            place = Where(source=self.source) / "task"
            few = (
                f" {train.batch_size}, which train.drop_last asks for"
                if train.drop_last and batches is not None
                else ""
            )
            raise LabwrightError(f"{place}: the data has no training samples{few and ', or fewer than' + few}.")
        return 1 if self.closed_form else len(batches)

    def _write_down(self, folder: Path, built: Built) -> None:
        write_text(folder / "recipe.toml", tomli_w.dumps(self.table()))
        write_json(folder / "environment.json", environment(self.plugins, built.device, built.device_settings.threads))

    # ----------------------------------------------------------------------------------------------------- checking

    def _check_closed_form(self, here: Where) -> None:
        """Raises LabwrightError for settings of a descent where the model is computed without one."""
        descent = {
            "loss": self.loss,
            "optimizer": self.optimizers,
            "train.epochs": self.train.epochs,
            "train.steps": self.train.steps,
        }
        given = [field for field, value in descent.items() if value]
        if self.closed_form and given:
            raise LabwrightError(
                f"{here / 'model'}: model {self.model.label!r} is computed in closed form: it has no use for "
                f"{listed(given)}. As overrides, `{' '.join(f'{field}=' for field in given)}` leave them out."
            )

    def _check_separable(self, criterion: Any, settings: Device) -> None:
        """Raises LabwrightError if an update is to be cut into micro-batches and the loss doesn't allow it."""
        if settings.accumulate > 1 and not separable(criterion):
            assert self.loss is not None
            raise LabwrightError(
                f"{Where(source=self.source) / 'device'}: device.accumulate cuts a batch into {settings.accumulate}, "
                f"and loss {self.loss.label!r} compares the samples of a batch with one another: cut, it is another "
                "loss. Leave device.accumulate out, with a smaller train.batch_size where memory is short."
            )

    def _task_unprepared(self) -> Task:
        task = self.task.build()
        if not isinstance(task, Task):
            raise LabwrightError(f"task {self.task.name or task!r} is no labwright.Task but a {type(task).__name__}.")
        return task

    def _resolve_optimizers(self, value: Any, where: Where) -> dict[str, ComponentSpec]:
        """One optimizer for each phase; a table named after a phase overrides the others' settings."""
        if value is None:
            return {}
        if isinstance(value, Optimizer):
            kind = type(value).__name__
            raise LabwrightError(
                f"{where}: an optimizer is built over the parameters of a run's own model: give the class {kind}, or "
                f'{{"name": {kind}, "lr": 0.1}}, instead of an object.'
            )
        if not isinstance(value, Mapping):
            return dict.fromkeys(self.phases, resolve("optimizer", value, self.plugins, where))
        own = {phase: value[phase] for phase in self.phases if isinstance(value.get(phase), Mapping | str)}
        common = {key: one for key, one in value.items() if key not in own}
        spec = {}
        for phase in self.phases:
            mine = own.get(phase, {})
            mine = {"name": mine} if isinstance(mine, str) else mine
            fresh = "name" in mine and mine["name"] != common.get("name")
            place = where / phase if phase in own else where
            spec[phase] = resolve("optimizer", mine if fresh else common | mine, self.plugins, place)
        return spec

    def _made(self, spec: ComponentSpec, given: Mapping[str, Any]) -> Any:
        try:
            return spec.build(**{key: value for key, value in given.items() if key in spec.given})
        except (ValueError, RuntimeError, MemoryError) as error:
            memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error)
            if isinstance(error, RuntimeError) and not memory:
                raise
            said = "it needs more memory than there is; make it smaller" if memory else str(error)
            where = Where(source=self.source) / spec.kind
            raise LabwrightError(f"{where}: {spec.kind} {spec.label!r} can't be built: {said}") from error
