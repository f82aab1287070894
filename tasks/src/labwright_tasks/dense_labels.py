"""Dense labels: a class for each position of a sequence or pixel of a picture. B batch, C classes, H height, W width.

Positions are all axes between B and C, written P where it doesn't matter how many these are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import torch
from labwright import (
    LEFT_OUT,
    Attachment,
    Batch,
    Classes,
    Data,
    Goal,
    IndexedBatches,
    LabwrightError,
    Metric,
    Of,
    Part,
    Port,
    Split,
    Task,
    Tokens,
    evaluating,
)
from torch import Generator, Tensor, nn
from torch.nn import functional

from labwright_tasks.chains import best, conditional
from labwright_tasks.chosen_metrics import asked, chosen, chosen_goal, counted, new_metrics
from labwright_tasks.classification import ClassificationLoss
from labwright_tasks.entities import entities, tag_entities
from labwright_tasks.intervals import EntityInterval, OverlapInterval
from labwright_tasks.label_pictures import COLOURS, UNSEEN, UNSEEN_OF_MANY, png
from labwright_tasks.metrics import NatsPerToken, TokenAccuracy
from labwright_tasks.model_output import output
from labwright_tasks.overlap import EntityF1, IoU, MeanIoU, StrictEntityF1

if TYPE_CHECKING:
    from labwright import Section

# what a metric is called with, the positions that count, and what else it may ask for: see `DenseLabels.evaluate`
_TAKES = ("logits", "labels")
_MAPS = ("given_map", "true_map")
_STRICT = "strict_entities"
# over samples drawn anew: a metric of sums takes what its interval takes of each sample
_INTERVALS: dict[type, type[Metric]] = {
    MeanIoU: OverlapInterval,
    EntityF1: EntityInterval,
    StrictEntityF1: EntityInterval,
}
_TABLE = (*_TAKES, *_MAPS, "confusion", "nats_sum", "right", "tokens", "entities", _STRICT)

_AT_ONCE = 32  # samples fetched, or seen by the model, together where all are gone through
_EXAMPLES = 6  # of a report


@dataclass(frozen=True)
class PositionClasses(Port):
    """A class for each position: forward returns logits, (B, *positions, C); the target is labels, (B, *positions).

    Labels are int64 in 0..C-1, or -100 (`labwright.LEFT_OUT`) where none counts. Classes come last, as in everything
    else that returns logits: a convolutional network ends with `.movedim(1, -1)`, which copies nothing. `shape` has the
    most positions along each axis: (T,) or (H, W). `counts` says how many training labels each class has, if known.

    Of a sequence forward may return (B, T, C, C) instead, scores of each label behind each: see `chains`.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    counts: tuple[int, ...] | None = field(default=None, compare=False)

    def check(self, output: Any, target: Tensor) -> None:
        classes = len(self.names)
        wanted = (*target.shape, classes)
        chained = (*wanted, classes) if len(self.shape) == 1 else wanted
        if isinstance(output, Tensor) and output.shape in (wanted, chained):
            return
        came, hint = f"a {type(output).__name__}", ""
        if isinstance(output, Tensor):
            came = f"shape {tuple(output.shape)}"
            if output.dim() == len(wanted) and output.movedim(1, -1).shape == wanted:
                hint = " Its classes come before the positions: end the model with logits.movedim(1, -1)."
        raise LabwrightError(
            f"the model returned {came}; PositionClasses stands for {wanted}, {len(self.names)} logits for each "
            f"position.{hint}"
        )

    def logits(self, output: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (B, *positions, C) of what a model returned; of chained labels by those before, where these are given.

        Without `labels` each position's are of its label by itself.
        """
        return conditional(_precise(output), labels) if self._chained(output) else output

    def given(self, output: Tensor) -> Tensor:
        """The classes that a model gives, (B, *positions): of chained labels the most probable sequence."""
        return best(_precise(output)) if self._chained(output) else output.argmax(-1)

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, len(self.names), (batch_size, *self.shape), generator=generator),)

    def _chained(self, output: Tensor) -> bool:
        return len(self.shape) == 1 and output.dim() == 4


@dataclass(frozen=True)
class SpelledWords(Port):
    """Words and their letters: `model(ids_BT, lengths_B, letters_BTL)`, int64; L letters of a word at most.

    Positions from a row's length on hold 0, as do letters behind a word's last.
    """

    vocab_size: int
    length: int
    alphabet: int
    letters: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        ids_BT, lengths_B = Tokens(self.vocab_size, self.length).example(batch_size, generator)
        letters_BTL = torch.randint(1, self.alphabet, (*ids_BT.shape, self.letters), generator=generator)
        there_BT = torch.arange(self.length) < lengths_B[:, None]
        return ids_BT, lengths_B, letters_BTL * there_BT[..., None]


@dataclass(frozen=True)
class Words:
    """The origin of a sequence: its words, and of each the position that speaks for it, such as its first piece's.

    Example: `lw.Input((ids_1T, lengths_1), origin=Words(("New", "York"), (0, 2)))`
    """

    words: tuple[str, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Shown:
    """The origin of a picture of which a model sees a part, or that it sees within a border: its size and that window.

    `window` has its top, left, height and width, in the picture's pixels.

    Example: `lw.Input((x_1CHW,), origin=Shown(480, 640, (0.0, 80.0, 480.0, 480.0)))`
    """

    height: int
    width: int
    window: tuple[float, float, float, float]


class DenseLabels(Task):
    """Tell the class of each position of a sequence, or of each pixel of a picture. Higher is better: mean_iou.

    The loss is a mean over the positions that have a label. `accuracy` is the share of them that are right,
    `cross_entropy` in nats a mean over them. `iou/CLASS` is right positions over those that are of the class or given
    it (Everingham et al. 2010, section 4.2), nan for a class that is neither in the split nor given; `mean_iou` is the
    mean over the other classes. All are of the positions of the whole split together. Where the classes are O and B-
    and I- of some types, `entity_f1` is that of whole entities, each right if its type and both its ends are.

    A prediction has a class for each position, or for each word if the data says what its words are (an origin
    `Words`). Of a picture it is another one in its size, or in that of its origin (height, width), by the nearest
    pixel: a PNG whose values are the labels and whose palette shows them, or of 16 bits where there are 256 classes and
    more. Where the origin is `Shown`, what the model saw no part of is 255, or 65,535 of 16 bits.

    Args:
        data: sequences or pictures with a class for each position or pixel.
        metrics: what is measured in place of the metrics above; those of classes are given the positions that count.
        goal: metric by which models are compared and the best weights chosen, such as `iou/CLASS`, or with its
            direction `NAME:minimize`; left out, `mean_iou`.

    `prepare` raises LabwrightError for training labels outside the classes, and if none counts; data that isn't in
    memory is taken on trust.
    """

    goal = Goal("mean_iou", "maximize")
    contract = ClassificationLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        metrics: list[Annotated[Metric, Part("metric")]] | None = None,
        goal: str | None = None,
    ) -> None:
        if not issubclass(data.target, PositionClasses):
            raise LabwrightError(
                f"task.data: dense labels need a class for each position; {type(data).__name__} has targets "
                f"{data.target.__name__}, not PositionClasses. Task 'classification' takes Classes."
            )
        usual: dict[str, Metric | type[Metric]] = {
            "mean_iou": MeanIoU(),
            "accuracy": TokenAccuracy(),
            "cross_entropy": NatsPerToken(),
            "iou": IoU,
            "entity_f1": EntityF1,
        }
        self.chosen = chosen(metrics, usual, Classes, _TAKES, table=_TABLE)
        self.goal = chosen_goal(goal, self.chosen, DenseLabels.goal)
        wanted = {name for metric in self.chosen.values() for name in asked(metric, _TAKES, _TABLE)}
        self.by_position, self.as_maps = "logits" in wanted, not wanted.isdisjoint(_MAPS)
        self.strictly = _STRICT in wanted
        self.data = data
        self.counts: tuple[int, ...] | None = None  # of each class's training labels

    @property
    def port(self) -> PositionClasses:
        outputs = self.data.ports()[1]
        assert isinstance(outputs, PositionClasses)
        return outputs

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of their labels."""
        return self.port.names

    def prepare(self) -> None:
        super().prepare()
        split = self.part("train", plain=True) if self.data.in_memory else None
        if split is None or not len(split):
            return
        data, classes, counts_C = type(self.data).__name__, len(self.names), torch.zeros(len(self.names)).long()
        for targets in _targets(split):
            if targets.dim() != 1 + len(self.port.shape):
                raise LabwrightError(
                    f"{data}: labels have shape {tuple(targets.shape)}, which isn't a batch of samples with "
                    f"{len(self.port.shape)} axes of positions, as its port has: {self.port.shape}."
                )
            counted = targets[targets != LEFT_OUT]
            for label in (int(counted.min()), int(counted.max())) if len(counted) else ():
                if not 0 <= label < classes:
                    raise LabwrightError(
                        f"{data}: a training label is {label}, but its {classes} classes have labels 0 to "
                        f"{classes - 1}, and {LEFT_OUT} (labwright.LEFT_OUT) is left out."
                    )
            counts_C += counted.bincount(minlength=classes)
        if not counts_C.any():
            raise LabwrightError(
                f"{data}: none of the {len(split):,} training samples has a label that counts; all are {LEFT_OUT}."
            )
        self.counts = tuple(counts_C.tolist())

    def ports(self) -> tuple[Port, Port]:
        """Those of the data; the classes with how many training labels each has."""
        inputs, outputs = self.data.ports()
        assert isinstance(outputs, PositionClasses)
        return inputs, replace(outputs, counts=self.counts)

    def weight(self, batch: Batch) -> float:
        """The positions that count; next to nothing where none does, as it is divided by."""
        return int((batch.targets != LEFT_OUT).sum()) or sys.float_info.min

    def loss(self, model: nn.Module, batch: Batch, criterion: Any, phase: str) -> Tensor | dict[str, Tensor]:  # noqa: ARG002 - one phase
        logits = self.port.logits(self._scores(model, batch), batch.targets).flatten(0, -2)
        labels = batch.targets.flatten()
        none = (labels == LEFT_OUT).all()
        # a mean over nothing is no number: where no position counts, any label does, and the loss is 0
        means: Tensor | dict[str, Tensor] = criterion(logits, labels.masked_fill(none, 0))
        return {name: mean * ~none for name, mean in means.items()} if isinstance(means, dict) else means * ~none

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Of the positions that count: `confusion`, how often each class (row) was given each class (column), the
        `nats_sum` of their labels, how many are `right` and how many `tokens` they are; and `entities`, how many are
        right, given and true, (3,), zeros where classes are no tags; `confusion_of_each` and `entities_of_each` sample,
        (B, ...). Where a metric takes them, `strict_entities`, which begin with B-; `logits` and `labels`; or
        `given_map` and `true_map`, (B, *positions): the classes given and all labels.
        """
        scores, labels = self._scores(model, batch), batch.targets
        logits, given = self.port.logits(scores), self.port.given(scores)
        counts, classes = labels != LEFT_OUT, len(self.names)
        exact = logits if logits.dtype == torch.float64 else logits.float()
        nats = functional.cross_entropy(
            exact.flatten(0, -2), labels.flatten(), ignore_index=LEFT_OUT, reduction="none"
        ).sum(dtype=torch.float32 if logits.device.type == "mps" else torch.float64)
        sample_B1 = torch.arange(len(labels), device=labels.device)[:, None]
        pairs = ((sample_B1 * classes + labels.flatten(1)) * classes + given.flatten(1))[counts.flatten(1)]
        confusion_BCC = torch.bincount(pairs, minlength=len(labels) * classes**2).view(-1, classes, classes)
        confusion_CC, entities_B3 = confusion_BCC.sum(0), self._entities(given, labels)
        sums = {
            "confusion": confusion_CC,
            "confusion_of_each": confusion_BCC,
            "nats_sum": nats,
            "right": confusion_CC.trace(),
            "tokens": confusion_CC.sum(),
            "entities": entities_B3.sum(0),
            "entities_of_each": entities_B3,
        }
        maps = {"given_map": given, "true_map": labels} if self.as_maps else {}
        if self.strictly:
            strict_B3 = self._entities(given, labels, strict=True)
            sums |= {_STRICT: strict_B3.sum(0), f"{_STRICT}_of_each": strict_B3}
        return sums | maps | (counted(logits, labels) if self.by_position else {})

    def metrics(self) -> dict[str, Metric]:
        # one that is chosen says itself that classes are no tags
        fitting = {name: one for name, one in self.chosen.items() if name != "entity_f1" or tag_entities(self.names)}
        if self.as_maps and len(self.port.shape) != 2:
            raise LabwrightError("task.metrics: borders between classes are those of pictures; these have none.")
        metrics = new_metrics(fitting, self.data.ports()[0], Classes(self.names), _TAKES, _TABLE)
        intervals: dict[str, Metric] = {
            f"{name}_95": Of(_INTERVALS[type(one.metric)](), f"{one.names[0]}_of_each", splits=["test"])
            for name, one in metrics.items()
            if isinstance(one, Of) and type(one.metric) in _INTERVALS
        }
        return metrics | (intervals if self.data.independent else {})

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """The most frequent class of the training part everywhere, and of pictures that at each place; in memory."""
        from labwright_tasks.floors import of_model
        from labwright_tasks.linear_floor import Answering

        train, axes = self.part("train", plain=True), len(self.port.shape)
        if not self.data.in_memory or not train or not self.part(split):
            return {}
        counts_PC = torch.zeros(*self.port.shape, len(self.names))
        for targets in _targets(train):
            # sequences may be shorter in a batch
            counts_PC[tuple(map(slice, targets.shape[1:]))] += _counts(targets, len(self.names))
        counts_C = counts_PC.flatten(0, -2).sum(0)
        logits_C = counts_C.clamp(min=1e-6).log()
        same = Answering(lambda *inputs: logits_C.expand(*inputs[0].shape[:1], *inputs[0].shape[-axes:], -1))
        floors = {"most frequent class": of_model(self, split, same, size=_AT_ONCE)}
        if axes == 2:
            # what was never seen at a place is as likely there as anywhere
            logits_PC = (counts_PC + counts_C.clamp(min=1e-6) / counts_C.sum()).log()
            placed = Answering(lambda *inputs: logits_PC.expand(len(inputs[0]), *logits_PC.shape))
            floors["most frequent class at each place"] = of_model(self, split, placed, size=_AT_ONCE)
        return floors

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """For each row the classes of its positions or words; of a picture a PNG, and each class's share of it."""
        scores = model(*inputs)
        self.port.check(scores, scores.flatten(1 + len(self.port.shape))[..., 0])
        rows = [*self.port.given(scores).cpu()]
        if isinstance(self.data.ports()[0], Tokens | SpelledWords):
            rows = [labels[:length] for labels, length in zip(rows, inputs[1].tolist(), strict=True)]
        return [self._answer(labels, origin) for labels, origin in zip(rows, origins, strict=True)]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """A confusion matrix, each class's figures, and the worst examples: pictures beside their labels, or texts."""
        from labwright_tasks.dense_labels_report import sections

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        confusion_CC = torch.zeros(len(self.names), len(self.names), dtype=torch.int64)
        right = []
        with evaluating(model):
            for batch in IndexedBatches.in_order(part, _AT_ONCE):
                of_each_BCC = self.evaluate(model, batch.to(device))["confusion_of_each"].cpu()
                confusion_CC += of_each_BCC.sum(0)
                # nan where nothing counts, which sorts last
                right.append(of_each_BCC.diagonal(dim1=1, dim2=2).sum(1) / of_each_BCC.sum((1, 2)))
            examples = part.fetch(torch.cat(right).sort(stable=True).indices[:_EXAMPLES], 0, 0)
            given = self.port.given(self._scores(model, examples.to(device))).cpu()
        return sections(confusion_CC, self.names, examples, given, self.data)

    def _scores(self, model: nn.Module, batch: Batch) -> Tensor:
        scores = output(model, batch)
        self.port.check(scores, batch.targets)
        return scores

    def _entities(self, given: Tensor, labels: Tensor, *, strict: bool = False) -> Tensor:
        """How many entities of each sequence are right, given and true, (B, 3); zeros where classes are no tags."""
        if labels.dim() != 2 or not tag_entities(self.names):
            return torch.zeros(1, 3, dtype=torch.int64)
        found = []
        for given_T, labels_T in zip(given.tolist(), labels.tolist(), strict=True):
            places = [place for place, label in enumerate(labels_T) if label != LEFT_OUT]
            named = ([self.names[row[place]] for place in places] for row in (given_T, labels_T))
            ours, true = (entities(tags, strict=strict) for tags in named)
            found.append([len(ours & true), len(ours), len(true)])
        return torch.tensor(found)

    def _answer(self, labels: Tensor, origin: Any) -> dict[str, Any]:
        if labels.dim() == 2 and len(self.names) < UNSEEN_OF_MANY:
            unseen = UNSEEN if len(self.names) < COLOURS else UNSEEN_OF_MANY
            labels_HW = labels if origin is None else self._resized(labels, origin, unseen)
            counts = torch.bincount(labels_HW[labels_HW != unseen], minlength=len(self.names)).tolist()
            shares = {name: count / sum(counts) for name, count in zip(self.names, counts, strict=True) if count}
            return {"labels": Attachment(png(labels_HW, len(self.names)), ".png"), "shares": shares}
        if not isinstance(origin, Words):
            return {"labels": _named(labels.tolist(), self.names)}
        # a word behind the last position was cut off
        seen = [self.names[labels[place]] if place < len(labels) else None for place in origin.positions]
        return {"words": list(origin.words), "labels": seen}

    def _resized(self, labels_HW: Tensor, origin: Any, unseen: int = UNSEEN) -> Tensor:
        """In the picture's own size the label of the nearest pixel, `unseen` beyond what the model saw of it."""
        if isinstance(origin, tuple) and len(origin) == 2 and all(isinstance(side, int) for side in origin):
            origin = Shown(*origin, (0.0, 0.0, *origin))
        if not isinstance(origin, Shown):
            raise LabwrightError(
                f"{type(self.data).__name__} gives a picture the origin {origin!r}; it should be (height, width), as "
                "in lw.Input((x_1CHW,), origin=(480, 640))."
            )
        top, left, height, width = origin.window
        rows, columns = (
            ((torch.arange(size, dtype=torch.float64) + 0.5 - start) * count / length).floor().long()
            for size, start, length, count in zip(
                (origin.height, origin.width), (top, left), (height, width), labels_HW.shape, strict=True
            )
        )
        high, wide = labels_HW.shape
        resized = labels_HW[rows.clamp(0, high - 1)][:, columns.clamp(0, wide - 1)]
        resized[(rows < 0) | (rows >= high)] = unseen
        resized[:, (columns < 0) | (columns >= wide)] = unseen
        return resized


def _precise(scores: Tensor) -> Tensor:
    """Sums along a text are taken in float32 at least."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _named(labels: Any, names: Sequence[str]) -> Any:
    """Labels in lists of any depth, by their classes' names."""
    return [_named(row, names) for row in labels] if isinstance(labels, list) else names[labels]


def _counts(labels: Tensor, classes: int) -> Tensor:
    """How often each position has each class in a batch of labels (B, *positions): (*positions, C)."""
    places = torch.arange(labels[0].numel()).view(labels.shape[1:]) * classes
    counted = (places + labels)[labels != LEFT_OUT]
    return counted.bincount(minlength=labels[0].numel() * classes).view(*labels.shape[1:], classes)


def _targets(split: Split) -> Iterator[Tensor]:
    for batch in IndexedBatches.in_order(split, _AT_ONCE):
        yield batch.targets
