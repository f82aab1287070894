"""Clicks: whether a user takes to an item that was shown. B pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self

import torch
from labwright import (
    Batch,
    Data,
    Goal,
    IndexedBatches,
    LabwrightError,
    Mean,
    Metric,
    Part,
    Port,
    Task,
    evaluating,
)
from labwright_tasks.floors import measured
from torch import Tensor, nn

from labwright_recsys.data.recommendation import Recommendation, nearly_all
from labwright_recsys.data.splits import TRAIN
from labwright_recsys.metrics import AUC, AUCInterval, LogLoss
from labwright_recsys.top_n import recommendation

if TYPE_CHECKING:
    from labwright import Section

_ROUNDING = 1e-9
_PRIOR = 10  # pairs
_AT_ONCE = 8192  # pairs the model sees together for a report


class ClicksLoss(Protocol):
    """What a loss is called with: logits (B,), and whether it was clicked, (B,), 0.0 or 1.0."""

    def __call__(self, logits: Tensor, clicked: Tensor) -> Tensor: ...


class Clicks(Task):
    """Tell whether a user takes to an item: whether its rating is `threshold` or higher. Higher is better: AUC.

    `auc` is the probability that a clicked pair scores above one that isn't, ties counted half; `log_loss` is in nats,
    the mean over pairs; `accuracy` is that of guessing a click from probability 1/2 on.

    Args:
        data: interactions of users with items, with ratings.
        threshold: rating from which on a pair counts as clicked; 1 for data of clicks, where ratings are 0 and 1.
    """

    goal = Goal("auc", "maximize")
    contract = ClicksLoss
    data: Recommendation

    def __init__(self, data: Annotated[Data, Part("data")], *, threshold: float = 4.0) -> None:
        self.data = recommendation(data, "predicting clicks")
        self.threshold = threshold
        self.closely = False  # whether an interval is measured as well

    def prepare(self) -> None:
        super().prepare()
        if not self.data.rated:
            raise LabwrightError(
                "task.data: predicting clicks needs to know what wasn't clicked: name the column of ratings, or of 0 "
                "and 1 with task.threshold=1, as task.data.rating."
            )
        clicked = self._clicked(self.data.ratings_N[self.data.parts_N == TRAIN])
        if clicked.min() == clicked.max():
            low, high = float(self.data.ratings_N.min()), float(self.data.ratings_N.max())
            raise LabwrightError(
                f"task.threshold: given {self.threshold}, which all training pairs are {_side(clicked)}; ratings go "
                f"from {low:g} to {high:g}."
            )
        self.data.noted = (*nearly_all(clicked, "task.threshold", self.threshold), *self._of_one_kind())

    def _of_one_kind(self) -> list[str]:
        """Which held-out splits have no AUC, a sentence each."""
        notes = []
        for split in ("valid", "test"):
            part = self.data.split(split)
            clicked = None if part is None else self._clicked(part.ratings_N)
            if clicked is not None and clicked.min() == clicked.max():
                notes.append(
                    f"all {len(clicked):,} pairs of {split} are rated {_side(clicked)} task.threshold, "
                    f"{self.threshold:g}: there is no auc of one kind."
                )
        return notes

    def ports(self) -> tuple[Port, Port]:
        """Pairs of the input port, such as a graph is made of, are those clicked."""
        data = self.data
        clicked_N = data.ratings_N >= self.threshold
        return data.feedback(clicked_N & (data.parts_N == TRAIN)), data.ports()[1]

    def loss(self, model: nn.Module, batch: Batch, criterion: ClicksLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        return criterion(model(*batch.inputs), self._clicked(batch.targets))

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and whether it was clicked, both (B,) float."""
        return model(*batch.inputs), self._clicked(batch.targets)

    def metrics(self) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {"auc": AUC(), "log_loss": LogLoss(), "accuracy": _Guessed()}
        return metrics | {"auc_95": AUCInterval()} if self.closely else metrics

    def on(self, path: Path) -> Self:
        """Over other pairs, with the interval of the area under the ROC curve."""
        other = super().on(path)
        other.closely = True
        return other

    def remark(self, split: str, metrics: Mapping[str, float]) -> str | None:
        """Says so where the accuracy is no better than that of always giving the more frequent answer."""
        part = self.data.split(split)
        if part is None or "accuracy" not in metrics:
            return None
        clicked = float(self._clicked(part.ratings_N).double().mean())
        share = max(clicked, 1 - clicked)
        if metrics["accuracy"] > share + _ROUNDING:
            return None
        return (
            f"accuracy {metrics['accuracy']:.4g} on {split} is no better than always answering "
            f"{'a click' if clicked >= 0.5 else 'no click'}, which is right for {share:.4g} of its pairs."
        )

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """Popularity: the share of clicks of each item, beside which ten pairs of the share of all are counted."""
        train, pairs = self.data.split("train"), self.data.split(split)
        if train is None or pairs is None:
            return {}
        clicked_N, items = self._clicked(train.ratings_N).double(), len(self.data.items)
        clicks_I = train.items_N.bincount(clicked_N, items) + _PRIOR * clicked_N.mean()
        shares_I = clicks_I / (train.items_N.bincount(minlength=items) + _PRIOR)
        logits_N = shares_I.logit(eps=1e-6)[pairs.items_N].float()
        return {"popularity": measured(self, split, logits_N, pairs.ratings_N)}

    @property
    def line(self) -> str:
        return "pair"

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """A user and an item, by their names with a blank or a tab between them."""
        names = line.split("\t") if "\t" in line else line.split()
        if len(names) != 2:
            raise LabwrightError(
                f"given {line!r}; a pair is a user and an item with a blank between them, or with a tab if a name has "
                "a blank."
            )
        data = self.data
        user = data.number(names[0], data.users, "user")
        return torch.tensor([user]), torch.tensor([data.number(names[1], data.items, "item")])

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        """The pairs of a file."""
        table = self.data.asked_at(path)
        pairs = zip(table.users, table.items, strict=True)
        return ((f"{user} {item}", partial(self.parse, f"{user}\t{item}")) for user, item in pairs)

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each pair the item's title and the probability of a click."""
        probabilities = model(*inputs).detach().float().sigmoid().cpu().tolist()
        titles = (self.data.titles[item] for item in inputs[1].tolist())
        return [{"title": title, "probability": share} for title, share in zip(titles, probabilities, strict=True)]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """How often it was clicked where a probability was given, and what was misjudged most."""
        from labwright_recsys.clicks_report import sections

        pairs = self.data.split(split)
        if pairs is None:
            return ()
        probabilities, clicked = [], []
        with evaluating(model):
            for batch in IndexedBatches.in_order(pairs, _AT_ONCE):
                logits_B, clicked_B = self.evaluate(model, batch.to(device))
                probabilities.append(logits_B.float().sigmoid().cpu())
                clicked.append(clicked_B.cpu())
        return sections(self.data, pairs, torch.cat(probabilities), torch.cat(clicked), self.threshold)

    def _clicked(self, ratings: Tensor) -> Tensor:
        return (ratings >= self.threshold).float()


class _Guessed:
    """The share of pairs where a logit above 0 goes with a click; nan before the first."""

    def __init__(self) -> None:
        self._mean = Mean()

    def update(self, logits_B: Tensor, clicked_B: Tensor) -> None:
        self._mean.update((logits_B > 0) == (clicked_B > 0))

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()


def _side(clicked: Tensor) -> str:
    return "at or above" if bool(clicked[0]) else "below"
