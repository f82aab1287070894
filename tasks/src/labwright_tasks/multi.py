"""Several tasks at once: heads over one trunk, each with its own loss and metrics. B batch, C classes, D numbers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import torch
from labwright import (
    LEFT_OUT,
    Batch,
    Classes,
    Data,
    Goal,
    Heads,
    IndexedBatches,
    Labelled,
    LabwrightError,
    Loss,
    Metric,
    Part,
    Port,
    Split,
    Task,
    Values,
    listed,
    nearest,
)
from torch import Generator, Tensor, nn

from labwright_tasks.chosen_metrics import chosen
from labwright_tasks.classification import Classification, ClassificationLoss
from labwright_tasks.joined import Joined, JoinedSplit
from labwright_tasks.losses import CrossEntropy, MeanSquaredError
from labwright_tasks.regression import Regression, RegressionLoss
from labwright_tasks.weights import WeightedBatch, weight_of, weights_in

if TYPE_CHECKING:
    from labwright import Section

_AT_ONCE = 1024  # samples fetched together when targets are looked at
_LEFT_OUT = " Samples without a target are left out and not counted."
_SCORE = "score"
_DIRECTIONS = {
    "accuracy": "maximize",
    "r2": "maximize",
    "cross_entropy": "minimize",
    "rmse": "minimize",
    "mae": "minimize",
}


class HeadsLoss(Protocol):
    """What a loss is called with: the loss of each head that has targets; it returns the parts whose sum is minimised.

    A head's part depends on that head's loss alone.
    """

    def __call__(self, losses: dict[str, Tensor]) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Kind:
    """What a head of some port is: its task, its loss, called how, the metric of the score, and what metrics take."""

    task: Callable[[Data], Classification | Regression]
    contract: type
    loss: Callable[[], nn.Module]
    measure: str
    takes: tuple[str, str]


KINDS = {
    Classes: Kind(Classification, ClassificationLoss, CrossEntropy, "accuracy", ("logits", "labels")),
    Values: Kind(Regression, RegressionLoss, MeanSquaredError, "r2", ("predictions", "targets")),
}


@dataclass(frozen=True)
class Head:
    """One head: its task, which sees nothing of the others, its loss, what the score takes, and how wide it is."""

    task: Task
    criterion: Any
    measure: Callable[[], Metric]
    width: int


@dataclass(frozen=True)
class HeadBatch(Batch):
    """A batch of which the host knows the rows that count.

    `counted` has the rows of each head that has no target in some; `own` and `shares` say which share of the rows, by
    their `weights` if they have any, each head has targets in: of this batch, and of the whole update.
    """

    counted: Mapping[str, Tensor] = field(default_factory=dict)
    own: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    weights: Tensor | None = None

    @classmethod
    def of(cls, batch: Batch) -> HeadBatch:
        counted, own = {}, {}
        weights_B = weights_in(batch)
        for name, target in batch.targets.items():
            counts_B = _counts(target)
            if not bool(counts_B.all()):
                counted[name] = rows = counts_B.nonzero()[:, 0]
                whole = len(counts_B) if weights_B is None else float(weights_B.sum()) or 1.0
                own[name] = (len(rows) if weights_B is None else float(weights_B[rows].sum())) / whole
        shares = {name: own.get(name, 1.0) for name in batch.targets}
        return cls(batch.inputs, batch.targets, counted, own, shares, weights_B)

    @property
    def plain(self) -> Batch:
        """The batch as it was fetched."""
        if self.weights is None:
            return Batch(self.inputs, self.targets)
        return WeightedBatch(self.inputs, self.targets, self.weights)

    def share(self, name: str) -> float:
        """Which share of this batch's rows has a target of a head; known without looking at a device."""
        return self.own.get(name, 1.0)

    def rows(self, some: slice) -> HeadBatch:
        """Some of the rows, which still know the shares of the whole."""
        return replace(self.of(self.plain.rows(some)), shares=self.shares)

    def only(self, name: str, values: Tensor) -> Tensor:
        """Of values with a row for each sample, those that count for a head."""
        return values[self.counted[name]] if name in self.counted else values

    def of_head(self, name: str) -> Batch:
        """The batch as a head's own task sees it."""
        targets = self.only(name, self.targets[name])
        if self.weights is None:
            return Batch(self.inputs, targets)
        return WeightedBatch(self.inputs, targets, self.only(name, self.weights))


class MultiTask(Task):
    """Give several answers about each input, from heads over one trunk: classes, numbers, or both.

    Each head is a `classification` or a `regression`, by its port, with that task's metrics as `HEAD/METRIC` and its
    part of the report. The recipe's `loss` combines the losses of heads (`weighted`, `uncertainty`), and each part is
    logged. What has no target for a head, a label of -100 or a value of nan, doesn't count.

    `score` is the mean over heads of accuracy or R squared. It is the usual goal: unlike a sum of losses it has no
    units, and runs with other losses or weights are measured alike.

    Args:
        data: inputs with a target for each of several heads, such as data `joined`.
        losses: loss of each head, by its name; of heads that aren't named cross-entropy, or mean squared error.
        metrics: metrics of each head, by its name, such as `{ class = ["accuracy", "f1"] }`; heads that aren't named
            have those of their task.
        goal: metric by which models are compared and the best weights chosen: `score`, or one such as `class/accuracy`,
            or with its direction `ink/rmse:minimize`.
    """

    contract = HeadsLoss
    goal = Goal(_SCORE, "maximize")

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        losses: dict[str, Annotated[Any, Part("loss")]] | None = None,
        metrics: dict[str, list[Annotated[Metric, Part("metric")]]] | None = None,
        goal: str = _SCORE,
    ) -> None:
        if not issubclass(data.target, Heads):
            raise LabwrightError(
                f"task.data: several tasks at once need data with Heads; {type(data).__name__} has targets "
                f"{data.target.__name__}. Data 'joined' makes heads of several data sets."
            )
        self.data, self.losses, self.chosen = data, dict(losses or {}), dict(metrics or {})
        self.replacement = isinstance(data, Joined) and data.turns == "equal"  # the smaller are gone through again
        self.heads: dict[str, Head] = {}
        if goal != _SCORE:
            self.goal = _goal(goal, self.chosen)

    def prepare(self) -> None:
        super().prepare()
        self._make_heads()
        if self.data.in_memory:  # other data's targets aren't gone through for this
            for name, head in self.heads.items():
                try:
                    head.task.prepare()
                except LabwrightError as error:
                    fault = str(error).removeprefix(f"{OneHead.__name__}: ")
                    raise LabwrightError(f"{type(self.data).__name__}, head {name!r}: {fault}") from error
        for name, head in self.heads.items():
            if isinstance(head.criterion, Loss):
                try:
                    head.criterion.prepare(head.task.ports()[1])  # with how often each class occurs, if that is known
                except LabwrightError as error:
                    fault = str(error).removeprefix("loss.")
                    raise LabwrightError(f"task.losses.{name}.{fault}") from error

    def load(self, folder: Path) -> None:
        super().load(folder)
        self._make_heads()

    def order(self, split: str, part: Split, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        """As ever; of joined data sets each batch is from one of them."""
        if not isinstance(part, JoinedSplit):
            return super().order(split, part, size=size, seed=seed, epoch=epoch)
        return part.turns_of(size, seed, epoch) if split == "train" else part.in_order(size)

    def draw(self, batch: Batch, generator: Generator) -> HeadBatch:  # noqa: ARG002 - it draws nothing
        """The batch with the rows that count for each head, which are looked up while it is on the host."""
        return HeadBatch.of(batch)

    def weight(self, batch: Batch) -> float:
        return weight_of(batch)

    def loss(self, model: nn.Module, batch: Batch, criterion: HeadsLoss, phase: str) -> dict[str, Tensor]:
        """The parts of the heads that have targets in the batch."""
        rows = batch if isinstance(batch, HeadBatch) else HeadBatch.of(batch)
        outputs = self._outputs(model, rows)
        losses: dict[str, Any] = {}
        for name, head in self.heads.items():
            if rows.share(name):
                answer = _giving(rows.only(name, outputs[name]))
                losses[name] = head.task.loss(answer, rows.of_head(name), head.criterion, phase)
        if not losses:  # as can be of a micro-batch: it has nothing to say
            return {name: 0.0 * outputs[name].sum() for name in outputs}
        parts = criterion(losses)
        if not isinstance(parts, Mapping) or parts.keys() != losses.keys():
            given = listed(parts) if isinstance(parts, Mapping) else f"a {type(parts).__name__}"
            raise LabwrightError(
                f"loss {type(criterion).__name__} returned {given}; of task 'multi' it returns a part for each loss it "
                f"is given: {listed(losses)}."
            )
        # a micro-batch with more of a head's targets than others counts for more of that head's mean
        factors = {name: rows.share(name) / rows.shares[name] for name in parts}
        return {name: part if factors[name] == 1.0 else factors[name] * part for name, part in parts.items()}

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[dict[str, Any]]:
        """What each head's own task would give its metrics, by head; of those that have targets in the batch."""
        rows = HeadBatch.of(batch)
        outputs = self._outputs(model, rows)
        results = {}
        for name, head in self.heads.items():
            if name not in rows.counted or len(rows.counted[name]):  # whatever they weigh
                results[name] = head.task.evaluate(_giving(rows.only(name, outputs[name])), rows.of_head(name))
        return (results,)

    def metrics(self) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {
            f"{name}/{key}": OfHead(name, metric)
            for name, head in self.heads.items()
            for key, metric in head.task.metrics().items()
        }
        scored = [OfHead(name, head.measure()) for name, head in self.heads.items()]
        return {_SCORE: Score(scored), **metrics}

    def remark(self, split: str, metrics: Mapping[str, float]) -> str | None:
        """What the heads' own tasks have to say."""
        remarks = []
        for name, head in self.heads.items():
            own = {key.removeprefix(f"{name}/"): value for key, value in metrics.items() if key.startswith(f"{name}/")}
            remark = head.task.remark(split, own)
            remarks += [f"head {name!r}: {remark}"] if remark else []
        return " ".join(remarks) or None

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """The most frequent class of each head, or the mean, of the training part of data in memory."""
        from labwright_tasks.floors import of_model

        train = self.part("train", plain=True)
        if not self.data.in_memory or not train or not self.part(split):
            return {}
        targets: dict[str, list[Tensor]] = {name: [] for name in self.heads}
        for batch in IndexedBatches.in_order(train, _AT_ONCE):
            for name, of_head in batch.targets.items():
                targets[name].append(of_head)
        same = SameAnswers({name: torch.cat(of_head) for name, of_head in targets.items()}, self.heads)
        return {"the most frequent class or the mean, of each head": of_model(self, split, same)}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """For each row what each head's own task predicts, as `HEAD/KEY`."""
        outputs = self._outputs(model, Batch(inputs, {}))
        answers = {
            name: head.task.predict(_giving(outputs[name]), inputs, origins) for name, head in self.heads.items()
        }
        return [
            {f"{name}/{key}": value for name in answers for key, value in answers[name][row].items()}
            for row in range(len(inputs[0]))
        ]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Each head's sections, under its name; they say so where some samples have no target."""
        sections = []
        for name, head in self.heads.items():
            part = head.task.data.split(split)
            gaps = isinstance(part, OneHeadSplit) and len(part) < len(part.part)
            for section in head.task.report(_HeadOf(self, model, name), split, device):
                note = (
                    f"{section.note} Samples without a target are left out and not counted." if gaps else section.note
                )
                sections.append(replace(section, title=f"{name}: {section.title}", note=note.strip()))
        return sections

    def _outputs(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """What a model gives. Raises LabwrightError if that isn't a row of each head's width for each sample."""
        given = model(*batch.inputs)
        if not isinstance(given, Mapping):
            raise LabwrightError(
                f"model {type(model).__name__} returned a {type(given).__name__}; task 'multi' takes a dict with a "
                f"tensor for each head: {listed(self.heads)}. Model 'heads' puts heads on any trunk."
            )
        for name, head in self.heads.items():
            answer, shape = given.get(name), (len(batch), head.width)
            if not isinstance(answer, Tensor) or answer.shape != shape:
                has = f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
                has = has if name in given else f"none among {listed(given)}"
                raise LabwrightError(
                    f"model {type(model).__name__} gives for head {name!r} {has}; it should be of shape {shape}."
                )
        return given

    def _make_heads(self) -> None:
        inputs, outputs = self.data.ports()
        assert isinstance(outputs, Heads)
        for setting, given in (("losses", self.losses), ("metrics", self.chosen)):
            for name in given:
                if name not in outputs.ports:
                    raise LabwrightError(
                        f"task.{setting}.{name}: the data has no head {name!r}{nearest(name, outputs.ports)} It has "
                        f"{listed(outputs.ports)}."
                    )
        targets = _Targets(self.data)
        self.heads = {}
        for name, port in outputs.ports.items():
            kind = next((kind for type_, kind in KINDS.items() if isinstance(port, type_)), None)
            if kind is None:
                raise LabwrightError(
                    f"task.data: head {name!r} has targets {type(port).__name__}; task 'multi' has heads of "
                    f"{listed(type_.__name__ for type_ in KINDS)}."
                )
            own = OneHead(targets, name, (inputs, port))
            task = kind.task(own)
            if name in self.chosen:
                where = f"task.metrics.{name}"
                task.chosen = chosen(self.chosen[name], {}, type(port), kind.takes, where)
            assert isinstance(port, Classes | Values)
            width = len(port.names) if isinstance(port, Classes) else port.dim
            measure = partial(_measure, kind.task(own), kind.measure)
            self.heads[name] = Head(task, self._criterion(name, kind, (inputs, port)), measure, width)
        metrics = self.metrics()
        if not any(self.goal.metric == name or self.goal.metric.startswith(f"{name}/") for name in metrics):
            raise LabwrightError(
                f"task.goal: there is no metric {self.goal.metric!r}{nearest(self.goal.metric, metrics)} There are "
                f"{listed(metrics, 40)}."
            )

    def _criterion(self, name: str, kind: Kind, ports: tuple[Port, Port]) -> Any:
        """A head's loss. Raises LabwrightError for one that is called otherwise."""
        criterion = self.losses.get(name)
        if criterion is None:
            return kind.loss()
        if getattr(criterion, "given", None):  # one that needs ports awaits them
            criterion = criterion(inputs=ports[0], outputs=ports[1])
        where, label = f"task.losses.{name}", type(criterion).__name__
        wanted = _arguments(kind.contract.__call__)[1:]
        has = _arguments(criterion.forward if isinstance(criterion, nn.Module) else criterion)
        # those of torch.nn, given from Python, have names of their own
        if has[: len(wanted)] != wanted and not type(criterion).__module__.startswith("torch.nn"):
            raise LabwrightError(
                f"{where}: loss {label} doesn't fit a head of {type(ports[1]).__name__}: it takes ({', '.join(has)}) "
                f"and is called with ({', '.join(wanted)})."
            )
        self.losses[name] = criterion  # where the core finds what it is to train and to keep
        return criterion


class OneHead(Data):
    """Data as one head sees it: the head's port, its targets, and the samples that have one."""

    source = licence = "that of the data"

    def __init__(self, targets: _Targets, name: str, ports: tuple[Port, Port]) -> None:
        self.targets, self.name, self.offered = targets, name, ports
        self.item, self.target = type(ports[0]), type(ports[1])  # type: ignore[misc]
        self.independent = targets.data.independent

    def prepare(self) -> None: ...

    def ports(self) -> tuple[Port, Port]:
        return self.offered

    def split(self, name: str) -> OneHeadSplit | None:
        part = self.targets.data.split(name)
        if part is None or not len(part):
            return None
        return OneHeadSplit(part, self.name, self.targets.of(name, part)[self.name])

    def show(self, inputs: tuple[Tensor, ...]) -> list[str] | list[Tensor]:
        return self.targets.data.show(inputs)


class OneHeadSplit:
    """The samples of a split that have a target of one head; `labels` are these targets."""

    def __init__(self, part: Split, name: str, targets: Tensor) -> None:
        counts = _counts(targets)
        self.part, self.name = part, name
        self.rows, self.labels = counts.nonzero()[:, 0], targets[counts]

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        return Batch(self.part.fetch(self.rows[indices], epoch, seed).inputs, self.labels[indices])


class _Targets:
    """The targets of the data's splits by head, looked up once for all heads."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.known: dict[str, Mapping[str, Tensor]] = {}

    def of(self, split: str, part: Split) -> Mapping[str, Tensor]:
        if split not in self.known:
            self.known[split] = part.labels if isinstance(part, Labelled) else _fetched(part)  # type: ignore[assignment]
        return self.known[split]


class OfHead:
    """A metric of what `evaluate` gives for one head."""

    def __init__(self, name: str, metric: Metric) -> None:
        self.name, self.metric, self.splits = name, metric, getattr(metric, "splits", None)

    def update(self, results: Mapping[str, tuple[Any, ...]]) -> None:
        """Take in the results of a batch by head; one without targets there is left out."""
        if self.name in results:
            self.metric.update(*results[self.name])

    def compute(self) -> Any:
        return self.metric.compute()

    def reset(self) -> None:
        self.metric.reset()


class Score:
    """The mean of several heads' metrics; a head that was never seen is left out."""

    def __init__(self, metrics: Sequence[OfHead]) -> None:
        self.metrics = metrics

    def update(self, results: Mapping[str, tuple[Any, ...]]) -> None:
        for metric in self.metrics:
            metric.update(results)

    def compute(self) -> float:
        values = [float(metric.compute()) for metric in self.metrics]
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    def reset(self) -> None:
        for metric in self.metrics:
            metric.reset()


class SameAnswers(nn.Module):
    """A model that answers each head alike, whatever it is given: by how frequent its classes are, or the mean."""

    def __init__(self, targets: Mapping[str, Tensor], heads: Mapping[str, Head]) -> None:
        super().__init__()
        self.answers = {}
        for name, of_head in targets.items():
            if of_head.is_floating_point():
                self.answers[name] = of_head.double().nanmean(0).float()
            else:
                counts_C = of_head[of_head != LEFT_OUT].bincount(minlength=heads[name].width)
                self.answers[name] = counts_C.double().clamp(min=1e-6).log().float()

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        return {name: answer.expand(len(inputs[0]), -1) for name, answer in self.answers.items()}


class _HeadOf(nn.Module):
    """A model of which one head's answers are seen."""

    def __init__(self, task: MultiTask, model: nn.Module, name: str) -> None:
        super().__init__()
        self.task, self.model, self.name = task, model, name

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.task._outputs(self.model, Batch(inputs, {}))[self.name]


def _giving(answer: Tensor) -> Any:
    """A model, for the task of one head, whose answer is there already."""
    return lambda *_: answer


def _counts(target: Tensor) -> Tensor:
    """Which rows have a target, (B,) bool: labels (B,) that aren't -100, values (B, D) without nan."""
    return ~target.isnan().any(dim=1) if target.is_floating_point() else target != LEFT_OUT


def _fetched(part: Split) -> dict[str, Tensor]:
    batches = [batch.targets for batch in IndexedBatches.in_order(part, _AT_ONCE)]
    return {name: torch.cat([targets[name] for targets in batches]) for name in batches[0]}


def _arguments(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def _measure(usual: Task, name: str) -> Metric:
    """A new metric of those that a task usually has."""
    return usual.metrics()[name]


def _goal(text: str, chosen: Mapping[str, Sequence[Any]]) -> Goal:
    """The goal HEAD/METRIC, with its direction if the metric has none. Raises LabwrightError for one of no direction.

    Whether there is such a metric is known once the data is read.
    """
    goal, colon, direction = text.partition(":")
    head, slash, metric = goal.partition("/")
    parts = {
        part.name.rpartition("/")[2]: part.target for part in chosen.get(head, ()) if getattr(part, "target", None)
    }
    higher = getattr(parts.get(metric.partition("/")[0]), "higher_is_better", None)
    if not colon:
        direction = _DIRECTIONS.get(metric, "") if higher is None else "maximize" if higher else "minimize"
    if not slash or direction not in ("maximize", "minimize"):
        raise LabwrightError(
            f"task.goal: given {text!r}; it is 'score', or HEAD/METRIC, where a head of Classes has accuracy and "
            f"cross_entropy, and one of Values rmse, mae and r2{nearest(metric, _DIRECTIONS)} Another is "
            "followed by its direction: HEAD/METRIC:maximize."
        )
    return Goal(goal, direction)  # type: ignore[arg-type]
