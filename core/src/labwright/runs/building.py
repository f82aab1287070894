"""From an experiment's components to objects: the data is read, then model, loss and optimizers are made."""

from __future__ import annotations

from inspect import isclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labwright.base import ranks
from labwright.base.errors import LabwrightError
from labwright.base.isolation import isolated
from labwright.base.seeding import derived_seed
from labwright.config.resolve import Where
from labwright.interfaces.device import Device
from labwright.interfaces.loss import Loss, separable
from labwright.interfaces.method import Collecting, Method
from labwright.interfaces.task import Task
from labwright.runs.spec import ExperimentSpec
from labwright.train.built import Built, phase_parameters
from labwright.train.checkpoints import split_state, verify
from labwright.train.divided import divide
from labwright.train.materialize import complete


def build(
    spec: ExperimentSpec,
    learned: Path | None = None,
    task: Task | None = None,
    begun: Path | None = None,
    *,
    measured: bool = False,
) -> Built:
    """Make everything: read the data (or take up what was learned from it), then model, loss and optimizers.

    `task` is one of the same settings that was prepared before, so that its data isn't read again. `begun` is what the
    task of a run kept that is gone on with: what it started from, or took from another run, isn't asked any more.
    What is only `measured` isn't trained: several processes that measure it need not be able to divide a batch of it.
    Random numbers and threads of the process are as before when it returns. Raises LabwrightError for what can't be
    built.
    """
    settings: Device = spec.device.build()
    device = settings.find()
    if spec.train.batch_size % settings.accumulate:
        raise LabwrightError(
            f"device.accumulate: {settings.accumulate} micro-batches don't divide train.batch_size, "
            f"{spec.train.batch_size}."
        )
    with isolated(device, seed=derived_seed(spec.train.seed, 0), threads=settings.threads):
        # trials share a prepared task, but no losses within it that learn
        if task is None or any(loss.state_dict() for loss in held_losses(spec, task).values()):
            task = prepared_task(spec, learned, begun)
        torch.manual_seed(derived_seed(spec.train.seed, 0))  # the weights don't depend on what reading the data drew
        inputs, outputs = task.ports()
        model: nn.Module = complete(spec.model.build(inputs=inputs, outputs=outputs), inputs)
        criterion = _criterion(spec, task, device, settings.accumulate, trained=learned is None)
        together = ranks.count() > 1 and (measured or learned is None)  # else one process takes it up for itself
        sharding = settings.shard(model, criterion) if together else None
        if sharding is None:  # else a device may not have room for the whole
            model.to(device)
            if isinstance(criterion, nn.Module):
                criterion.to(device)
        split_state(model)  # refused here if no checkpoint could hold it
        phases = [phase for phase in task.phases() if phase.name in spec.optimizers]
        optimizers = {
            phase: spec.optimizers[phase].build(parameters=parameters)
            for phase, parameters in phase_parameters(model, criterion, phases).items()
        }
        method: Method = spec.method.build()
        method.check(task, model)
        notes = [] if learned or measured else [*method.begin(task, model, criterion, _settled(spec, task).table())]
    built = Built(task, model, criterion, device, settings, optimizers, method, sharding, notes=notes)
    if together and not measured:
        divide(built, spec.train)
    return built


def _settled(spec: ExperimentSpec, task: Task) -> ExperimentSpec:
    return spec.settled(steps_per_epoch(spec, task)) if spec.train.epochs == "auto" else spec


def _criterion(spec: ExperimentSpec, task: Task, device: torch.device, accumulate: int, *, trained: bool) -> Any:
    """The recipe's loss with those of the task within it that learn; None for neither.

    Raises LabwrightError for a loss that is no module beside those, and for one that can't be cut where batches are.
    """
    inputs, outputs = task.ports()
    criterion = None if spec.loss is None else spec.loss.build(inputs=inputs, outputs=outputs)
    if isinstance(criterion, Loss) and trained:
        criterion.prepare(outputs)
    held = nn.ModuleDict(held_losses(spec, task)).to(device)
    if held.state_dict():  # within the recipe's loss they are trained and kept with it
        criterion = nn.Module() if criterion is None else criterion
        if not isinstance(criterion, nn.Module):
            raise LabwrightError("loss: beside a task's own loss that learns, it is a module, not a function.")
        criterion.add_module("task", held)
    whole = next((loss for loss in (criterion, *held.values()) if not separable(loss)), None)
    if accumulate > 1 and whole is not None:
        label = spec.loss.label if spec.loss and whole is criterion else type(whole).__name__
        raise LabwrightError(
            f"{Where(source=spec.source) / 'device'}: device.accumulate cuts a batch into {accumulate}, "
            f"and loss {label!r} compares the samples of a batch with one another: cut, it is another loss. Leave "
            "device.accumulate out, with a smaller train.batch_size where memory is short."
        )
    return criterion


def prepared_task(spec: ExperimentSpec, learned: Path | None = None, begun: Path | None = None) -> Task:
    """The task with its data read, or with what was learned from it taken up from a run's folder."""
    task: Task = spec.task.build()
    kept = learned or begun
    if kept is not None:
        verify(kept)  # before anything is read from it
    if spec.start is not None:
        task.starts_from(kept or spec.start.learned)
    if begun is not None:
        task.resumes_from(begun)
    if learned is None:
        ranks.in_turn(task.prepare)
    else:
        task.load(learned)
    return task


def held_losses(spec: ExperimentSpec, task: Task) -> dict[str, nn.Module]:
    """The losses that are modules among a task's attributes, and in an attribute that is a table or a list.

    Raises LabwrightError for one with a penalty, which is of all weights.
    """
    parts = [part.target or type(part.thing) for part in spec.task.parts().values() if part.kind == "loss"]
    held: dict[str, nn.Module] = {}
    for key, value in vars(task).items():
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for place, loss in ((key, value), *((f"{key}/{inner}", one) for inner, one in pairs)):
            if isinstance(loss, nn.Module) and isinstance(loss, (Loss, *filter(isclass, parts))):
                held |= {} if loss in held.values() else {place: loss}
    for place, loss in held.items():
        if isinstance(loss, Loss) and type(loss).penalty is not Loss.penalty:
            raise LabwrightError(
                f"task.{place.replace('/', '.')}: loss {type(loss).__name__} is of all weights; here it is one of "
                "several losses. Put the penalty around the recipe's `loss`, or use optimizer.weight_decay."
            )
    return held


def steps_per_epoch(spec: ExperimentSpec, task: Task) -> int:
    """How many batches the training data has; one for a model in closed form. Raises LabwrightError if it has none."""
    train = spec.train
    if isinstance(task, Collecting):
        if train.steps is None:
            raise LabwrightError(
                f"{Where(source=spec.source) / 'train'}: task {spec.task.label!r} collects what it learns from, which "
                "has no epochs: give train.steps, of which each is one update."
            )
        return task.round_steps(train.batch_size)
    batches = task.batches("train", size=train.batch_size, seed=train.seed, epoch=0, whole=train.drop_last)
    if batches is None or not len(batches):
        fewer = ""
        if train.drop_last and batches is not None:
            fewer = f", or fewer than {train.batch_size}, which train.drop_last asks for"
        raise LabwrightError(f"{Where(source=spec.source) / 'task'}: the data has no training samples{fewer}.")
    return 1 if spec.closed_form else len(batches)
