"""The interface of a task. A model is any `nn.Module`; data is in data/dataset.py.

B batch. A constructor's signature is a component's configuration (see config/signature.py): keyword parameters with
types are its settings. Parameters named `inputs` and `outputs` with a port type, and `parameters`, are given by the
core. Constructors do no work: data is read in `prepare()`, devices are touched when the run starts.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from labwright.base.errors import LabwrightError, located, path_fault
from labwright.base.seeding import epoch_order
from labwright.data.batching import IndexedBatches, Workers, bucketed
from labwright.data.dataset import Augmented, Data, Ragged, Sharded, Split
from labwright.data.ports import Port

if TYPE_CHECKING:
    from labwright.interfaces.sections import Section


_ENDS = re.compile(r"_95(/.*)?/(low|high)$")


@dataclass(frozen=True)
class Goal:
    """The metric that says which of two models is better, and in which direction.

    Example: `goal = lw.Goal("accuracy", "maximize")`
    """

    metric: str
    direction: Literal["minimize", "maximize"]

    def better(self, value: float, than: float | None) -> bool:
        # nan is never better, and anything is better than nan
        if math.isnan(value):
            return False
        if than is None or math.isnan(than):
            return True
        return value > than if self.direction == "maximize" else value < than


def headlines(metrics: Iterable[str], goal: str) -> list[str]:
    """The names that are shown at a glance, the goal first: none of a table within a table, such as `f1/class/cat`.

    Nor the ends of intervals, which stand beside their metrics.

    Example: `lw.headlines(run.metrics["test"], run.task.goal.metric)`
    """
    names = (name for name in metrics if name == goal or (name.count("/") < 2 and not _ENDS.search(name)))
    return sorted(names, key=lambda name: name != goal)


def figures(metrics: Mapping[str, float], goal: str, number: Callable[[float], str]) -> list[str]:
    """Metrics in words, the goal first, with their intervals: `accuracy 0.9944 (0.980 to 0.998)`."""
    between = {name: interval_of(metrics, name) for name in headlines(metrics, goal)}
    return [f"{name} {number(metrics[name])}{f' ({ends})' if ends else ''}" for name, ends in between.items()]


def interval_of(metrics: Mapping[str, float], name: str) -> str:
    """The interval of a metric in words, with as many decimals as tell its ends apart; nothing if it has none.

    It is what the table `NAME_95` has as `low` and `high`, and of `f1/macro` what `f1_95/macro` has.

    Example: `lw.interval_of({"accuracy": 0.9, "accuracy_95/low": 0.8, "accuracy_95/high": 0.95}, "accuracy")`
    """
    for cut in re.finditer("/|$", name):
        table = f"{name[: cut.start()]}_95{name[cut.start() :]}"
        low, high = (metrics.get(f"{table}/{end}", math.nan) for end in ("low", "high"))
        if low < high:
            places = max(0, 1 - math.floor(math.log10(high - low)))
            return f"{low:,.{places}f} to {high:,.{places}f}"
    return ""


@dataclass(frozen=True)
class Phase:
    """One optimizer update within a step: of the model's children named, or of all if none is.

    It is due when the number of the step, counted from 1, is a multiple of `every`.

    Example: `def phases(self): return lw.Phase("critic", ("critic",)), lw.Phase("generator", ("generator",), every=5)`
    """

    name: str
    parameters: tuple[str, ...] = ()
    every: int = 1


@dataclass(frozen=True)
class Attachment:
    """A prediction that is a file: its bytes, and the ending its name should have, such as ".png".

    Example: `lw.Attachment(png, ".png")`
    """

    data: bytes = field(repr=False)
    suffix: str


@runtime_checkable
class Metric(Protocol):
    """Anything with these three: labwright's own, or torchmetrics'.

    It may say more of itself: `higher_is_better`, for who chooses it as the goal; `splits`, the only ones it is
    computed on; `ordered = True` if the order of its updates matters; `loss`, the component that, with its default
    settings, is the same mean in the same unit: a report draws both in one chart. One called `NAME_95` that gives a
    table of `low` and `high` is the interval of NAME, in which a figure of other samples of the kind would lie with a
    confidence of 95%: it is shown beside it.

    Example: `def metrics(self) -> dict[str, lw.Metric]: return {"accuracy": lw.Accuracy()}`
    """

    def update(self, *results: Any) -> None: ...

    def compute(self) -> Any: ...

    def reset(self) -> None: ...


class Task(ABC):
    """What is learned: data in, objective, measure of success.

    `goal` is of the class, or of an object whose settings choose it. `contract` is the Protocol a loss must fit: the
    parameter names of its methods are compared when the experiment is built. None: the task needs no loss.
    `model_contract` is one that the model's methods must fit, such as `encode` and `decode`, where the task calls more
    than the model itself. `replacement` says that an epoch of `train` draws samples with replacement: some more than
    once, some not at all.

    Example: `class Sides(lw.Task): goal = lw.Goal("accuracy", "maximize")`
    """

    goal: Goal
    contract: ClassVar[type | None] = None
    model_contract: ClassVar[type | None] = None
    replacement: bool = False
    data: Data

    def prepare(self) -> None:
        """Read the data once: vocabulary, class names, scaling, graph."""
        self.data.prepare()

    def starts_from(self, folder: Path) -> None:
        """Called before `prepare()` where a run starts from other weights, with the folder of what belongs to them.

        It is what the other run's task kept, or where the weights' files are. When a run is gone on with or evaluated,
        it is what the run's own task kept: `save` keeps what is needed of it.
        """
        self.data.starts_from(folder)

    def resumes_from(self, folder: Path) -> None:
        """Called before `prepare()` where a run is gone on with or evaluated, with the folder of what its task kept.

        What `prepare` took from elsewhere when the run began, such as another run, is taken from there instead: that
        run may be gone. What is learned from the data is learned anew, and compared.
        """

    def port_types(self) -> tuple[type[Port], type[Port]]:
        """The types of the input and output ports, known before anything is read."""
        return self.data.item, self.data.target

    def ports(self) -> tuple[Port, Port]:
        """What the model takes and returns; after `prepare()` or `load()`."""
        return self.data.ports()

    def save(self, folder: Path) -> None:
        """Keep what `prepare()` learned in an empty folder."""
        self.data.save(folder)

    def load(self, folder: Path) -> None:
        """Take up what `save` kept, instead of `prepare()` and without the training data."""
        self.data.load(folder)

    def on(self, path: Path) -> Self:
        """The same task over other data, all of it its `test` part: see `Data.on`.

        Raises LabwrightError for a path where nothing is, or nothing that its data can read.
        """
        if path_fault(path) or not path.expanduser().exists():
            raise LabwrightError(f"there is no file or folder {located(path)} to read other data from.")
        other = copy(self)
        other.data = self.data.on(path.expanduser())
        return other

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """Each input in a file or folder that `predict` answers, and where it stands: see `Data.inputs`."""
        return self.data.inputs(path)

    def view(self, split: str, part: Split) -> Split | None:
        """What a pass over a split goes through, made of the data's part: pairs, users, two views. None: nothing."""
        return part

    def part(self, split: str, plain: bool = False) -> Split | None:
        """What a pass over a split goes through: `view` of the data's part, `plain` without augmentation.

        Raises LabwrightError for a stream, whose samples can't be asked for by their index.
        """
        part = self.data.split(split)
        if not isinstance(part, Split | None):
            raise LabwrightError(
                f"task.data: {split!r} of {type(self.data).__name__} is a stream: {type(part).__name__} has no `len` "
                "and `fetch`, by which it is shuffled and resumed exactly. What doesn't fit in memory gets an index: "
                "token files by 'nlp/tokens', tar shards by 'vision/shards', row groups of Parquet by 'nlp/parquet'."
            )
        # what is measured is measured on the samples as they are
        part = part.plain() if plain and isinstance(part, Augmented) else part
        return None if part is None else self.view(split, part)

    def order(self, split: str, part: Split, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        """The samples of each batch of one pass over `view(split, part)`, int64 indices: a function of its arguments.

        A batch of `train` is one update: micro-batches are cut from it, so that accumulation doesn't change it.
        `train` is shuffled by (seed, epoch), a Sharded part some shards at a time, and of a Ragged part each batch has
        samples of like length, so that little is padded; other splits keep their order.
        """
        if not len(part):
            return ()
        if split != "train":
            return torch.split(torch.arange(len(part)), size)
        shards = (part.shards, part.window) if isinstance(part, Sharded) else ()
        batches = torch.split(epoch_order(len(part), *shards, seed=seed, epoch=epoch), size)
        return bucketed(batches, part.lengths, seed=seed, epoch=epoch) if isinstance(part, Ragged) else batches

    def batches(
        self,
        split: str,
        *,
        size: int,
        seed: int,
        epoch: int,
        start: int = 0,
        workers: Workers | None = None,
        whole: bool = False,
        plain: bool = False,
    ) -> IndexedBatches | None:
        """The batches of one pass over a split: a function of its arguments. None: there is no such split.

        `order` says which samples they hold; a task changes that, not this.

        Args:
            split: `train`, `valid` or `test`.
            size: samples in a batch.
            seed: of the order and of augmentation, with `epoch`.
            epoch: which pass it is, from 0.
            start: the first batch, so that a resumed run goes on within an epoch.
            workers: those who fetch ahead where the data isn't in memory; they change nothing.
            whole: leave out batches of fewer samples than `size`.
            plain: fetch samples without augmentation.
        """
        part = self.part(split, plain)
        if part is None:
            return None
        # what is measured is measured once each, however often training takes it
        parts = self.order("valid" if plain else split, part, size=size, seed=seed, epoch=epoch)
        # before `start` is counted, which counts batches that are trained on
        parts = [indices for indices in parts if len(indices) >= size] if whole else parts
        parts = parts[start:]
        # data in memory is fetched faster here than by another process
        ahead = None if workers is None or self.data.in_memory else partial(workers.fetched, split, plain)
        return IndexedBatches(part, parts, seed=seed, epoch=epoch, ahead=ahead)

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any, criterion: Any, phase: str) -> Tensor | dict[str, Tensor]:
        """A scalar: the mean over `weight(batch)` of what the phase minimises.

        Or named parts, such as `{"class": ..., "box": ...}`: their sum is minimised, and each is logged. It draws
        nothing, reads no value (`.item()`) and keeps no state but the model's buffers. Gradients with respect to inputs
        are taken by `torch.func.grad`.
        """

    @abstractmethod
    def evaluate(self, model: nn.Module, batch: Any) -> tuple[Any, ...] | Mapping[str, Any]:
        """What the metrics' `update` is called with: logits and labels, decoded text, ranked items.

        Or a table of them, such as `{"logits": ..., "boxes": ...}`, from which each metric is given its own by `Of`.
        """

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """New metrics by name; the goal's is among them."""

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("train"),)

    def draw(self, batch: Any, generator: Generator) -> Any:
        """Every random part of the objective: noise, masks, negatives, mixup. `generator` is on the CPU."""
        return batch

    def weight(self, batch: Any) -> float:
        """What the loss is a mean over: samples, or target tokens. A number known on the host."""
        return len(batch)

    def after_step(self, model: nn.Module, phase: str, progress: float) -> None:
        """Called after a phase's update: momentum teachers, target networks.

        `progress` is the share of the run's steps that are done, this one included: 1 after the last.
        """

    @property
    def line(self) -> str:
        """What a line of text that `parse` understands is called: `labwright predict RUN --LINE TEXT`."""
        return self.data.line

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """One input from a line of text, as the model's arguments with one row; after `prepare()` or `load()`.

        An Input, if `predict` needs to know its origin.
        """
        return self.data.parse(line)

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """One answer for each row of the inputs: values ready for JSON.

        `origins` has for each row what its Input knew of where it came from, such as a picture's size, or None. Rows
        are inputs of the same shapes that were asked for together: an answer depends on its own row alone. A value may
        also be an iterator of texts, which are printed as they come, or an Attachment, which is saved.
        """
        raise LabwrightError(f"task {type(self).__name__} can't predict.")

    def explain(self, model: nn.Module, inputs: tuple[Tensor, ...], method: str) -> list[dict[str, Any]]:
        """What each row's prediction rests on, by a method such as `occlusion`: values as `predict` returns them.

        They are added to the answers; gradients can be taken. Raises LabwrightError for a method it doesn't know.
        """
        raise LabwrightError(f"task {type(self).__name__} can't explain its predictions.")

    def remark(self, split: str, metrics: Mapping[str, float]) -> str | None:
        """What to know about a split's metrics that look better than they are, a sentence; None: nothing."""
        return None

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """What simple rules reach on a split: the task's metrics by the rule's name; a result should be better.

        Such as `{"most frequent class": {"accuracy": 0.1}}`. It is asked for once a run has ended and somebody is told
        of it, and takes seconds: what is learned from fewer samples than there are says so in the rule's name.
        """
        return {}

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Sections of report.html, in their order: figures, tables, pictures, sounds, text."""
        return ()
