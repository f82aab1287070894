"""A table with all its columns, read as every table is."""

from __future__ import annotations

from pathlib import Path

from labwright import LabwrightError
from labwright_tasks.delimited import Written
from labwright_tasks.tables import Table, read_table


def whole_table(path: Path, delimiter: str | None, encoding: str | None) -> Table:
    """All columns of a file under their own names. Raises LabwrightError for what `read_table` raises it for."""
    table = read_table(path, {}, every=True, written=Written(delimiter=delimiter, encoding=encoding))
    names = list(table.columns)
    if "" in names:
        raise LabwrightError(f"{path}: column {names.index('') + 1} has no name; give it one, such as 'row'.")
    return table
