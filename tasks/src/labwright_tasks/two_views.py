"""Learning without labels: two views of a sample, or both of a pair, are to be alike, and unlike those of others.

B samples, F features of a representation, D numbers of a projection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
from labwright import (
    Augmented,
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
    Sharded,
    Split,
    Task,
    derived_seed,
    evaluating,
    separable,
)
from pydantic import Field
from torch import Generator, Tensor, nn

from labwright_tasks.projected import Embeds, Projections, Taught
from labwright_tasks.representations import NeighbourAccuracy, Rank, ReciprocalRank, RetrievalAccuracy, Spread
from labwright_tasks.views_losses import Byol, ViewsLoss

if TYPE_CHECKING:
    from labwright import Section

_STREAM = 20  # of the seeds of the views, among derived seeds
_LOOKED_AT = 64  # samples looked at to see whether anything is augmented
_AT_ONCE = 256  # samples the model sees together for a report
_COLLAPSED = 0.05  # of the spread; projections that fill the sphere are near 1


@dataclass(frozen=True)
class Views(Batch):
    """Two views of each sample: `inputs` are the model's arguments for the first, `others` for the second."""

    others: tuple[Tensor, ...]


@dataclass(frozen=True)
class Asked(Batch):
    """Samples as they are, and beside them some of the training part, whose labels are known."""

    known: tuple[Tensor, ...]
    known_labels: Tensor


@dataclass(frozen=True)
class Alike(Port):
    """Data whose samples are pairs: its batches are `Views`, of the same shapes, padded alike. There is no target."""

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:  # noqa: ARG002 - nothing to draw
        return (torch.empty(batch_size, 0),)


class Pairs:
    """A training part that gives two views of each sample: what it is augmented to under two seeds, or itself.

    With `views` "dropout" both are the same, which a model with dropout doesn't see the same way.
    """

    def __init__(self, part: Split, views: str = "augmented") -> None:
        self.part, self.views = part, views
        if isinstance(part, Sharded):
            self.shards, self.window = part.shards, part.window

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Views:
        if self.views == "dropout":
            both = self.part.fetch(indices, epoch, seed)
            return Views(both.inputs, both.targets, both.inputs)
        first, second = (self.part.fetch(indices, epoch, derived_seed(seed, _STREAM + view)) for view in range(2))
        return Views(first.inputs, first.targets, second.inputs)


class BesideKnown:
    """A part whose samples bring those of the training part along, in equal shares, `known` of them in all.

    So a pass over it, in batches of any size, has seen both under the same weights.
    """

    def __init__(self, part: Split, train: Split, known: int) -> None:
        self.part, self.train = part, train
        self.known = min(known, len(train))

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Asked:
        batch = self.part.fetch(indices, epoch, seed)
        length = len(self.part)
        numbers = [range(i * self.known // length, (i + 1) * self.known // length) for i in indices.tolist()]
        # evenly over the whole part, as samples often stand in the order of their classes
        places = [number * len(self.train) // max(self.known, 1) for some in numbers for number in some]
        known = self.train.fetch(torch.tensor(places, dtype=torch.int64), 0, seed)
        return Asked(batch.inputs, batch.targets, known.inputs, known.targets)


class TwoViews(Task):
    """Learn a representation without labels: two views of a sample are alike, and as unlike others as the loss asks.

    Higher is better: `knn_accuracy`, by the nearest neighbours among training samples, the one use of labels. Where the
    data has no classes, or `neighbours` is 0, it is `rank`: how many dimensions projections fill. `spread` says whether
    they have collapsed: 0 is all at one point. Of data of pairs it is `retrieval_accuracy`: how often the one of a pair
    is nearer to its other, by the cosine of representations, than to that of any other pair of the split; `mrr` is the
    mean of one over its place among them, from either side.

    Data offers any input, and with augmented views a training part that augments its samples by (seed, epoch, index). A
    last batch of one sample, which nothing can be compared with, is given another by the one before it, or, if that has
    two, joins it.

    Args:
        data: inputs of any kind, or pairs of them, such as `nlp/alike-texts`.
        views: what the two are: "augmented" what a sample is augmented to twice; "dropout" the same sample twice, of
            which a model with dropout sees two (Gao et al. 2021, "SimCSE"). Of data of pairs they are the two of a
            pair, and this means nothing.
        neighbours: nearest training samples that vote for a class in `knn_accuracy`; 0 measures `rank` instead.
        temperature: divides the cosines of representations, whose exponentials are the votes of neighbours.
        known: most training samples among which neighbours are found, evenly over the part.
    """

    contract = ViewsLoss
    model_contract = Embeds

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        views: Literal["augmented", "dropout"] = "augmented",
        neighbours: Annotated[int, Field(ge=0, description="that vote for a class")] = 20,
        temperature: Annotated[float, Field(gt=0, description="of their votes")] = 0.07,
        known: Annotated[int, Field(ge=1, description="most training samples to find neighbours among")] = 4096,
    ) -> None:
        self.data, self.views = data, views
        self.paired = issubclass(data.target, Alike)
        self.neighbours, self.temperature, self.known = neighbours, temperature, known
        self.labelled = bool(neighbours) and issubclass(data.target, Classes)
        goal = "retrieval_accuracy" if self.paired else "knn_accuracy" if self.labelled else "rank"
        self.goal = Goal(goal, "maximize")
        self.learned_from: Split | None = None  # the training part, where the data is other data
        self.one_view: bool | None = None  # whether the model gives the same for a sample twice, once that is known

    def port_types(self) -> tuple[type[Port], type[Port]]:
        return self.data.item, Projections

    def ports(self) -> tuple[Port, Port]:
        return self.data.ports()[0], Projections()

    def prepare(self) -> None:
        super().prepare()
        name, outputs = type(self.data).__name__, self.data.ports()[1]
        if self.labelled and isinstance(outputs, Classes) and len(outputs.names) == 1:
            raise LabwrightError(
                f"{name}: all samples are of class {outputs.names[0]!r}, so that neighbours tell nothing: "
                "task.neighbours=0 measures the rank of projections instead."
            )
        train = self.data.split("train")
        if train is None or not len(train) or self.paired or self.views == "dropout":
            return
        views = Pairs(train).fetch(torch.arange(min(len(train), _LOOKED_AT)), 0, 0)
        pairs = list(zip(views.inputs, views.others, strict=True))
        if any(first.shape != second.shape for first, second in pairs):
            raise LabwrightError(
                f"{name}: two views of the same samples have other shapes; views are to have the same."
            )
        if all(torch.equal(first, second) for first, second in pairs):
            raise LabwrightError(
                f"{name} shows a sample the same way each time, so that there are no two views of it: set what changes "
                "its training samples, such as crop, flip, jitter, rotate or shift of pictures: task.data.shift=0.1. "
                "`labwright show data NAME` has its settings. task.views=dropout leaves it to the model's dropout."
            )

    def on(self, path: Path) -> Self:
        """Over other data, whose neighbours are still found among the training samples."""
        other = super().on(path)
        other.learned_from = self.data.split("train")
        if self.labelled and other.learned_from is None:
            raise LabwrightError(
                "task.neighbours: neighbours are found among the run's own training samples, which aren't read with "
                "other data; task.neighbours=0 measures the rank of projections instead."
            )
        return other

    def view(self, split: str, part: Split) -> Split:
        if self.paired:
            return part
        if split == "train":
            return Pairs(part, self.views)
        train = self.data.split("train") or self.learned_from if self.labelled else None
        if train is None:
            return part
        return BesideKnown(part, train.plain() if isinstance(train, Augmented) else train, self.known)

    def order(self, split: str, part: Split, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        parts = list(super().order(split, part, size=size, seed=seed, epoch=epoch))
        if split != "train" or size == 1 or len(parts) < 2 or len(parts[-1]) > 1:
            return parts
        # a sample alone has nothing to be compared with: the batch before gives it one of its own, or, of two, takes it
        last = torch.cat(parts[-2:])
        return [*parts[:-2], *(torch.split(last, [size - 1, 2]) if size > 2 else [last])]

    def loss(
        self,
        model: nn.Module,
        batch: Views,
        criterion: ViewsLoss,
        phase: str,  # noqa: ARG002 - one phase
    ) -> Tensor | dict[str, Tensor]:
        if len(batch) == 1 and not separable(criterion):
            raise LabwrightError(
                f"train.batch_size: loss {type(criterion).__name__} compares samples with one another, and a batch "
                "has only one; at least two are needed, better hundreds."
            )
        # both at once, so that batch normalisation sees them together
        both = tuple(torch.cat(views) for views in zip(batch.inputs, batch.others, strict=True))
        first, second = model(*both).chunk(2)
        if self._to_be_told(model, first):  # once: it waits for the device
            self.one_view = torch.equal(first, second)
        if not isinstance(model, Taught):
            if isinstance(criterion, Byol):
                raise LabwrightError(
                    "loss: BYOL's needs a model with a teacher, such as 'with-teacher': without one, as in "
                    f"{type(model).__name__}, all views at one point are its minimum."
                )
            return criterion(first, second)
        of_first, of_second = model.targets(*both).chunk(2)
        # each view is to predict what the teacher gives for the other
        losses = criterion(first, of_second), criterion(second, of_first)
        return _mean(*losses)

    def _to_be_told(self, model: nn.Module, first: Tensor) -> bool:
        unknown = self.one_view is None and self.views == "dropout" and not self.paired
        return unknown and model.training and not torch._C._functorch.is_batchedtensor(first)

    def after_step(self, model: nn.Module, phase: str, progress: float) -> None:  # noqa: ARG002 - one phase
        if isinstance(model, Taught):
            model.teach(progress)

    def evaluate(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """Representations (B, F), projections (B, D) and labels; of known samples representations and labels.

        Batches of two views bring no known samples along: those would be the same ones.
        """
        features_BF = model.embed(*batch.inputs)
        if self.paired:
            assert isinstance(batch, Views)
            others_BF = model.embed(*batch.others)
            return {"features": features_BF, "others": others_BF, "projections": model.project(features_BF)}
        results = {"features": features_BF, "projections": model.project(features_BF), "labels": batch.targets}
        if not isinstance(batch, Asked) or not len(batch.known_labels):
            return results | {"known": features_BF[:0], "known_labels": batch.targets[:0]}
        return results | {"known": model.embed(*batch.known), "known_labels": batch.known_labels}

    def metrics(self) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {"spread": Of(Spread(), "projections"), "rank": Of(Rank(), "projections")}
        if self.paired:
            both = "features", "others"
            found: dict[str, Metric] = {"retrieval_accuracy": Of(RetrievalAccuracy(), *both)}
            return found | {"mrr": Of(ReciprocalRank(), *both)} | metrics
        if not self.labelled:
            return metrics
        neighbours = NeighbourAccuracy(self.neighbours, self.temperature)
        return {"knn_accuracy": Of(neighbours, "features", "labels", "known", "known_labels")} | metrics

    def remark(self, split: str, metrics: Mapping[str, float]) -> str | None:
        """Says so where the projections have collapsed to a point, or the model saw no two views."""
        if self.one_view:
            return (
                "task.views=dropout: the model gives the same for a sample twice, so that it saw no two views and "
                "only learns to hold samples apart. A model with dropout sees two, such as by model.dropout=0.1."
            )
        if not metrics.get("spread", 1.0) < _COLLAPSED:
            return None
        return (
            f"projections of {split} have collapsed: their spread is {metrics['spread']:.2g}, where 1 is even. A lower "
            "optimizer.lr, a longer warm-up, larger batches or another loss help."
        )

    def report(self, model: Any, split: str, device: torch.device) -> Sequence[Section]:
        """How far projections are spread in each direction."""
        from labwright_tasks.two_views_report import directions

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        with evaluating(model):
            batches = (batch.to(device) for batch in IndexedBatches.in_order(part, _AT_ONCE))
            projections = [model.project(model.embed(*batch.inputs)).float().cpu() for batch in batches]
        return [directions(torch.cat(projections))]

    def predict(self, model: Any, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002 - embeddings are of no size
        """For each row its representation."""
        features_BF = model.embed(*inputs)
        return [{"embedding": row} for row in features_BF.detach().float().cpu().tolist()]


def _mean(first: Tensor | dict[str, Tensor], second: Tensor | dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
    if isinstance(first, dict) and isinstance(second, dict):
        return {name: (value + second[name]) / 2 for name, value in first.items()}
    assert isinstance(first, Tensor) and isinstance(second, Tensor)
    return (first + second) / 2
