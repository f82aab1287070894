"""Components with one fault each, for the conformance kit to find; each docstring says which."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Self

import labwright as lw
import torch
from labwright import Integers, Uniform
from parts import Blobs, Net, Points
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.nn import functional

# ------------------------------------------------------------------------------------------------------- settings


class Undocumented(Net):
    pass


class Untold(nn.Module):
    """A setting of which nothing is said.

    Args:
        depth: is said.
    """

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, depth: int = 1, width: int = 8) -> None: ...


class Unannotated(nn.Module):
    """A setting without an annotation."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, width=8) -> None: ...


class BadDefault(nn.Module):
    """A default that its own limits exclude."""

    def __init__(self, inputs: lw.Features, *, rate: Annotated[float, Field(lt=1)] = 1.5) -> None: ...


class Dangling(nn.Module):
    """A setting that counts under one that isn't there."""

    def __init__(self, inputs: lw.Features, *, rate: Annotated[float, lw.When("mode", "fast")] = 0.5) -> None: ...


class Doubled(nn.Module):
    """A setting that is another each time it is read."""

    def __init__(self, *, rate: Annotated[float, AfterValidator(lambda value: value * 2)] = 0.5) -> None: ...


class SearchedTooFar(nn.Module):
    """A search mark beyond the limits."""

    def __init__(self, *, rate: Annotated[float, Field(lt=1), Uniform(0.0, 2.0)] = 0.5) -> None: ...


class HalfFrozen(Net):
    """Sound: its body stays as it is."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.body.requires_grad_(False)


class Heads(Net):
    """A search space whose points don't all go together."""

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Classes,
        *,
        width: Annotated[int, Integers(8, 64)] = 16,
        heads: Annotated[int, Integers(2, 8)] = 4,
    ) -> None:
        if width % heads:
            raise ValueError("heads must divide width")
        super().__init__(inputs, outputs, width=width)


# ---------------------------------------------------------------------------------------------------------- models


class Squeezes(Net):
    """A batch of one loses its axis."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD).squeeze()


class LooksAtNeighbours(Net):
    """A row's answer depends on the others."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD - x_BD.mean(0))


class Unused(Net):
    """A layer that nothing uses."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.more = nn.Linear(2, 2)


class Infinite(Net):
    """A gradient that isn't finite: the root of 0."""

    def forward(self, x_BD: Tensor) -> Tensor:
        logits = super().forward(x_BD)
        return logits + (logits - logits).sqrt()


class OtherDice(Net):
    """Weights from a generator that no seed reaches."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        nn.init.constant_(self.head.bias[:1], random.SystemRandom().random())


class Forgetful(Net):
    """Something set at random that isn't in the state."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.scale = float(torch.rand(()))

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD) * self.scale


class AlwaysDrops(Net):
    """Dropout in evaluation."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return functional.dropout(super().forward(x_BD), 0.5, training=True)


class Counts(Net):
    """A buffer that evaluation changes."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x_BD: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x_BD)


class StaysBehind(Net):
    """A tensor that doesn't move with the model."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.mask = torch.ones(len(outputs.names))


class Mixes(Net):
    """A sum of two types under autocast."""

    def forward(self, x_BD: Tensor) -> Tensor:
        logits = super().forward(x_BD)
        return torch.zeros(logits.shape).index_add(0, torch.arange(len(logits)), logits)


class Rounds(Net):
    """A number that bfloat16 can't hold: 100,000 and a little."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD) * 20 + 1e5 - 1e5


class Searched(Net):
    """Sound, with a width to search; its faulty kin can't be as narrow as that says."""

    def __init__(
        self, inputs: lw.Features, outputs: lw.Classes, *, width: Annotated[int, Field(ge=1), Integers(1, 64)] = 16
    ) -> None:
        super().__init__(inputs, outputs, width=width)


class NarrowFails(Searched):
    """A width at the low end of its search that nothing can be computed with."""

    def forward(self, x_BD: Tensor) -> Tensor:
        hidden_BW = self.body(x_BD).squeeze()
        return self.head(hidden_BW.view(len(hidden_BW), hidden_BW.shape[1]))


class LateBuffer(Net):
    """A buffer that is there from the first batch on."""

    def forward(self, x_BD: Tensor) -> Tensor:
        self.register_buffer("seen", torch.ones(()))
        return super().forward(x_BD)


class Blind(Net):
    """Answers that have little to do with the input."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD * 0 + 1)


# --------------------------------------------------------------------------------------------------------- methods


class Averaging(lw.Method):
    """Gradients with what is left of those before, sound; its faulty kin differ in one place."""

    def __init__(self) -> None:
        self.left: dict[str, Tensor] = {}

    def gradients(self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        losses = update.backward(batches, weights)
        for number, parameter in enumerate(update.parameters):
            if parameter.grad is not None:
                key = f"{update.name}.{number}"
                parameter.grad += 0.5 * self.left.get(key, torch.zeros_like(parameter.grad))
                self.left[key] = parameter.grad.clone()
        return losses

    def state(self) -> dict[str, Tensor]:
        return dict(self.left)

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.left = {name: tensor.clone() for name, tensor in state.items()}


class BeginsAnew(Averaging):
    """What was left isn't taken up."""

    def load_state(self, state: Mapping[str, Any]) -> None: ...


class RollsDice(lw.Method):
    """Gradients by dice that no seed reaches."""

    def gradients(self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        losses = update.backward(batches, weights)
        for parameter in update.parameters:
            if parameter.grad is not None:
                parameter.grad *= random.SystemRandom().random()
        return losses


class Nameless(lw.Method):
    """Losses by another name than the phase's."""

    def gradients(self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        return {"loss": update.backward(batches, weights)[update.name]}


class Gradientless(lw.Method):
    """A loss, and no gradients."""

    def gradients(self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        with torch.no_grad():
            return {update.name: update.losses(batches[0])}


class StepsItself(lw.Method):
    """A step that is the optimizer's."""

    def gradients(self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        losses = update.backward(batches, weights)
        with torch.no_grad():
            for parameter in update.parameters:
                parameter.sub_(0.1)
        return losses


class LosesCount:
    """A stopping rule whose count of steps isn't taken up."""

    def __init__(self, *, most: int = 100) -> None:
        self.most, self.steps = most, 0

    @lw.hookimpl
    def labwright_step_ended(self, step: int) -> None:
        self.steps += 1
        if self.steps > self.most:
            raise lw.StopRun(f"{self.most} steps")

    def state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state(self, state: Mapping[str, Any]) -> None: ...


# ---------------------------------------------------------------------------------------------------------- losses


class Compares(lw.Loss):
    """Sound: it compares the samples of a batch with one another, and says so."""

    separable = False

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits - logits.mean(0), labels)


class Detached(lw.Loss):
    """A gradient that lacks a part."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels) + logits.detach().exp().mean() * logits.mean()


class Summed(lw.Loss):
    """A sum instead of a mean."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, reduction="sum")


# ------------------------------------------------------------------------------------------------------- schedules


class Waits(lw.LRSchedule):
    """Halves the rate at each evaluation after the first two."""

    def __init__(self) -> None:
        self.falls: list[int] = []
        self.heard = 0

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        self.heard += 1
        if self.heard > 2:
            self.falls.append(step)

    def factor(self, step: int, start: int, total: int, end: float) -> float:
        return 0.5 ** sum(fall <= step for fall in self.falls)

    def state(self) -> Mapping[str, Any]:
        return {"falls": list(self.falls), "heard": self.heard}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.falls, self.heard = list(state["falls"]), state["heard"]


class WaitsAnew(Waits):
    """It forgets what it has heard."""

    def load_state(self, state: Mapping[str, Any]) -> None: ...


class Counted(lw.LRSchedule):
    """Its share is that of the calls so far."""

    def __init__(self) -> None:
        self.calls = 0

    def factor(self, step: int, start: int, total: int, end: float) -> float:
        self.calls += 1
        return 1 / self.calls


# ------------------------------------------------------------------------------------------------------ optimizers


class Momentum(lw.Optimizer):
    """SGD with momentum, sound; its faulty kin differ in one place."""

    sign = 1.0

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: Annotated[float, Field(gt=0)] = 0.01,
        groups: dict[str, lw.Group] | None = None,
    ) -> None:
        super().__init__(parameters, lr=lr, groups=groups)
        self.moving = {name: torch.zeros_like(one) for name, one in self.parameters.items()}

    @torch.no_grad()
    def step(self, lr: float, found_inf: Tensor | None = None) -> None:
        if found_inf is not None and float(found_inf):
            return
        for name, factor in self.factors().items():
            parameter = self.parameters[name]
            if parameter.grad is not None:
                self.moving[name].mul_(0.9).add_(parameter.grad)
                parameter.sub_(self.moving[name], alpha=self.sign * lr * factor)

    def factors(self) -> dict[str, float]:
        return {name: factor for names, factor, _ in self.groups for name in names}

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        return {name: {"moving": one} for name, one in self.moving.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        self.moving = {name: slots["moving"].clone() for name, slots in state.items()}


class Ascends(Momentum):
    """It goes up."""

    sign = -1.0


class Forgets(Momentum):
    """A state that isn't taken up."""

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        pass


class Levels(Momentum):
    """Groups that change nothing."""

    def factors(self) -> dict[str, float]:
        return dict.fromkeys(self.parameters, 1.0)


class Overflows(Momentum):
    """A step that is made in spite of an overflow."""

    def step(self, lr: float, found_inf: Tensor | None = None) -> None:
        super().step(lr)


# --------------------------------------------------------------------------------------------------------- devices


class ByBatch:
    """The mean of the accuracies of batches, as if each had as many samples."""

    def __init__(self) -> None:
        self.reset()

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.shares.append(float((logits.argmax(-1) == labels).double().mean()) * len(labels) ** 0.5)

    def compute(self) -> float:
        return sum(self.shares) / len(self.shares)

    def reset(self) -> None:
        self.shares: list[float] = []


class KeepsOn:
    """Samples counted, for ever."""

    count = 0

    def update(self, logits: Tensor, labels: Tensor) -> None:
        self.count += len(labels)

    def compute(self) -> float:
        return float(self.count)

    def reset(self) -> None: ...


class Rolls(KeepsOn):
    """Samples counted, and dice."""

    def compute(self) -> float:
        return float(torch.rand(()))


class Nowhere(lw.Device):
    """A device that nothing comes back from."""

    def find(self) -> torch.device:
        return torch.device("meta")


class OnePrecision(lw.Device):
    """No autocast, whatever is asked for."""

    def find(self) -> torch.device:
        return torch.device("cpu")

    def autocast(self, device: torch.device) -> AbstractContextManager[Any] | None:
        return None


# ------------------------------------------------------------------------------------------------------------ data


class Unlicensed(Blobs):
    """No licence."""

    licence = ""


class Leaks(Blobs):
    """Test samples that are training samples."""

    def prepare(self) -> None:
        super().prepare()
        self.splits["test"] = self.splits["train"]


class Jitters(Points):
    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        batch = super().fetch(indices, epoch, seed)
        return lw.Batch((batch.inputs[0] + torch.rand(batch.inputs[0].shape),), batch.targets)


class Drifts(Points):
    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        batch = super().fetch(indices, epoch, seed)
        return lw.Batch((batch.inputs[0] + torch.arange(len(indices))[:, None],), batch.targets)


class AugmentsFreely(Blobs):
    """Noise from torch's own generator."""

    def split(self, name: str) -> Points | None:
        return Jitters(self.splits[name].x_ND, self.splits[name].y_N)


class AugmentsByPlace(Blobs):
    """Noise that depends on the place in a batch."""

    def split(self, name: str) -> Points | None:
        return Drifts(self.splits[name].x_ND, self.splits[name].y_N)


class SaysOtherwise(Blobs):
    """Samples of another type than the port says."""

    def prepare(self) -> None:
        super().prepare()
        for part in self.splits.values():
            part.x_ND = part.x_ND.double()


class Lines(Blobs):
    """Sound data that reads a line of four numbers, in units of what it learned; its faulty kin don't keep the unit."""

    unit = 1.0

    def prepare(self) -> None:
        super().prepare()
        self.unit = 2.0

    def parse(self, line: str) -> lw.Input:
        return lw.Input((torch.tensor([[float(word) / self.unit for word in line.split()]]),), origin=line)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        return [" ".join(str(value * self.unit) for value in row) for row in inputs[0].tolist()]

    def save(self, folder: Path) -> None:
        (folder / "unit.json").write_text(json.dumps(self.unit))

    def load(self, folder: Path) -> None:
        self.unit = json.loads((folder / "unit.json").read_text())


class LosesUnit(Lines):
    """What it reads is another input without its data."""

    def load(self, folder: Path) -> None: ...


class ReadsNoRow(Lines):
    """An input without its axis of rows."""

    def parse(self, line: str) -> lw.Input:
        return lw.Input((super().parse(line)[0][0],), origin=line)


class LoadsNothing(Blobs):
    """Ports that a run folder doesn't bring back."""

    names: tuple[str, ...] = ()

    def prepare(self) -> None:
        super().prepare()
        self.names = ("a", "b", "c")

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((4,)), lw.Classes(self.names)

    def load(self, folder: Path) -> None:
        pass


class ReadsOthers(Blobs):
    """Sound data that reads others of its kind from a file; its faulty kin do so in other ways.

    Args:
        path: the file.
    """

    def __init__(self, *, path: Path = Path(__file__)) -> None:
        super().__init__()
        self.path = path

    def on(self, path: Path) -> Self:
        other = copy(self)
        other.splits = {"test": self.splits["valid"]}
        return other

    def inputs(self, path: Path) -> list[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        return [(f"{path}, line {row + 1}", lambda: (torch.zeros(1, 4),)) for row in range(3)]


class GivesAllParts(ReadsOthers):
    """Other data that is cut into parts."""

    def on(self, path: Path) -> Self:
        other = super().on(path)
        other.splits |= {"train": self.splits["test"]}
        return other


class NumbersTheUnknown(ReadsOthers):
    """A class that the run doesn't know gets a label of its own."""

    def on(self, path: Path) -> Self:
        other = super().on(path)
        other.splits = {"test": Points(self.splits["valid"].x_ND, self.splits["valid"].y_N + 7)}
        return other


class InOnePlace(ReadsOthers):
    """All inputs stand in one place."""

    def inputs(self, path: Path) -> list[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        return [(str(path), read) for _, read in super().inputs(path)]


class ReadsAColumn(ReadsOthers):
    """Inputs without an axis of rows."""

    def inputs(self, path: Path) -> list[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        return [(place, lambda: (torch.zeros(4),)) for place, _ in super().inputs(path)]
