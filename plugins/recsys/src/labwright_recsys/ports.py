"""What recommendation models are called with, and what they return. B batch, E pairs, N users or items, V values."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from labwright import Interactions, Port
from torch import Generator, Tensor


def _no_pairs() -> Tensor:
    return torch.empty(2, 0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Side:
    """What is known of every user, or of every item, beside their name: an age group, the genres of a film.

    `codes_NV`, int64: row n holds the values of user or item n, code c standing for `values[c - 1]`; 0 fills up the
    rows of those that have fewer than V values.
    """

    name: str
    values: tuple[str, ...] = field(repr=False)
    codes_NV: Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class Feedback(Interactions):
    """Pairs of a user and an item, and what is known of both: `model(users_B, items_B)`, both int64.

    `pairs` are the users and items of the training part, sorted by user and item: the graph of LightGCN, the
    histories that neighbours are looked up for. A model takes what it needs of them as buffers.
    """

    pairs: Tensor = field(default_factory=_no_pairs, repr=False)
    user_sides: tuple[Side, ...] = ()
    item_sides: tuple[Side, ...] = ()


@dataclass(frozen=True)
class Preference(Port):
    """How much a user wants an item: forward returns scores_B, any real numbers; the target is the rating, float32.

    Where a score is to be a probability it is a logit. Data without ratings has 1.0 for every pair.
    """

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(1, 6, (batch_size,), generator=generator).float(),)
