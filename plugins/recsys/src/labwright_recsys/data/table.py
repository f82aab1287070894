"""Interactions as they were found: columns of text and numbers, checked. N rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from labwright import LabwrightError, LeftOut, listed
from labwright_tasks import tables
from labwright_tasks.delimited import Delimited, Form, Written
from labwright_tasks.opening import Source, opened
from labwright_tasks.times import times_in

from labwright_recsys.data.splits import NAMES as PARTS

Values = Mapping[str, tuple[str, ...]]  # what is known of each user, or of each item, by its identifier
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Table:
    """Users, items, ratings and times of N interactions, and what is known beside them.

    Of times only the order counts, and which are equal. `parts` are those of a published split (uint8, see splits.py).
    """

    users: Sequence[str]
    items: Sequence[str]
    ratings: np.ndarray | None = None
    times: np.ndarray | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    user_sides: Mapping[str, Values] = field(default_factory=dict)
    item_sides: Mapping[str, Values] = field(default_factory=dict)
    left_out: Sequence[LeftOut] = ()
    parts: np.ndarray | None = None
    remarks: tuple[str, ...] = ()


def table_of(rows: tables.Table) -> Table:
    """The interactions of rows that have `user` and `item`, and maybe `rating`, `time`, `title` and `part`.

    Rows that lack one of them are left out. Raises LabwrightError naming the line of a rating that is no number, and as
    `times_in` does.
    """
    needed = [setting for setting in ("user", "item", "rating", "time") if setting in rows]
    filled, left_out = rows.filled(*needed)
    items = filled.names("item")
    titles = dict(zip(items, filled.names("title"), strict=True)) if "title" in filled else {}
    return Table(
        filled.names("user"),
        items,
        _ratings(filled) if "rating" in filled else None,
        times_in([filled], "time")[0] if "time" in filled else None,
        {item: title for item, title in titles.items() if title},
        left_out=left_out,
        parts=np.array([PARTS[part] for part in filled["part"]], dtype=np.uint8) if "part" in filled else None,
        remarks=rows.remarks,
    )


def headed(path: Path, columns: Mapping[str, str]) -> tables.Table:
    """A CSV file whose columns have known names. Raises LabwrightError for one that has others."""
    header = Delimited(Source(path), opened(path), Form(",", '"')).header
    for name in columns.values():
        if name not in header:
            raise LabwrightError(
                f"{path}: there is no column {name!r}. MovieLens' file has {listed(columns.values())}, this one "
                f"{listed(header)}; the data 'recsys/interactions' reads a table of yours."
            )
    return tables.read_table(path, columns)


def parted(path: Path, separator: str, settings: Sequence[str]) -> tables.Table:
    """A file without a header, UTF-8 or Latin-1: its first fields by what they hold, further ones passed over."""
    written = Written(separator, tuple(settings), "none", "latin-1")
    return tables.read_table(path, {setting: setting for setting in settings}, written=written)


def _ratings(rows: tables.Table) -> np.ndarray:
    cells = rows["rating"]
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        values = np.array([_number(cell) for cell in cells])
    wrong = np.flatnonzero(~(np.abs(values) <= _LARGEST))
    if len(wrong):
        given = cells[wrong[0]]
        raise LabwrightError(
            f"{rows.where(wrong[0])}: the rating is {given!r}; it should be a number, such as 4 or 3.5."
        )
    return values.astype(np.float32)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan
