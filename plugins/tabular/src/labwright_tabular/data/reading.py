"""A table with all its columns, and which part each row is of where that was published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labwright import LabwrightError, LeftOut
from labwright_tasks.delimited import Written
from labwright_tasks.published import Parts, read_parts
from labwright_tasks.tables import Table, joined, read_table

PART = "the part of a row"  # the name of a column that no table has, there where parts were published


def whole_table(path: Path, written: Written) -> Table:
    """All columns of a file under their own names. Raises LabwrightError for what `read_table` raises it for."""
    return _named(read_table(path, {}, every=True, written=written))


def published(path: Path, written: Written, parts: Parts | None) -> tuple[Table, Sequence[LeftOut], Sequence[str]]:
    """All rows of all parts, with a column `PART` if there are several; what was left out, and what to know of them."""
    read = read_parts(path, {}, every=True, written=written, parts=parts)
    tables = read.tables
    if len(tables) > 1:
        tables = {part: table.with_column(PART, part) for part, table in tables.items()}
    return _named(joined([*tables.values()])), read.left_out, read.remarks


def _named(table: Table) -> Table:
    if "" in table:
        number = list(table.columns).index("") + 1
        raise LabwrightError(f"{table.origin}: column {number} has no name; give it one, such as 'row'.")
    return table
