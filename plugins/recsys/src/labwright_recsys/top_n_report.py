"""What a run's report shows of ranked lists. B users, K places, I items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from labwright import Figure, Section, Table, evaluating
from matplotlib.figure import Figure as Canvas
from torch import Tensor, nn

from labwright_recsys.data.splits import TEST, TRAIN, VALID
from labwright_recsys.metrics import NDCG, Hit, Recall

if TYPE_CHECKING:
    from labwright_recsys.top_n import TopN

_SHOWN_USERS, _SHOWN_ITEMS = 8, 5
_GROUPS = 4


def sections(task: TopN, model: nn.Module, split: str, device: torch.device) -> list[Section]:
    """The sections for one split; none if nobody is measured on it."""
    batches = task.batches(split, size=1, seed=0, epoch=0)
    if batches is None:
        return []
    with evaluating(model):
        found = [[one.cpu() for one in task.evaluate(model, batch.to(device))] for batch in batches]  # type: ignore[arg-type]
    hits_BK, relevant_B, top_BK = (torch.cat(parts) for parts in zip(*found, strict=True))
    users_B = task.measured(split)
    return [
        _lists(task, split, users_B, top_BK, hits_BK),
        _by_activity(task, users_B, hits_BK, relevant_B, top_BK),
        _by_popularity(task, top_BK),
    ]


def _lists(task: TopN, split: str, users_B: Tensor, top_BK: Tensor, hits_BK: Tensor) -> Table:
    """Some users, from the least to the most active."""
    counts_B = task.learned.counts_U[users_B]
    order = counts_B.argsort(stable=True)
    places = torch.linspace(0, len(order) - 1, min(_SHOWN_USERS, len(order))).long()
    rows: list[tuple[object, ...]] = []
    titles = task.data.titles
    for row in order[places].tolist():
        user = int(users_B[row])
        listed = [
            f"{titles[item]} ✓" if hit else titles[item]
            for item, hit in zip(top_BK[row].tolist(), hits_BK[row].tolist(), strict=True)
            if item >= 0
        ]
        had = _titles(task, user, TRAIN)
        wanted = _titles(task, user, VALID if split == "valid" else TEST)
        rows.append((task.data.users[user], had, "; ".join(listed), wanted))
    note = f"✓ marks what the {split} part holds of that user; what was seen before is left out of the lists."
    columns = ("user", "had, best rated first", "recommended", f"wanted ({split})")
    return Table("Recommended", columns, rows, note)


def _titles(task: TopN, user: int, part: int) -> str:
    """A user's items of a part, the best rated first; how many there are, if not all are named."""
    data = task.data
    mine = ((data.users_N == user) & (data.parts_N == part)).nonzero()[:, 0]
    ordered = mine[data.ratings_N[mine].argsort(descending=True, stable=True)]
    named = [data.titles[int(data.items_N[one])] for one in ordered[:_SHOWN_ITEMS]]
    rest = len(ordered) - len(named)
    return "; ".join([*named, f"and {rest} more"] if rest else named)


def _by_activity(task: TopN, users_B: Tensor, hits_BK: Tensor, relevant_B: Tensor, top_BK: Tensor) -> Table:
    """Users in groups of equal size by how many training interactions they have."""
    counts_B = task.learned.counts_U[users_B]
    rows: list[tuple[object, ...]] = []
    for group in counts_B.argsort(stable=True).tensor_split(min(_GROUPS, len(users_B))):
        values = []
        for metric in (NDCG(), Hit(), Recall()):
            metric.update(hits_BK[group], relevant_B[group], top_BK[group])
            values.append(f"{metric.compute():.4f}")
        span = f"{int(counts_B[group].min()):,} to {int(counts_B[group].max()):,}"
        rows.append((span, len(group), f"{relevant_B[group].float().mean():.1f}", *values))
    columns = ("training interactions", "users", "wanted items", "ndcg", "hit", "recall")
    return Table("Users by activity", columns, rows, f"Lists of {task.top}; wanted items are the mean of a user.")


def _by_popularity(task: TopN, top_BK: Tensor) -> Figure:
    items = len(task.data.items)
    trained_I = torch.bincount(task.pairs.items_N, minlength=items)
    listed_I = torch.bincount(top_BK[top_BK >= 0], minlength=items)
    canvas = Canvas(figsize=(5, 4), layout="constrained")
    axes = canvas.subplots()
    axes.scatter(trained_I.numpy(), listed_I.numpy(), s=8, alpha=0.5)
    axes.set(xlabel="training interactions of an item", ylabel="lists it stands in")
    axes.set_xscale("symlog")
    axes.set_yscale("symlog")
    never = int((listed_I == 0).sum())
    return Figure("Items by popularity", canvas, f"{never:,} of {items:,} items stand in no list.")
