"""Columns of times: numbers, or dates. N rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import accumulate, chain, islice

import numpy as np
from labwright import LabwrightError

from labwright_tasks.cells import Cells, Coded
from labwright_tasks.tables import Table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def times_in(tables: Sequence[Table], column: str) -> list[np.ndarray]:
    """The times in a column of some tables, (N,) int64 for each: their order counts, and which are equal.

    A time is a whole number or one with a point, at least 0, such as seconds since 1970; or a date such as 2024-05-31
    or 2024-05-31T17:00:00 (UTC unless it says): one of the two throughout. Raises LabwrightError naming the line of one
    that is none.
    """
    ends = [*accumulate(map(len, tables))]
    try:
        # whole numbers as they are, so that nanoseconds stay apart
        numbers = map(int, chain.from_iterable(table[column] for table in tables))
        times = np.fromiter(numbers, np.int64, ends[-1])
    except (ValueError, OverflowError):
        times = _places(tables, column)
    else:
        times = times if not len(times) or times.min() >= 0 else _places(tables, column)
    return np.split(times, ends[:-1])


def latest(times_N: np.ndarray, shares: Mapping[str, float], origin: str) -> dict[str, np.ndarray]:
    """The rows of each part, sorted, where the latest are held out: those of the first share are the last.

    Rows of one time stay together. What isn't held out is `train`. Raises LabwrightError where a part would be empty.
    """
    ordered = np.argsort(times_N, kind="stable")
    begins = np.flatnonzero(np.diff(times_N[ordered], prepend=times_N[ordered[:1]] - 1))  # of each time
    parts, end = {}, len(ordered)
    for name, share in shares.items():
        wanted = end - share * len(ordered)
        cut = int(begins[np.abs(begins - wanted).argmin()])
        parts[name], end = np.sort(ordered[cut:end]), cut
    parts["train"] = np.sort(ordered[:end])
    empty = next((name for name, rows in parts.items() if not len(rows)), None)
    if empty is not None:
        raise LabwrightError(
            f"{origin}: {len(begins):,} different times are too few to hold out {shares} by task.data.time, as nothing "
            f"is left for {empty!r}: change task.data.valid and task.data.test, or leave task.data.time out."
        )
    return parts


def _places(tables: Sequence[Table], column: str) -> np.ndarray:
    """The places of times in their order, equal ones alike. Raises LabwrightError for one that can't be read."""
    cells = Coded.of(Cells(chain.from_iterable(table[column] for table in tables)))
    read = _date if _since_1970(cells.names[0]) is None else _since_1970
    times = [read(name) for name in cells.names]
    if None in times:
        wrong = times.index(None)
        given, first = cells.names[wrong], cells.names[0]
        wanted = "it should be seconds since 1970 or another number of at least 0, or a date such as 2024-05-31"
        if wrong and (_date(given) or _since_1970(given)) is not None:
            wanted = f"the first one is {first!r}: all should be numbers, or all dates"
        places = chain.from_iterable(((table, row) for row in range(len(table))) for table in tables)
        table, row = next(islice(places, cells.index(given), None))
        raise LabwrightError(f"{table.where(row)}: the time is {given!r}; {wanted}.")
    places_of_names: np.ndarray = np.unique(np.array(times, dtype=object), return_inverse=True)[1]
    places_N: np.ndarray = places_of_names.astype(np.int64)[cells.codes_N]
    return places_N


def _since_1970(cell: str) -> Decimal | None:
    try:
        number = Decimal(cell)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None


def _date(cell: str) -> Decimal | None:
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        return None
    return Decimal(((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1))
