"""Top-N recommendation: the items a user wants next, out of all. B users or pairs, I items, K places, N negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self, cast

import torch
from labwright import (
    Batch,
    Data,
    Goal,
    IndexedBatches,
    Integers,
    Interactions,
    LabwrightError,
    Metric,
    Part,
    Port,
    Split,
    Task,
    evaluating,
)
from labwright_tasks.floors import of_model
from labwright_tasks.intervals import with_intervals
from pydantic import Field
from torch import Generator, Tensor, nn

from labwright_recsys.data.recommendation import Pairs, Recommendation, nearly_all
from labwright_recsys.data.splits import TEST, TRAIN, VALID
from labwright_recsys.metrics import NDCG, Coverage, Hit, Precision, Recall, ReciprocalRank
from labwright_recsys.ports import Preference
from labwright_recsys.ranking import ItemsOf, best, scores_of

if TYPE_CHECKING:
    from labwright import Section

_SCORES_AT_ONCE = 1 << 23  # users times items
_PAIRS_AT_ONCE = 8192
HELD_OUT = (
    "rankings are measured on what was held out, and not on what was learned from: take the split 'valid' or 'test', "
    "and leave train.evaluate_train out."
)


class RankingLoss(Protocol):
    """What a loss is called with: scores of positives, (B,), and of as many negatives for each, (B, N)."""

    def __call__(self, positive: Tensor, negative: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Compared(Batch):
    """Pairs of the training part, and items that each of their users has not had there, (B, N) int64."""

    negatives: Tensor


@dataclass(frozen=True)
class Users(Batch):
    """Users to rank all items for; `targets` says how many each of them wants.

    `seen` and `wanted` (2, S) are rows of the batch and items: what is left out of the lists, and what should be there.
    """

    seen: Tensor
    wanted: Tensor


class TopN(Task):
    """Rank all items for each user by what the user has had, with or without a rating. Higher is better: NDCG.

    Trained on pairs of the training part, each against items drawn evenly from those the user has not had there.
    Measured on the whole catalogue: items seen in training are left out, for `test` those of `valid` too (as RecBole
    does), and what was held out should stand among the first `top`. Users from whom nothing is held out, or nothing was
    learned, are not measured. Of equal scores the item that comes first in the catalogue stands first.

    Metrics, means over users: `ndcg`, `hit`, `recall`, `precision`, `mrr` at `top`, and `coverage`, the share of items
    in any list.

    Args:
        data: interactions of users with items.
        top: length of the lists that are measured, and recommended.
        liked: rating from which on an item counts as wanted, in training and in measuring; below it an item is seen and
            no more. Left out, every interaction counts.
        negatives: items that each training pair is compared with.
    """

    goal = Goal("ndcg", "maximize")
    contract = RankingLoss
    data: Recommendation

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        top: Annotated[int, Field(ge=1)] = 10,
        liked: float | None = None,
        negatives: Annotated[int, Field(ge=1), Integers(1, 16, log=True)] = 1,
    ) -> None:
        self.data = recommendation(data, "top-N recommendation")
        self.top, self.liked, self.negatives = top, liked, negatives

    # --------------------------------------------------------------------------------------------------------- data

    def prepare(self) -> None:
        super().prepare()
        self._arrange()

    def load(self, folder: Path) -> None:
        super().load(folder)
        self._arrange()

    def on(self, path: Path) -> Self:
        other = super().on(path)
        other._arrange()
        return other

    def _arrange(self) -> None:
        """Who has had what and wants what. Raises LabwrightError if there is nothing to rank or to learn from."""
        data = self.data
        if self.liked is not None and not data.rated:
            raise LabwrightError(
                f"task.liked: given {self.liked}, but the interactions have no ratings; name their column or leave "
                "task.liked out."
            )
        if len(data.items) <= self.top:
            raise LabwrightError(
                f"task.top: given {self.top}, but there are only {len(data.items)} items; lists of {self.top} need "
                "more of them, or a smaller task.top."
            )
        if self.negatives >= len(data.items):
            raise LabwrightError(
                f"task.negatives: given {self.negatives}, but there are only {len(data.items)} items, the positive one "
                "among them."
            )
        self._wanted_N = torch.ones(len(data.users_N), dtype=torch.bool)
        if self.liked is not None:
            self._wanted_N = data.ratings_N >= self.liked
        learned_N = self._wanted_N & (data.parts_N == TRAIN)
        if not learned_N.any():
            raise LabwrightError(f"task.liked: no training interaction is rated {self.liked} or higher.")
        if self.liked is not None and not data.whole:
            data.noted = nearly_all(self._wanted_N[data.parts_N == TRAIN], "task.liked", self.liked)
        self.pairs = data.chosen(learned_N)
        self.learned = self._items_of(self.pairs)
        self.known = self._items_of(data)
        self.wanted = {
            part: self._items_of(data.chosen(self._wanted_N & (data.parts_N == part))) for part in (VALID, TEST)
        }
        holds_out = data.manner != "random" or data.valid + data.test > 0
        if holds_out and not len(self.measured("valid")) and not len(self.measured("test")):
            raise LabwrightError(
                f"task.data.split: {data.manner!r} with valid={data.valid}, test={data.test}: of {len(data.users):,} "
                "users, none is both learned from and measured. Hold out larger shares, or set both to 0 to train on "
                "everything with task.data.split=random."
            )

    def _items_of(self, pairs: Pairs | Recommendation) -> ItemsOf:
        return ItemsOf(pairs.users_N, pairs.items_N, users=len(self.data.users), items=len(self.data.items))

    def ports(self) -> tuple[Port, Port]:
        return self.data.feedback(self._wanted_N & (self.data.parts_N == TRAIN)), self.data.ports()[1]

    def view(self, split: str, part: Split) -> Split | None:  # noqa: ARG002 - what a split holds was found in prepare()
        """Training pairs; users of a split that is measured, None where there are none."""
        if split == "train":
            return self.pairs
        measured = _Measured(self, split, self.measured(split))
        return measured if len(measured) else None

    def order(self, split: str, part: Split, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        """Pairs in batches of `size`; users, as many at once as memory bears."""
        at_once = size if split == "train" else max(1, _SCORES_AT_ONCE // len(self.data.items))
        return super().order(split, part, size=at_once, seed=seed, epoch=epoch)

    def measured(self, split: str) -> Tensor:
        """The users a split says something about: they have what was learned from, and want what was held out."""
        wanted = self.wanted[VALID if split == "valid" else TEST]
        return ((wanted.counts_U > 0) & (self.learned.counts_U > 0)).nonzero()[:, 0]

    def users(self, split: str, users_B: Tensor) -> Users:
        """Some users with what they have had before a split, and want in it."""
        part = VALID if split == "valid" else TEST
        wanted, had = self.wanted[part], self.known.of(users_B, self.data.parts_N < part)
        return Users((users_B,), wanted.counts_U[users_B], had, wanted.of(users_B))

    # ---------------------------------------------------------------------------------------------------- objective

    def draw(self, batch: Batch, generator: Generator) -> Compared:
        """Items that the users have not had in training, evenly among them."""
        draws_BN = torch.rand(len(batch), self.negatives, dtype=torch.float64, generator=generator)
        return Compared(batch.inputs, batch.targets, self.learned.others(batch.inputs[0], draws_BN))

    def loss(self, model: nn.Module, batch: Compared, criterion: RankingLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        """Positives and negatives go through the model together, so that a graph is gone over once."""
        users_B, items_B = batch.inputs
        items_NB = torch.cat([items_B[None], batch.negatives.T])
        scores_NB = model(users_B.repeat(len(items_NB)), items_NB.flatten()).view(items_NB.shape)
        return criterion(scores_NB[0], scores_NB[1:].T)

    def evaluate(self, model: nn.Module, batch: Users) -> tuple[Tensor, Tensor, Tensor]:
        """Which places hold what is wanted, (B, K) bool; how many are wanted (B,); the items listed, (B, K)."""
        if not isinstance(batch, Users):
            raise LabwrightError(HELD_OUT)
        top_BK = self.lists(model, batch.inputs[0], batch.seen, self.top)
        wanted_BI = torch.zeros(len(batch), len(self.data.items) + 1, dtype=torch.bool, device=top_BK.device)
        wanted_BI[batch.wanted[0], batch.wanted[1]] = True  # the last column is for -1
        return wanted_BI.gather(1, top_BK % wanted_BI.shape[1]), batch.targets, top_BK

    def lists(self, model: nn.Module, users_B: Tensor, seen: Tensor, places: int) -> Tensor:
        """The best items for users, (B, K), without those seen; -1 where none is left."""
        scores_BI = scores_of(model, users_B, len(self.data.items))
        scores_BI[seen[0], seen[1]] = -torch.inf
        return best(scores_BI, places)

    def metrics(self) -> dict[str, Metric]:
        of_users = {"ndcg": NDCG(), "hit": Hit(), "recall": Recall(), "precision": Precision(), "mrr": ReciprocalRank()}
        return with_intervals({**of_users, "coverage": Coverage(len(self.data.items))}, self.data)

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """Popularity: the same list for everyone."""
        from labwright_recsys.models.closed import Popularity

        inputs, outputs = self.ports()
        assert isinstance(inputs, Interactions) and isinstance(outputs, Preference)
        if self.part(split) is None:
            return {}
        popularity = Popularity(inputs, outputs)
        popularity.fit(IndexedBatches.in_order(self.pairs, _PAIRS_AT_ONCE))
        return {"popularity": of_model(self, split, popularity)}

    # ------------------------------------------------------------------------------------------------------ answers

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each user the `top` best items of those that stand in none of the user's interactions, of any part.

        `recommended` is a line of titles; `items` has each item's title and score by its name.
        """
        (users_B,) = inputs
        seen = self.known.of(users_B.cpu()).to(users_B.device)
        scores_BI = scores_of(model, users_B, len(self.data.items))
        scores_BI[seen[0], seen[1]] = -torch.inf
        top_BK = best(scores_BI, self.top)
        answers = []
        for top_K, scores_K in zip(top_BK.tolist(), scores_BI.gather(1, top_BK.clamp(min=0)).tolist(), strict=True):
            ranked = [(item, score) for item, score in zip(top_K, scores_K, strict=True) if item >= 0]
            line = "; ".join(f"{self.data.titles[item]} {score:.4g}" for item, score in ranked)
            items = {self.data.items[item]: {"title": self.data.titles[item], "score": score} for item, score in ranked}
            answers.append({"recommended": line, "items": items})
        return answers

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Lists for some users beside what they had and wanted; who is served well; what is recommended how often."""
        from labwright_recsys.top_n_report import Lists, sections

        batches = self.batches(split, size=1, seed=0, epoch=0)
        if batches is None or split == "train":
            return ()
        with evaluating(model):
            results = [
                [part.cpu() for part in self.evaluate(model, cast(Users, batch.to(device)))] for batch in batches
            ]
        hits_BK, wanted_B, items_BK = (torch.cat(parts) for parts in zip(*results, strict=True))
        return sections(self.data, split, self.pairs, Lists(self.measured(split), hits_BK, wanted_B, items_BK))


class _Measured:
    """The users of a split that is measured, (N,), as its samples."""

    def __init__(self, task: TopN, split: str, users_N: Tensor) -> None:
        self.task, self.split, self.users_N = task, split, users_N

    def __len__(self) -> int:
        return len(self.users_N)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Users:  # noqa: ARG002 - nothing is augmented
        return self.task.users(self.split, self.users_N[indices])


def recommendation(data: Data, what: str) -> Recommendation:
    """The data, if it is of users and items. Raises LabwrightError."""
    if not isinstance(data, Recommendation):
        raise LabwrightError(
            f"task.data: {what} needs interactions of users with items; {type(data).__name__} has none. "
            "`labwright list data` shows recsys/movielens, recsys/interactions and recsys/synthetic."
        )
    return data
