"""Parquet read a row group at a time: its footer says where each lies, so that nothing else is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from labwright_tasks.cells import Cells
from labwright_tasks.columnar import reading_parquet, values_of
from labwright_tasks.opening import Source
from labwright_tasks.tables import Wanted, cells_of


class RowGroups:
    """The row groups of a Parquet file, of the columns that settings of `task.data` name; `rows` in each of them.

    Raises LabwrightError naming the file that can't be read, or the column that it lacks.
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self.path = path
        with reading_parquet(path) as parquet:
            self._metadata = parquet.read_metadata(path)
        header = list(self._metadata.schema.to_arrow_schema().names)
        self._names = {
            setting: header[place] for setting, place in Wanted(Source(path), columns, {}).among(header).items()
        }
        self.rows: list[int] = [
            self._metadata.row_group(number).num_rows for number in range(self._metadata.num_row_groups)
        ]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.rows)))

    def cells(self, number: int, setting: str) -> Cells:
        """A column of a row group, as `Table` has it."""
        column = self._names[setting]
        with reading_parquet(self.path) as parquet:
            # one thread, as loader workers are forked; with the footer read before
            file = parquet.ParquetFile(self.path, metadata=self._metadata)
            with file:
                values = values_of(file.read_row_group(number, columns=[column], use_threads=False)[column])
        return cells_of(values, column, lambda row: self.where(number, row))

    def where(self, number: int, row: int) -> str:
        """The place of a row of a row group, counted from 0, for a message."""
        return f"{self.path}, row {sum(self.rows[:number]) + row + 1}"

    def identity(self, number: int) -> str:
        """What tells a row group from others, out of the footer: rows and bytes."""
        return f"{self.path.name} {number} {self.rows[number]} {self._metadata.row_group(number).total_byte_size}"
