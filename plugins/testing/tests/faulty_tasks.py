"""Tasks with one fault each, and some without, for the conformance kit to be tried on."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import labwright as lw
import torch
from labwright import Part
from parts import Sorting
from torch import Generator, Tensor, nn
from torch.nn import functional


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


@dataclass(frozen=True)
class Counted(lw.Batch):
    """A batch that knows how many of its samples are of the first two classes."""

    first: int

    @classmethod
    def of(cls, batch: lw.Batch) -> Counted:
        return cls(batch.inputs, batch.targets, int((batch.targets < 2).sum()))

    def rows(self, some: slice) -> Counted:
        return self.of(lw.Batch(self.inputs, self.targets).rows(some))


class NoRows(Counted):
    """A batch with a count that is cut as if it had none."""

    rows = lw.Batch.rows


class CountedOnce(Counted):
    """A batch whose rows know the count of the whole."""

    def rows(self, some: slice) -> CountedOnce:
        return CountedOnce((self.inputs[0][some],), self.targets[some], self.first)


class CountsFirst(Sorting):
    """A sound task whose batch carries a count, which is what it weighs by: one more for each sample of a class."""

    batch: type[Counted] = Counted

    def draw(self, batch: lw.Batch, generator: Generator) -> Counted:
        return self.batch.of(batch)

    def weight(self, batch: Counted) -> float:
        return len(batch) + batch.first

    def loss(self, model: nn.Module, batch: Counted, criterion: Any, phase: str) -> Tensor:
        weights_B = 1.0 + (batch.targets < 2)
        losses_B = functional.cross_entropy(model(*batch.inputs), batch.targets, reduction="none")
        return (weights_B * losses_B).sum() / self.weight(batch)


class CountsWhole(CountsFirst):
    """A batch cut in two counts everything twice."""

    batch = CountedOnce


class Uncut(CountsFirst):
    """A batch with a count that has no rows of its own."""

    batch = NoRows


class Repeats(Sorting):
    """Each sample of an epoch is drawn, with replacement, and that isn't said."""

    def order(self, split: str, part: lw.Split, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        drawn_N = torch.randint(len(part), (len(part),), generator=lw.generator(seed, epoch))
        return torch.split(drawn_N, size)


class Skips(Sorting):
    """The last batch of an epoch is left out."""

    def order(self, split: str, part: lw.Split, **asked: Any) -> Sequence[Tensor]:
        return super().order(split, part, **asked)[:-1]


class OneOrder(Sorting):
    """Each epoch has the order of the first."""

    def order(self, split: str, part: lw.Split, *, epoch: int, **asked: Any) -> Sequence[Tensor]:
        return super().order(split, part, epoch=0, **asked)


class AnyOrder(Sorting):
    """An order that no seed reaches."""

    def order(self, split: str, part: lw.Split, *, seed: int, **asked: Any) -> Sequence[Tensor]:
        return super().order(split, part, seed=random.getrandbits(30), **asked)


class Oversized(Sorting):
    """Batches of twice the size that was asked for."""

    def order(self, split: str, part: lw.Split, *, size: int, **asked: Any) -> Sequence[Tensor]:
        return super().order(split, part, size=2 * size, **asked)


class Answering(Sorting):
    """A sound task that answers and reports; its faulty kin differ in one place."""

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"label": label} for label in model(*inputs).argmax(1).tolist()]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[lw.Section]:
        return [lw.Table("Parts", ("part", "samples"), [(split, len(self.data.split(split)))])]


class AnswersOnce(Answering):
    """One answer for all rows."""

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        return super().predict(model, inputs, origins)[:1]


class AnswersByRank(Answering):
    """An answer that depends on the other rows."""

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"rank": rank} for rank in inputs[0][:, 0].argsort().argsort().tolist()]


class AnswersInTensors(Answering):
    """An answer that JSON can't hold."""

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"logits": logits} for logits in model(*inputs)]


class ForgetsOrigins(Answering):
    """An answer that takes every row for the first one's origin."""

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"line": origins[0]} for _ in inputs[0]]


class ReportsInTraining(Answering):
    """A report that moves running statistics."""

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[lw.Section]:
        self.evaluate(model, self.data.split(split).fetch(torch.arange(8), 0, 0))
        return super().report(model, split, device)


class ReportsAtRandom(Answering):
    """A report that draws."""

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[lw.Section]:
        return [lw.Text("A number", [str(random.random())])]


class ReportsText(Answering):
    """A report whose section is a text alone."""

    def report(self, model: nn.Module, split: str, device: torch.device) -> Any:
        return ["all is well"]


class ReportsRagged(Answering):
    """A table one of whose rows lacks a cell."""

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[lw.Section]:
        return [lw.Table("Parts", ("part", "samples"), [(split,)])]


class Encoder(Protocol):
    def encode(self, x_BD: Tensor) -> Tensor: ...


class Encodes(Sorting):
    """A task for models that nobody has."""

    model_contract = Encoder


class Backwards(Protocol):
    def __call__(self, labels: Tensor, logits: Tensor) -> Tensor: ...


class Beside(Sorting):
    """A sound task with a second loss; its faulty kin name another contract, or call another way.

    Args:
        beside: the second loss.
    """

    def __init__(
        self,
        data: Annotated[lw.Data, Part("data")],
        *,
        beside: Annotated[Any, Part("loss", contract=Sorting.Contract)] = "cross-entropy",
    ) -> None:
        super().__init__(data)
        self.beside = beside

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:
        logits_BC = model(*batch.inputs)
        return {"class": criterion(logits_BC, batch.targets), "beside": self.called(logits_BC, batch.targets)}

    def called(self, logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        return self.beside(logits_BC, labels_B)


class CallsOtherwise(Beside):
    """A second loss that isn't called as its contract says."""

    def called(self, logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        return self.beside(logits_BC, labels_B, weights=None)


class FitsNobody(Beside):
    """A second loss that is none of those installed."""

    def __init__(
        self,
        data: Annotated[lw.Data, Part("data")],
        *,
        beside: Annotated[Any, Part("loss", contract=Backwards)] | None = None,
    ) -> None:
        super().__init__(data)
        self.beside = beside

    def called(self, logits_BC: Tensor, labels_B: Tensor) -> Tensor:
        return logits_BC.square().mean()


class Banked(Sorting):
    """A sound task with a memory of its last logits; its faulty kin lose or spoil it."""

    def prepare(self) -> None:
        super().prepare()
        self.bank_MC = torch.zeros(8, 3)
        self.newest_BC = torch.zeros(0, 3)

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        logits_BC = model(*batch.inputs)
        self.newest_BC = logits_BC.detach()
        return criterion(logits_BC, batch.targets) + 0.01 * (logits_BC @ self.bank_MC.T).square().mean()

    def after_step(self, model: nn.Module, phase: str, progress: float) -> None:
        self.bank_MC = torch.cat([self.newest_BC, self.bank_MC])[:8]

    def state(self) -> dict[str, Any]:
        return {"bank": self.bank_MC}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.bank_MC = state["bank"]


class LosesState(Banked):
    """A memory that isn't taken up."""

    def load_state(self, state: Mapping[str, Any]) -> None: ...


class EmptiesState(Banked):
    """A memory that is gone once it has been asked for."""

    def state(self) -> dict[str, Any]:
        kept = super().state()
        self.bank_MC = torch.zeros(8, 3)
        return kept


class GrowingState(Banked):
    """A count of how often the state has been asked for, in the state."""

    asked = 0

    def state(self) -> dict[str, Any]:
        self.asked += 1
        return super().state() | {"asked": self.asked}


class UnwritableState(Banked):
    """A memory that no checkpoint can hold."""

    def state(self) -> dict[str, Any]:
        return {"bank": object()}
