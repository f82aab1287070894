"""What a run's report shows of ranked lists. B users measured, K places, I items."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from labwright import Figure, Section, Table
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from labwright_recsys.data.recommendation import Pairs, Recommendation
from labwright_recsys.data.splits import TEST, TRAIN, VALID
from labwright_recsys.metrics import NDCG, Hit, Recall

_SHOWN_USERS, _SHOWN_ITEMS = 8, 5
_GROUPS = 4


@dataclass(frozen=True)
class Lists:
    """Lists of the best items for users: which places hold what is wanted, how many items each user wants."""

    users_B: Tensor
    hits_BK: Tensor
    wanted_B: Tensor
    items_BK: Tensor


def sections(data: Recommendation, split: str, learned: Pairs, lists: Lists) -> list[Section]:
    """Lists for some users beside what they had and wanted; who is served well; what is recommended how often.

    `learned` are the interactions that the model was trained on.
    """
    counts_B = torch.bincount(learned.users_N, minlength=len(data.users))[lists.users_B]
    return [
        _some_lists(data, split, counts_B, lists),
        _by_activity(counts_B, lists),
        _by_popularity(len(data.items), learned, lists.items_BK),
    ]


def _some_lists(data: Recommendation, split: str, counts_B: Tensor, lists: Lists) -> Table:
    """Some users, from the least to the most active."""
    order = counts_B.argsort(stable=True)
    places = torch.linspace(0, len(order) - 1, min(_SHOWN_USERS, len(order))).long()
    rows: list[tuple[object, ...]] = []
    for row in order[places].tolist():
        user = int(lists.users_B[row])
        recommended = [
            f"{data.titles[item]} ✓" if hit else data.titles[item]
            for item, hit in zip(lists.items_BK[row].tolist(), lists.hits_BK[row].tolist(), strict=True)
            if item >= 0
        ]
        had = _titles(data, user, TRAIN)
        wanted = _titles(data, user, VALID if split == "valid" else TEST)
        rows.append((data.users[user], had, "; ".join(recommended), wanted))
    note = f"✓ marks what the {split} part holds of that user; what was seen before is left out of the lists."
    columns = ("user", "had, best rated first", "recommended", f"wanted ({split})")
    return Table("Recommended", columns, rows, note)


def _titles(data: Recommendation, user: int, part: int) -> str:
    """A user's items of a part, the best rated first; how many there are, if not all are named."""
    pairs = ((data.users_N == user) & (data.parts_N == part)).nonzero()[:, 0]
    ordered = pairs[data.ratings_N[pairs].argsort(descending=True, stable=True)]
    named = [data.titles[int(data.items_N[pair])] for pair in ordered[:_SHOWN_ITEMS]]
    rest = len(ordered) - len(named)
    return "; ".join([*named, f"and {rest} more"] if rest else named)


def _by_activity(counts_B: Tensor, lists: Lists) -> Table:
    """Users in groups of equal size by how many training interactions they have."""
    rows: list[tuple[object, ...]] = []
    for group in counts_B.argsort(stable=True).tensor_split(min(_GROUPS, len(counts_B))):
        values = []
        for metric in (NDCG(), Hit(), Recall()):
            metric.update(lists.hits_BK[group], lists.wanted_B[group], lists.items_BK[group])
            values.append(f"{metric.compute():.4f}")
        between = f"{int(counts_B[group].min()):,} to {int(counts_B[group].max()):,}"
        rows.append((between, len(group), f"{lists.wanted_B[group].float().mean():.1f}", *values))
    columns = ("training interactions", "users", "wanted items", "ndcg", "hit", "recall")
    note = f"Lists of {lists.items_BK.shape[1]}; wanted items are the mean of a user."
    return Table("Users by activity", columns, rows, note)


def _by_popularity(items: int, learned: Pairs, items_BK: Tensor) -> Figure:
    trained_I = torch.bincount(learned.items_N, minlength=items)
    listed_I = torch.bincount(items_BK[items_BK >= 0], minlength=items)
    canvas = Canvas(figsize=(5, 4), layout="constrained")
    axes = canvas.subplots()
    axes.scatter(trained_I.numpy(), listed_I.numpy(), s=8, alpha=0.5)
    axes.set(xlabel="training interactions of an item", ylabel="lists it stands in")
    axes.set_xscale("symlog")
    axes.set_yscale("symlog")
    never = int((listed_I == 0).sum())
    return Figure("Items by popularity", canvas, f"{never:,} of {items:,} items stand in no list.")
