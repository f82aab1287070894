"""Forward and backward of several trials at once. N trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from labwright.engine import PhaseStep, Trainer
from torch import Tensor, nn

from labwright_study.fused.batching import as_trial, over_trials
from labwright_study.fused.drawing import Masks
from labwright_study.fused.functions import Functions
from labwright_study.fused.fuse_key import CannotFuse
from labwright_study.fused.layers import install_dropouts, install_rules
from labwright_study.fused.stacked import Rows, differing

Form = Literal["grouped", "vmap", "vmap-grad"]
FORMS: tuple[Form, ...] = ("grouped", "vmap", "vmap-grad")


class Program:
    """The losses and gradients of like trials, computed together in one of the forms.

    grouped: `torch.vmap` over each trial's loss, where layers that are known go over stacks in one call; one backward
    of the sum of the losses. vmap: the same without those layers. vmap-grad: `torch.vmap` over each trial's gradient.

    While it lasts, the trials' models hold views of its stacks. Raises CannotFuse for models that differ.
    """

    def __init__(self, trainers: Sequence[Trainer], form: Form) -> None:
        self.trainers, self.form = list(trainers), form
        first = self.trainers[0]
        self.rows = Rows([trainer.model for trainer in self.trainers])
        self.criteria = {phase_step.name: _criterion(phase_step) for phase_step in first.phase_steps}
        if any(isinstance(one, nn.Module) and any(True for _ in one.parameters()) for one in self.criteria.values()):
            raise CannotFuse("the loss has parameters of its own")
        self.shells: dict[str, Any] = {
            name: deepcopy(criterion) if isinstance(criterion, nn.Module) else criterion
            for name, criterion in self.criteria.items()
        }
        self.functions: Functions
        self.watching = True
        self._arrange()

    def gradients(self, number: int, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of phase `number`, (N,), and the gradients of what it trains, (N, ...) by name.

        `batch` is one for all, or a `Stacked` one. A parameter the loss doesn't depend on has no gradient.
        """
        trained = self._trained(number)
        with self.functions if self.watching else nullcontext():
            if self.form == "vmap-grad":
                return self._inside(number, batch, trained)
            losses: Tensor = over_trials(lambda level: self._loss(level, number, batch), len(self.trainers))
        leaves = [self.rows.parameters[name] for name in trained]
        torch.autograd.backward(losses.sum(), inputs=leaves)
        found = {}
        for name, leaf in zip(trained, leaves, strict=True):
            if leaf.grad is not None:
                found[name] = leaf.grad
                leaf.grad = None
        return losses.detach(), found

    def keep(self, numbers: Sequence[int]) -> None:
        """Go on with some of the trials."""
        self.rows.keep(numbers)
        self.trainers = [self.trainers[number] for number in numbers]
        self._arrange()

    def _arrange(self) -> None:
        """Everything that depends on which trials there are."""
        device = self.trainers[0].device
        count = len(self.trainers)
        of_loss = {name: differing(list(modules)) for name, modules in self._criteria().items()}
        self.values = [
            (module, key, torch.tensor(values, dtype=torch.float64, device=device))
            for root, found in ((self.rows.shell, self.rows.values), *((self.shells[n], of_loss[n]) for n in of_loss))
            for (path, key), values in found.items()
            for module in [root.get_submodule(path)]
        ]
        keys = [tuple(values[i] for values in self.rows.values.values()) for i in range(count)]
        self.masks = Masks([trainer.train.seed for trainer in self.trainers], keys)
        self.functions = Functions(count, self.masks)
        self.places = [
            (*_owner(self.rows.shell, place, parameters=True), self.rows.parameters[name], name)
            for place, name in self.rows.names.items()
        ]
        self.buffer_places = [
            (*_owner(self.rows.shell, place, parameters=False), self.rows.buffers[name])
            for place, name in self.rows.buffer_names.items()
            if name in self.rows.buffers
        ]
        for place, name in self.rows.buffer_names.items():
            if name in self.rows.shared:
                owner, key = _owner(self.rows.shell, place, parameters=False)
                owner[key] = self.rows.shared[name]
        self.recurrent = [module for module in self.rows.shell.modules() if isinstance(module, nn.RNNBase)]
        self._install()

    def _install(self) -> None:
        """Give the layers of the shells their ways over stacks: dropouts in every form, the others in `grouped`."""
        rows = self.rows
        install_dropouts(rows.shell, rows.models, self.functions)
        if self.form != "grouped":
            return
        stacks = {place: rows.parameters[name] for place, name in rows.names.items()}
        stacks |= {place: rows.buffers[name] for place, name in rows.buffer_names.items() if name in rows.buffers}
        install_rules(rows.shell, stacks, self.values, self.functions)
        for shell in self.shells.values():
            if isinstance(shell, nn.Module):
                install_rules(shell, {}, self.values, self.functions)

    def _criteria(self) -> Mapping[str, Sequence[nn.Module]]:
        """The losses that are modules, of each trial, by phase."""
        found: dict[str, list[nn.Module]] = {}
        for trainer in self.trainers:
            for phase_step in trainer.phase_steps:
                criterion = _criterion(phase_step)
                if isinstance(criterion, nn.Module):
                    found.setdefault(phase_step.name, []).append(criterion)
        return found

    def _loss(
        self,
        level: int,
        number: int,
        batch: Any,
        given: Mapping[str, Tensor] | None = None,
        buffers: Sequence[Tensor] = (),
    ) -> Tensor:
        """One trial's loss; `given` stands for some of its parameters, `buffers` for its buffers."""
        self.functions.level = level
        parameters: dict[str, Tensor] = {}
        for owner, key, stack, name in self.places:
            one = parameters.get(name)
            if one is None:
                one = parameters[name] = given[name] if given and name in given else as_trial(stack, level)
            owner[key] = one
        buffers = buffers or [as_trial(stack, level) for *_, stack in self.buffer_places]
        for (owner, key, _), buffer in zip(self.buffer_places, buffers, strict=True):
            owner[key] = buffer
        for module, key, values in self.values:
            object.__setattr__(module, key, as_trial(values, level))
        for recurrent in self.recurrent:  # it keeps a list of its own
            recurrent._flat_weights = [getattr(recurrent, name) for name in recurrent._flat_weights_names]
        trainer = self.trainers[0]
        phase_step = trainer.phase_steps[number]
        batch = batch.one(level) if isinstance(batch, Stacked) else batch
        criterion = self.shells[phase_step.name]
        loss = trainer.task.loss(self.rows.shell, batch, criterion, phase_step.name)
        if isinstance(loss, dict):
            raise CannotFuse(f"the loss of task {type(trainer.task).__name__} has named parts: {', '.join(loss)}")
        if _penalised(phase_step):
            penalty = criterion.penalty({name: parameters[name] for name in self._trained(number)})
            loss = loss if penalty is None else loss + penalty
        for (owner, key, _), buffer in zip(self.buffer_places, buffers, strict=True):
            if owner[key] is not buffer:  # it was replaced instead of changed
                buffer.copy_(owner[key])
        return loss

    def _trained(self, number: int) -> list[str]:
        """What a phase trains, without what the author of the model froze."""
        names = self.trainers[0].phase_steps[number].optimizer.parameters
        return [name for name in names if self.rows.parameters[name].requires_grad]

    def _inside(self, number: int, batch: Any, trained: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses and gradients by a gradient within `torch.vmap`."""

        def one(level: int) -> Any:
            given = {name: as_trial(self.rows.parameters[name].detach(), level) for name in trained}
            buffers = [as_trial(stack, level) for *_, stack in self.buffer_places]  # given, so that they may change
            return torch.func.grad_and_value(partial(self._loss, level, number, batch))(given, buffers)

        gradients, losses = over_trials(one, len(self.trainers))
        return losses.detach(), gradients


class Stacked:
    """The batches of several trials as one whose tensors have a row for each.

    Raises CannotFuse for batches that differ in shape or in anything that is no tensor.
    """

    def __init__(self, batches: Sequence[Any]) -> None:
        self.like = batches[0]
        if not is_dataclass(self.like) or isinstance(self.like, type):
            raise CannotFuse(f"a batch is a dataclass, not {type(self.like).__name__}")
        self.stacks = {
            field.name: _stacked([getattr(batch, field.name) for batch in batches], field.name)
            for field in fields(self.like)
        }

    def one(self, level: int) -> Any:
        """One trial's batch."""
        return replace(self.like, **{name: _one(stack, level) for name, stack in self.stacks.items()})


def _stacked(values: Sequence[Any], name: str) -> Any:
    first = values[0]
    if isinstance(first, Tensor):
        if any(value.shape != first.shape for value in values):
            raise CannotFuse(f"the batches of trials with different seeds differ in the shape of {name!r}")
        return torch.stack(list(values))
    if isinstance(first, tuple):
        return tuple(_stacked(part, name) for part in zip(*values, strict=True))
    if any(value != first for value in values):
        raise CannotFuse(f"the batches of trials with different seeds differ in {name!r}")
    return first


def _one(stack: Any, level: int) -> Any:
    if isinstance(stack, Tensor):
        return as_trial(stack, level)
    return tuple(_one(part, level) for part in stack) if isinstance(stack, tuple) else stack


def _owner(root: nn.Module, place: str, *, parameters: bool) -> tuple[dict[str, Any], str]:
    path, _, key = place.rpartition(".")
    module = root.get_submodule(path)
    return (module._parameters if parameters else module._buffers), key


def _criterion(phase_step: PhaseStep) -> Any:
    objective: Any = phase_step.objective
    return objective.criterion


def _penalised(phase_step: PhaseStep) -> bool:
    objective: Any = phase_step.objective
    return bool(objective.penalised)
