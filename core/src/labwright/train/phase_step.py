"""One phase's optimizer update: forward, backward, clip, step, average. The only code inside a step that does work.

A loss is a scalar, or a table of named parts: their sum is minimised, and each is logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from labwright.base import ranks
from labwright.data.dataset import Batch
from labwright.interfaces.loss import Loss
from labwright.interfaces.task import Phase, Task
from labwright.train.built import Built
from labwright.train.checkpoints import below, held
from labwright.train.gradient_sum import GradientSum, summed_gradients
from labwright.train.loss_scale import LossScale
from labwright.train.settings import Train


class Objective(nn.Module):
    """Batch -> loss as one module: what is compiled, distributed and vectorised, never the bare model."""

    def __init__(
        self, task: Task, model: nn.Module, criterion: Any, phase: str, penalised: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion
        self.task, self.phase, self.penalised = task, phase, dict(penalised)
        self.places: dict[Tensor, str] = {parameter: name for name, parameter in self.named_parameters()}

    def forward(self, batch: Batch) -> Tensor | Mapping[str, Tensor]:
        loss = self.task.loss(self.model, batch, self.criterion, self.phase)
        if self.penalised:
            here = dict(self.named_parameters())
            # torch.func puts others in their place for a while; so does sharding, but in a precision of its own
            own = {name: here[self.places[one]] if one is held(one) else one for name, one in self.penalised.items()}
            # frozen ones would only add a constant
            trained = {name: parameter for name, parameter in own.items() if parameter.requires_grad}
            penalty = self.criterion.penalty(trained)
            if penalty is not None:
                return loss | {"penalty": penalty} if isinstance(loss, dict) else loss + penalty
        return loss


class PhaseStep:
    """The update of one phase; called once for each step the phase is due in.

    `averages` holds the averaged weights of the phases before, by the parameter: what several phases train has one
    average, which follows each update and belongs to the first of them.
    """

    def __init__(self, phase: Phase, built: Built, train: Train, averages: dict[Tensor, Tensor]) -> None:
        self.name, self.every = phase.name, phase.every
        self.optimizer = optimizer = built.optimizers[phase.name]
        self.settings, self.device, self.method = built.device_settings, built.device, built.method
        self.model = built.model
        task, model, criterion = built.task, built.model, built.criterion
        self.parameters: list[Tensor] = list(optimizer.parameters.values())
        self.mixed = built.mixed
        # a phase of some children alone leaves no gradient in the others', which it goes through
        self.only_own = bool(phase.parameters) and not built.sharding  # where it takes them away itself
        # most losses add nothing for the parameters: those steps don't even ask
        penalises = isinstance(criterion, Loss) and type(criterion).penalty is not Loss.penalty
        objective: Any = Objective(task, model, criterion, phase.name, optimizer.parameters if penalises else {})
        self.objective = torch.compile(objective) if self.settings.compile else objective
        # `arriving` makes the context in which gradients become sums over all processes
        if built.sharding:
            self.objective, self.arriving = built.sharding.around(self.objective, self.parameters)
        else:
            self.arriving = GradientSum(self.parameters).arriving if ranks.count() > 1 else None
        self.full_precision = self.settings.precision == "fp32"
        self.scale = LossScale(self.device) if self.settings.precision == "fp16" else None
        self.clip, self.decay = train.clip, train.ema
        self.average: list[Tensor] = []
        self.owned: dict[str, tuple[Tensor, Tensor]] = {}  # name -> a parameter and its average
        for name, parameter in optimizer.parameters.items() if train.ema is not None else ():
            if parameter not in averages:
                averages[parameter] = parameter.detach().clone()
                self.owned[name] = parameter, averages[parameter]
            self.average.append(averages[parameter])

    def __call__(
        self, batches: Sequence[Batch], weights: Sequence[float], step: int, total: int
    ) -> Mapping[str, Tensor]:
        """Update the phase's parameters by the mean over all the batches' weights.

        Returns that mean by the phase's name, and its named parts by PHASE/PART, on the device.
        """
        losses = self.method.gradients(self, batches, weights)
        self.apply(step, total)
        return losses

    def apply(self, step: int, total: int) -> None:
        """Update the phase's parameters by their gradients, which are then gone: clip, step, average."""
        with self.mixed():
            found_inf = self._prepare_gradients()
            self.optimizer.step(self.optimizer.lr_at(step, total), found_inf)
            for parameter in self.parameters:
                parameter.grad = None
            self.follow(step)

    def follow(self, step: int) -> None:
        """Let the averages follow the weights, if there are averages."""
        if self.decay is not None:
            with torch.no_grad():
                # early weights are far off: the average starts by forgetting them fast
                torch._foreach_lerp_(self.average, self.parameters, 1 - min(self.decay, (1 + step) / (10 + step)))

    def backward(self, batches: Sequence[Batch], weights: Sequence[float]) -> dict[str, Tensor]:
        """Add the gradient of the weighted mean over the batches to each parameter's. Returns it and its parts."""
        inputs = [parameter for parameter in self.parameters if parameter.requires_grad] if self.only_own else None
        if len(batches) == 1 and self.arriving is None:
            losses = self._named(self.losses(batches[0]))
            loss = losses[self.name]
            torch.autograd.backward(self.scale.scale(loss) if self.scale else loss, inputs=inputs)
            return {name: value.detach() for name, value in losses.items()}
        # each micro-batch goes backward by itself, so that one's graph is alive at a time
        shares: dict[str, list[Tensor]] = {}
        for number, (batch, weight) in enumerate(zip(batches, weights, strict=True), 1):
            losses = {name: value * weight for name, value in self._named(self.losses(batch)).items()}
            loss = losses[self.name]
            # gradients travel once they are whole
            with self.arriving() if self.arriving and number == len(batches) else nullcontext():
                torch.autograd.backward(self.scale.scale(loss) if self.scale else loss, inputs=inputs)
            for name, value in losses.items():
                shares.setdefault(name, []).append(value.detach())
        return {name: torch.stack(values).sum() for name, values in shares.items()}

    def derivative(self, loss: Tensor, *, keep: bool = False) -> Sequence[Tensor | None]:
        """The gradient of a scalar by each parameter, times the loss scale; None where it doesn't depend on it."""
        trained = [parameter for parameter in self.parameters if parameter.requires_grad]
        scaled = self.scale.scale(loss) if self.scale else loss
        found = iter(torch.autograd.grad(scaled, trained, retain_graph=keep, allow_unused=True))
        gradients = [next(found) if parameter.requires_grad else None for parameter in self.parameters]
        return gradients if self.arriving is None else summed_gradients(gradients, self.parameters)

    def losses(self, batch: Batch) -> Tensor | Mapping[str, Tensor]:
        """The loss of a batch, in the precision of the run."""
        if self.full_precision:  # the usual case pays for no context
            return self.objective(batch)  # type: ignore[no-any-return]
        with self.settings.autocast(self.device) or nullcontext():
            return self.objective(batch)  # type: ignore[no-any-return]

    def _named(self, loss: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss by the phase's name, and its parts by PHASE/PART."""
        if isinstance(loss, Tensor):
            return {self.name: loss}
        return {self.name: summed(loss), **{f"{self.name}/{part}": value for part, value in loss.items()}}

    def _prepare_gradients(self) -> Tensor | None:
        found_inf = None
        if self.scale:
            gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
            found_inf = self.scale.unscale(gradients)
            self.scale.update(found_inf)
        # after the scale is gone: a norm is bounded in the loss's own units
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        return found_inf

    def swap_average(self) -> None:
        """Exchange the weights and their averages, if there are averages."""
        for parameter, average in self.owned.values():
            # their contents: compiled code and sharding hold on to a parameter's memory
            weights = parameter.detach().clone()
            parameter.detach().copy_(average)
            average.copy_(weights)

    def adopt_average(self) -> None:
        """Go on with the averages as the weights, for good; the run is over."""
        self.swap_average()
        self.average, self.owned, self.decay = [], {}, None

    def state_dict(self) -> dict[str, Tensor]:
        """Everything but the weights, under names that begin with the phase's."""
        state = {
            f"{self.name}/optimizer/{parameter}/{slot}": tensor
            for parameter, slots in self.optimizer.state_dict().items()
            for slot, tensor in slots.items()
        }
        state |= {f"{self.name}/average/{name}": average for name, (_, average) in self.owned.items()}
        if self.scale:
            state |= {f"{self.name}/scale/{slot}": tensor for slot, tensor in self.scale.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor], *, weights_only: bool) -> list[str]:
        """Take up what `state_dict` gave; with `weights_only` the averages alone.

        Returns what wasn't kept and begins anew, and what was kept and isn't used, in words.
        """
        kept = below(f"{self.name}/", state)
        averages, scale = below("average/", kept), below("scale/", kept)
        notes = []
        if self.owned and not averages:
            notes.append("the checkpoint has no averaged weights: they begin at its weights")
            for parameter, average in self.owned.values():
                average.copy_(parameter.detach())
        elif self.owned:
            for name, (_, average) in self.owned.items():
                average.copy_(averages[name])
        elif averages:
            notes.append("the checkpoint's averaged weights are not used: train.ema is left out")
        if weights_only:
            return notes
        optimizer: dict[str, dict[str, Tensor]] = {}
        for key, tensor in below("optimizer/", kept).items():
            name, _, slot = key.rpartition("/")
            optimizer.setdefault(name, {})[slot] = tensor
        self.optimizer.load_state_dict(optimizer)
        if self.scale and scale:
            self.scale.load_state_dict(scale)
        elif self.scale:
            notes.append("the checkpoint has no loss scale: it begins at its default")
        elif scale:
            notes.append(f"the checkpoint's loss scale is not used in {self.settings.precision}")
        return notes


def summed(loss: Tensor | Mapping[str, Tensor]) -> Tensor:
    """A loss as the scalar that is minimised: itself, or the sum of its parts."""
    return loss if isinstance(loss, Tensor) else torch.stack(tuple(loss.values())).sum()


def phase_steps(built: Built, train: Train) -> list[PhaseStep]:
    """One for each phase of the task that has an optimizer."""
    averages: dict[Tensor, Tensor] = {}
    return [PhaseStep(phase, built, train, averages) for phase in built.task.phases() if phase.name in built.optimizers]
