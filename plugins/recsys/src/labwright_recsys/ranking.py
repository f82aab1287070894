"""Scoring all items of users at once, and the best of them in order. B users, I items, K places, E pairs, S of them."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

_PAIRS_AT_ONCE = 1 << 18  # of a model that scores pairs only


@runtime_checkable
class ScoresAll(Protocol):
    """A model that scores all items of some users at once, faster than pair by pair."""

    def scores(self, users_B: Tensor) -> Tensor:
        """Scores of shape (B, I): those that forward gives for each user and each item."""
        ...


def scores_of(model: nn.Module, users_B: Tensor, items: int) -> Tensor:
    """The scores of all items for some users, (B, I), in memory of their own."""
    if isinstance(model, ScoresAll):
        return model.scores(users_B)
    all_I = torch.arange(items, device=users_B.device)
    at_once = max(1, _PAIRS_AT_ONCE // items)
    chunks = [
        model(users.repeat_interleave(items), all_I.repeat(len(users))).view(-1, items)
        for users in torch.split(users_B, at_once)
    ]
    return torch.cat(chunks)


def best(scores_BI: Tensor, places: int) -> Tensor:
    """The items with the highest scores, best first, (B, K) int64; -1 where only minus infinity is left.

    Of equal scores the item with the lower number stands first. One `topk` over integers that hold the score's order in
    their upper and the item's in their lower half. Not-a-number ranks below every number.
    """
    scores = scores_BI.float().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf) + 0.0  # -0.0 is 0.0
    bits = scores.view(torch.int32)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats they were
    items = scores.shape[1]
    keys = (ordered.long() << 32) | torch.arange(items - 1, -1, -1, device=scores.device)
    top = items - 1 - (keys.topk(min(places, items), dim=1).values & 0xFFFFFFFF)
    return top.masked_fill(scores.gather(1, top) == -torch.inf, -1)


class ItemsOf:
    """The items of each user: a ragged table. `users_E` and `items_E` are sorted by user and item, without repeats."""

    def __init__(self, users_E: Tensor, items_E: Tensor, *, users: int, items: int) -> None:
        self.items_E, self.items = items_E, items
        self.counts_U = torch.bincount(users_E, minlength=users)
        self.starts_U = self.counts_U.cumsum(0) - self.counts_U

    @cached_property
    def _gaps_E(self) -> Tensor:
        """How many items before each one the user doesn't have, told apart by user: ascending."""
        users_E = torch.arange(len(self.counts_U)).repeat_interleave(self.counts_U)
        gaps_E = self.starts_U[users_E].sub_(torch.arange(len(users_E))).add_(self.items_E)
        return gaps_E.add_(users_E.mul_(self.items + 1))

    def of(self, users_B: Tensor, chosen_E: Tensor | None = None) -> Tensor:
        """What the users have, (2, S): the row in `users_B` and the item; if some pairs are chosen, of those alone."""
        counts_B = self.counts_U[users_B]
        rows_S = torch.arange(len(users_B)).repeat_interleave(counts_B)
        shift_B = self.starts_U[users_B] - (counts_B.cumsum(0) - counts_B)
        places_S = torch.arange(len(rows_S)) + shift_B[rows_S]
        if chosen_E is not None:
            some_S = chosen_E[places_S]
            rows_S, places_S = rows_S[some_S], places_S[some_S]
        return torch.stack([rows_S, self.items_E[places_S]])

    def others(self, users_B: Tensor, draws_BN: Tensor) -> Tensor:
        """Items the users don't have, (B, N): uniform over them for draws uniform in [0, 1).

        The item before which there are r others is r plus the number of own items with at most r others before them.
        A user who has every item gets the last one.
        """
        free_B = (self.items - self.counts_U[users_B]).clamp(min=1)
        r_BN = (draws_BN * free_B[:, None]).long()
        found_BN = torch.searchsorted(self._gaps_E, users_B[:, None] * (self.items + 1) + r_BN, right=True)
        return (r_BN + found_BN - self.starts_U[users_B][:, None]).clamp(max=self.items - 1)
