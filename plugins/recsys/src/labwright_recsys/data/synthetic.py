"""Users and items made by a stated model, so that it is known what a model can gain. D tastes."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.splits import Manner, Seed, Share
from labwright_recsys.data.table import Table
from labwright_recsys.memory import enough

_FEWEST = 10  # interactions of a user
_PER_PAIR = 32  # bytes
_DAY = 86_400.0  # seconds
_BEGIN = 1_700_000_000.0  # seconds since 1970


class Synthetic(Recommendation):
    """Users with latent tastes, who choose among items of unequal popularity. Made anew in a moment, always the same.

    Tastes p_u and traits q_i are standard normal in D = `tastes` dimensions, q_i divided by sqrt(D); popularity b_i is
    normal with deviation `skew`. A user wants an item by w = strength * p_u.q_i + b_i and picks n of them one after
    another, each with probability proportional to exp(w) among those left (Plackett 1975; drawn as the n largest
    w + Gumbel noise). n is 9 plus a geometric number of mean `activity` - 9, and half of the items at most. A rating
    from 1 to 5 cuts the taste p_u.q_i plus normal noise, deviation 0.5, at -0.75, -0.25, 0.25 and 0.75. The time of a
    pick is an hour after the one before; users begin on a day of a year of their own.

    Ranking by b alone is all that popularity can do; ranking by w is the best there is. `wants` gives both.

    Args:
        users: how many users there are.
        items: how many items there are.
        activity: mean number of items that a user picks, before those are cut that are more than half of all.
        tastes: D, dimensions of tastes and traits.
        strength: factor of taste in what a user wants; 0 leaves popularity alone.
        skew: standard deviation of the items' popularity; 0 makes them equally popular.
    """

    source = "made by labwright-recsys"
    licence = "Apache-2.0"

    def __init__(
        self,
        *,
        users: Annotated[int, Field(ge=2)] = 600,
        items: Annotated[int, Field(ge=20)] = 400,
        activity: Annotated[int, Field(gt=_FEWEST)] = 40,
        tastes: Annotated[int, Field(ge=1)] = 4,
        strength: Annotated[float, Field(ge=0)] = 2.0,
        skew: Annotated[float, Field(ge=0)] = 1.0,
        split: Manner = "random",
        valid: Share = 0.1,
        test: Share = 0.1,
        seed: Seed = 0,
    ) -> None:
        super().__init__(split, valid, test, seed)
        self.counts, self.activity, self.tastes = (users, items), activity, tastes
        self.strength, self.skew = strength, skew

    def wants(self) -> tuple[np.ndarray, np.ndarray]:
        """What users want, w of shape (users, items), and popularity b, (items,)."""
        p_UD, q_ID, b_I = self._drawn()[:3]
        return self.strength * p_UD @ q_ID.T + b_I, b_I

    def table(self) -> Table:
        users, items = self.counts
        what = f"task.data: the tastes of {users:,} users for {items:,} items, drawn one by one,"
        enough(_PER_PAIR * users * items, what, "Set task.data.users or task.data.items lower.")
        p_UD, q_ID, b_I, random = self._drawn()
        taste_UI = p_UD @ q_ID.T
        noisy_UI = self.strength * taste_UI + b_I + random.gumbel(size=(users, items))
        order_UI = np.argsort(-noisy_UI, axis=1, kind="stable")
        picks = _FEWEST - 1 + random.geometric(1 / (self.activity - _FEWEST + 1), size=users)
        begins = _BEGIN + _DAY * random.integers(0, 365, size=users)
        user_N = np.repeat(np.arange(users), np.minimum(picks, items // 2))
        place_N = np.concatenate([np.arange(count) for count in np.bincount(user_N, minlength=users)])
        item_N = order_UI[user_N, place_N]
        felt_N = taste_UI[user_N, item_N] + random.normal(0, 0.5, size=len(user_N))
        ratings = 1.0 + np.searchsorted([-0.75, -0.25, 0.25, 0.75], felt_N)
        kinds = [_kind(traits) for traits in q_ID]
        return Table(
            [str(user + 1) for user in user_N],
            [str(item + 1) for item in item_N],
            ratings,
            begins[user_N] + 3600.0 * place_N,
            titles={str(item + 1): f"item {item + 1} of kind {kind}" for item, kind in enumerate(kinds)},
            user_sides={"favourite": {str(user + 1): (_kind(p_D),) for user, p_D in enumerate(p_UD)}},
            item_sides={"kind": {str(item + 1): (kind,) for item, kind in enumerate(kinds)}},
        )

    def _drawn(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
        """Tastes (U, D), traits (I, D), popularity (I,), and the generator to go on with."""
        random = np.random.default_rng(20_240_531)
        users, items = self.counts
        p_UD = random.normal(size=(users, self.tastes))
        q_ID = random.normal(size=(items, self.tastes)) / np.sqrt(self.tastes)
        return p_UD, q_ID, random.normal(0, self.skew, size=items), random


def _kind(vector_D: np.ndarray) -> str:
    """The direction of the strongest taste or trait: A+, A-, B+, and so on."""
    strongest = int(np.abs(vector_D).argmax())
    return f"{chr(ord('A') + strongest % 26)}{'+' if vector_D[strongest] > 0 else '-'}"
