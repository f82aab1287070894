"""Components with one fault each, for the conformance kit to find; each docstring says which."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import torch
from labwright import Integers, Part, Uniform
from parts import Blobs, Net, Points, Sorting
from pydantic import AfterValidator, Field
from torch import Generator, Tensor, nn
from torch.nn import functional

# ------------------------------------------------------------------------------------------------------- settings


class Undocumented(Net):
    pass


class Unannotated(nn.Module):
    """A setting without an annotation."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, width=8) -> None: ...


class BadDefault(nn.Module):
    """A default that its own limits exclude."""

    def __init__(self, inputs: lw.Features, *, rate: Annotated[float, Field(lt=1)] = 1.5) -> None: ...


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


class Blind(Net):
    """Answers that have little to do with the input."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD * 0 + 1)


# ----------------------------------------------------------------------------------------------------------- tasks


class Vector(Sorting):
    """A loss for each sample."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        return functional.cross_entropy(model(*batch.inputs), batch.targets, reduction="none")


class Noisy(Sorting):
    """A loss that draws."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        x_BD = batch.inputs[0]
        return criterion(model(x_BD + torch.randn(x_BD.shape)), batch.targets)


class Scribbles(Sorting):
    """A loss that changes its batch."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        return criterion(model(batch.inputs[0].mul_(1.5)), batch.targets)


class Tampers(Sorting):
    """A loss that changes weights."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        with torch.no_grad():
            model.head.bias.mul_(0.9)
        return criterion(model(*batch.inputs), batch.targets)


class EvaluatesAtRandom(Sorting):
    """An evaluation that draws where no seed reaches."""

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, Tensor]:
        return model(batch.inputs[0] + random.random()), batch.targets


class EvaluatesInTraining(Sorting):
    """An evaluation that moves running statistics."""

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, Tensor]:
        model.body.train()
        return model(*batch.inputs), batch.targets


class Goalless(Sorting):
    """A goal that isn't measured."""

    goal = lw.Goal("f1", "maximize")


class SharedMetrics(Sorting):
    """The same metrics each time."""

    def __init__(self, data: Annotated[lw.Data, Part("data")]) -> None:
        super().__init__(data)
        self.kept = super().metrics()

    def metrics(self) -> dict[str, lw.Metric]:
        return self.kept


class MetricOfOne(Sorting):
    """A metric that doesn't take what is evaluated."""

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, Tensor, Tensor]:
        return model(*batch.inputs), batch.targets, batch.targets


class StartsOver(Sorting):
    """Batches that begin at the first, wherever they are asked to."""

    def batches(self, split: str, *, start: int = 0, **asked: Any) -> Any:
        return super().batches(split, **asked)


class Shuffles(Sorting):
    """Batches in an order of their own."""

    def batches(self, split: str, *, seed: int, **asked: Any) -> Any:
        return super().batches(split, seed=random.getrandbits(30), **asked)


class DrawsFreely(Sorting):
    """A draw from torch's own generator."""

    def draw(self, batch: lw.Batch, generator: Generator) -> lw.Batch:
        return lw.Batch((batch.inputs[0] + torch.randn(len(batch), 4),), batch.targets)


class NoSuchPart(Sorting):
    """A phase that trains what isn't there."""

    def phases(self) -> tuple[lw.Phase, ...]:
        return (lw.Phase("train", ("tail",)),)


class WeighsOnDevice(Sorting):
    """A weight that is a tensor."""

    def weight(self, batch: lw.Batch) -> Any:
        return torch.tensor(len(batch))


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
