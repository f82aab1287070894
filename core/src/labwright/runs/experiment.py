"""An experiment: from a recipe or from Python, it is the same thing. What it consists of is in spec.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from labwright.base import ranks
from labwright.base.elsewhere import Shown
from labwright.base.errors import LabwrightError, RunFailed
from labwright.base.files import File, refuse_links, write_json, write_text
from labwright.base.isolation import isolated
from labwright.base.locks import Lock
from labwright.config.recipe import changes
from labwright.config.resolve import Where
from labwright.data.summary import DataSummary, summarised
from labwright.interfaces.closed_form import Remarking
from labwright.interfaces.run import Run
from labwright.interfaces.task import Task
from labwright.plugin.relay import Relay
from labwright.runs.building import build, prepared_task, steps_per_epoch
from labwright.runs.environment import environment, environment_of
from labwright.runs.folder import claim_folder, new_folder
from labwright.runs.spec import ExperimentSpec
from labwright.runs.start import Started, begin
from labwright.train.built import Built
from labwright.train.checkpoints import MemoryCheckpoints, compared_data, seal
from labwright.train.preflight import preflight
from labwright.train.trainer import Trainer


class Experiment(ExperimentSpec, Shown):
    """Components by name, as tables with settings, or as objects; everything is checked here, before anything is built.

    Raises LabwrightError for a name, a setting or a combination that doesn't fit.

    Example: `lw.Experiment(task={"name": "classification", "data": "vision/digits"}, model="vision/cnn",
    loss="cross-entropy", optimizer="adamw", train={"epochs": 5}).run()`
    """

    def __repr__(self) -> str:
        parts = (self.task, *self.task.parts().values(), self.model, self.loss, self.component("optimizer"))
        return f"Experiment({self.name!r}: {', '.join(part.label for part in parts if part)})"

    def build(
        self, learned: File | None = None, *, task: Task | None = None, begun: File | None = None, trains: bool = True
    ) -> Built:
        """Make everything: see `building.build`. The weights are initial ones, whatever a run starts from."""
        return build(self, Path(learned) if learned else None, task, Path(begun) if begun else None, trains=trains)

    def begun(self, built: Built) -> Started | None:
        """What a run that begins is given of what it starts from: its weights are copied. None: it starts anew."""
        with built.mixed():
            return None if self.start is None else begin(built.model, self.start, Where(("start",), self.source))

    def prepared(self) -> Task:
        """The task with its data read."""
        with isolated():
            return prepared_task(self)

    def run(self, folder: File | None = None, *, listeners: Sequence[object] = ()) -> Run:
        """Train, evaluate and report, in a new run folder.

        Args:
            folder: an empty one, or one to be made; `runs/NAME-001` and so on by default.
            listeners: objects with hook implementations, called after the plugins' and the recipe's.

        Returns:
            The run: its model, metrics and outcome.

        Raises:
            LabwrightError: for what can't be built, before there is a folder.
            RunFailed: for a run that could not go on; its folder says how far it came.
        """
        trainer = self.trainer(folder, listeners=listeners)
        trainer.fit()
        return trainer.run

    def preflight(
        self, folder: File | None = None, *, task: Task | None = None, listeners: Sequence[object] = ()
    ) -> Built:
        """Everything built and tried, and nothing written: what a run would stumble over at once is refused here.

        It costs a batch of each part. What it looks at is in docs/reference/preflight.md.

        Args:
            folder: where the run would write; without one, as for a trial of a study, nobody asks for room there.
            task: one of the same settings that was prepared before, so that its data isn't read again.
            listeners: as for `run`.

        Raises:
            LabwrightError: for what has to be mended first.

        Example: `lw.Experiment.from_recipe("vision/digits").preflight().metrics["valid"]`
        """
        ranks.join()
        built = self.build(task=task)
        built.measure_beside(self.train.evaluate_on or {})
        steps_per_epoch(self, built.task)  # of data without samples it is refused
        if started := self.begun(built):
            built.start, built.notes = started.files, [started.line(), *built.notes]
        self._try(built, Path(folder) if folder else None, listeners)
        return built

    def _try(self, built: Built, folder: Path | None, listeners: Sequence[object]) -> None:
        relay = Relay(self.plugins, [*(spec.build() for spec in self.listeners), *listeners])
        asked = {"experiment": self, "built": built, "folder": folder}
        preflight(built, self.train, lambda: [call(**asked) and None for call in relay.preflight])

    def trainer(
        self, folder: File | None = None, *, listeners: Sequence[object] = (), built: Built | None = None
    ) -> Trainer:
        """Everything built and written down in a new run folder, before the first step.

        What its `preflight` has `built` isn't built again.
        """
        # all that can be refused is refused before there is a folder
        built = built or self.preflight(folder or "runs", listeners=listeners)
        per_epoch = steps_per_epoch(self, built.task)
        settled = self.settled(per_epoch)
        data = summarised(built.task.data)
        folder = ranks.by_first(lambda: new_folder(self.name) if folder is None else claim_folder(Path(folder)))
        lock = Lock(folder)
        ranks.by_first(lock.acquire)
        ranks.by_first(lambda: settled._begin(folder, built, data))
        trainer = settled._trainer(built, folder, per_epoch, listeners)
        trainer.lock = lock
        trainer.run.data = data
        of_model = built.model.remarks() if isinstance(built.model, Remarking) else ()
        if settled.train != self.train:
            trainer.run.notes.append(f"train.epochs=auto: {settled.train.epochs} epochs of {per_epoch:,} steps.")
        trainer.run.notes += [*data.remarks, *of_model, *built.notes]
        return trainer

    def _begin(self, folder: Path, built: Built, data: DataSummary) -> None:
        """Write down what a run begins with, before its first step: even one that fails can be looked at so."""
        try:
            (folder / "task").mkdir()
            built.task.save(folder / "task")
            data.write(folder / "task")
            seal(folder / "task")
        except OSError as error:
            raise RunFailed(f"can't write {folder / 'task'}: {error.strerror or error}.") from error
        laid = {"recipe": self.source.origins} if self.source and self.source.under else {}
        self._write_down(folder, built, laid | ({"start": built.start} if built.start else {}))

    def trial(self, folder: File, task: Task, *, listeners: Sequence[object] = ()) -> Trainer:
        """A trainer for one trial of a study, over a prepared task: the same training, and little is written.

        The folder gets the recipe, the log and the outcome. Checkpoints stay in memory, and the test part isn't looked
        at: a search that saw it would choose by it.
        """
        folder, built = Path(folder), self.build(task=task)
        self.begun(built)
        per_epoch = steps_per_epoch(self, built.task)
        settled = self.settled(per_epoch)
        ranks.by_first(lambda: settled._begin_trial(folder))
        trainer = settled._trainer(built, folder, per_epoch, listeners)
        trainer.checkpoints = MemoryCheckpoints(folder)
        trainer.tested = False
        return trainer

    def _begin_trial(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.jsonl").unlink(missing_ok=True)  # of an attempt that was killed
        write_text(folder / "recipe.toml", tomli_w.dumps(self.table()), durable=False)

    def resumed(
        self, folder: File, *, listeners: Sequence[object] = (), other_data: bool = False
    ) -> tuple[Trainer, list[str]]:
        """A trainer that goes on from a run folder's newest whole checkpoint, and notes for the person.

        Args:
            folder: of a run of this experiment.
            listeners: as for `run`.
            other_data: go on with other samples than the run was begun with, but never with a task that has learned
                something else of them.

        Raises:
            LabwrightError: if the data isn't what the run was begun with, another process writes in the folder, or
                something in it leads out of it.
        """
        # a folder that somebody sent is written to: nothing in it may lead elsewhere
        ranks.join()
        refuse_links(folder := Path(folder))
        lock = Lock(folder)
        ranks.by_first(lock.acquire)
        try:
            trainer, notes = self._taken_up(folder, listeners, other_data)
        except BaseException:
            lock.release()
            raise
        trainer.lock = lock
        return trainer, notes

    def _taken_up(self, folder: Path, listeners: Sequence[object], other_data: bool) -> tuple[Trainer, list[str]]:
        built = self.build(begun=folder / "task")
        built.measure_beside(self.train.evaluate_on or {})
        data, differing = compared_data(built.task, folder / "task")
        if differing and not other_data:
            raise LabwrightError(
                f"the data isn't what {folder} was begun with: {'; '.join(differing)}. Put it back, begin a new run, "
                "or go on with it all the same: --other-data."
            )
        per_epoch = steps_per_epoch(self, built.task)
        trainer = self.settled(per_epoch)._trainer(built, folder, per_epoch, listeners)
        trainer.run.data = data
        checkpoint, notes = trainer.checkpoints.newest(built.read)
        if checkpoint is None:
            raise LabwrightError(f"{folder} has no whole checkpoint to go on from. {' '.join(notes)}".strip())
        step, newest = checkpoint.state["step"], ranks.shared(checkpoint.state["step"])
        if step != newest:
            raise RunFailed(f"step {step} is the newest checkpoint that process {ranks.number()} finds, not {newest}.")
        changed_since = changes(checkpoint.state["recipe"], self.table())
        if changed_since:  # what it is now may stumble where it didn't; the checkpoint is laid over what was tried
            self._try(built, None, listeners)
            notes.append(f"changed: {', '.join(changed_since)}. The run is no longer the one its first steps were.")
        trainer.restore(checkpoint)
        notes += ranks.by_first(lambda: trainer.log.cut(checkpoint.state["log"]))
        # last: a resumption that is refused leaves the folder as it was
        begun = {key: kept for key, kept in environment_of(folder).items() if key in ("recipe", "start")}
        ranks.by_first(lambda: self._write_down(folder, built, begun))
        return trainer, [*built.notes, *notes, *(f"the data is not the same: {one}." for one in differing)]

    def _trainer(self, built: Built, folder: Path, per_epoch: int, listeners: Sequence[object]) -> Trainer:
        listeners = [*(spec.build() for spec in self.listeners), *listeners]
        total = self.train.intervals(per_epoch).total
        of = (built.task, built.model, built.device)
        run = Run(folder, self.table(), *of, total, per_epoch, name=self.name, calling=built.calling)
        run.defaults = self.table(bare=True)
        return Trainer(built, self.train, run, Relay(self.plugins, listeners), listeners)

    def _write_down(self, folder: Path, built: Built, begun: Mapping[str, Any]) -> None:
        """The recipe and the environment; `begun` is what the recipe was laid on, and what the run began with."""
        write_text(folder / "recipe.toml", tomli_w.dumps(self.table()))
        here = environment(self.plugins, built.device, built.device_settings.threads)
        write_json(folder / "environment.json", {**here, **begun})
