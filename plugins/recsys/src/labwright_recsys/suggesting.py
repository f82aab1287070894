"""A recipe for a table of users and items, or a folder of MovieLens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labwright_tasks.suggesting.columns import glimpse
from labwright_tasks.suggesting.suggestion import Suggestion

from labwright_recsys.data.movielens import LAYOUTS

_USERS = ("user", "customer", "member", "visitor", "session", "reader", "listener", "buyer")
_ITEMS = ("item", "movie", "film", "product", "book", "track", "song", "article", "artist", "game", "sku")
_MANY = 20_000  # items; a square of so many numbers is 1.6 GB


def interactions(path: Path) -> Suggestion | None:
    """A table with a column of users and one of items, by their names, or a folder as MovieLens has them.

    Args:
        path: the table, or the folder.
    """
    if path.is_dir() and any(found for name in LAYOUTS for found in path.glob(f"{name}*")):
        timed = "Each has its time: task.data.split=temporal holds out what came last, as in use."
        data = {"name": "recsys/movielens", "folder": str(path)}
        return _suggestion("ratings in MovieLens' files", data, (timed,), small=True)
    seen = glimpse(path)
    if seen is None:
        return None
    user, item = seen.called(*_USERS), seen.called(*_ITEMS)
    if user is None or item is None:
        return None
    rating = seen.called("rating", "stars", "score")
    time = seen.called("time", "timestamp", "date", "when", "unixtime", "created_at")
    columns = {"user": user.name, "item": item.name}
    columns |= {setting: column.name for setting, column in (("rating", rating), ("time", time)) if column}
    what = f"{seen.rows:,} interactions of users ({user.name!r}) with items ({item.name!r})"
    return _suggestion(
        what + (f", rated ({rating.name!r})" if rating else ""),
        {"name": "recsys/interactions", "file": str(seen.path), **columns, **seen.written},
        (
            f"{user.name!r} and {item.name!r} are called like users and items.",
            "What is held out is drawn from each user's interactions; task.data.split=temporal, which needs times,"
            if not time
            else "What is held out is drawn from each user's interactions; task.data.split=temporal",
            "holds out what came last, as in use.",
        ),
        seen.notes,
        small=item.distinct < _MANY,
    )


def _suggestion(
    what: str, data: dict[str, Any], reasons: Sequence[str], notes: Sequence[str] = (), *, small: bool
) -> Suggestion:
    descent = {
        "loss": "recsys/bpr",
        "optimizer": {"name": "adam", "lr": 1e-2},
        "train": {"epochs": 40, "batch_size": 2048, "seed": 0, "evaluate_every": "4 epochs", "final": "best"},
        "stop": [{"name": "early", "patience": 3}],
    }
    return Suggestion(
        what,
        {
            "task": {"name": "recsys/top-n", "data": data},
            "model": {"name": "recsys/ease", "l2": 200.0}
            if small
            else {"name": "recsys/light-gcn", "dim": 32, "depth": 2},
            **({"train": {"batch_size": 4096}} if small else descent),
        },
        {
            "task": tuple(reasons),
            "model": (
                "A linear autoencoder in closed form (EASE): no training, and hard to beat on fewer than 20,000 items."
                if small
                else "With 20,000 items or more the closed form takes too much memory: a graph network, trained.",
            ),
        },
        tuple(notes),
        fit=0.9,
    )
