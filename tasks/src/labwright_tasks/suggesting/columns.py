"""A look into a table: what its columns are called and what stands in them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from labwright_tasks.opening import opened
from labwright_tasks.parts import part_named
from labwright_tasks.tables import SUFFIXES, suffix_of

_LOOKED_AT = 5000  # rows
_SIGNS = ",;\t|"


@dataclass(frozen=True)
class Column:
    """A column by the rows that were looked at; empty cells aren't among its `cells`."""

    name: str
    cells: Sequence[str]

    @property
    def distinct(self) -> int:
        return len(set(self.cells))

    @property
    def words(self) -> float:
        """The mean number of words."""
        return sum(len(cell.split()) for cell in self.cells) / max(1, len(self.cells))

    @property
    def letters(self) -> float:
        """The mean number of characters."""
        return sum(map(len, self.cells)) / max(1, len(self.cells))

    @property
    def numeric(self) -> bool:
        return bool(self.cells) and all(map(_is_number, self.cells))

    def called(self, *words: str) -> bool:
        """Whether its name is one of these words, perhaps with `id` or `s` behind it, in any case."""
        return bool(re.fullmatch(rf"(?i)({'|'.join(words)})s?[ _-]?(id|ids|name)?", self.name.strip()))


@dataclass(frozen=True)
class Glimpse:
    """The columns of a table, how many rows it has, and the sign between its cells; "" where there is none."""

    columns: Sequence[Column]
    rows: int
    sign: str

    def called(self, *words: str) -> Column | None:
        return next((column for column in self.columns if column.called(*words)), None)


def glimpse(path: Path) -> Glimpse | None:
    """The first rows of a table, and how many there are; None for what is no table by its name.

    Of a folder it is the table of the part `train`. Raises LabwrightError for a file that can't be read as text.
    """
    if path.is_dir():
        parts = [file for file in sorted(path.iterdir()) if part_named(file.name.partition(".")[0]) == "train"]
        return next((seen for file in parts if file.is_file() and (seen := glimpse(file))), None)
    suffix = suffix_of(path)
    if suffix not in SUFFIXES or not path.is_file():
        return None
    if suffix in (".parquet", ".pq"):
        return _of_parquet(path)
    lines = opened(path)
    if suffix in (".csv", ".tsv"):
        first = next(lines, "")
        sign = max(_SIGNS, key=first.count)
        header = next(csv.reader([first], delimiter=sign), [])
        rows = csv.reader(lines, delimiter=sign)
        return _glimpsed(header, (dict(zip(header, row, strict=False)) for row in rows if row), sign)
    return _glimpsed([], (_object(line) for line in lines if line.strip()), "")


def _glimpsed(header: Sequence[str], rows: Iterator[dict[str, object]], sign: str) -> Glimpse:
    looked_at = list(islice(rows, _LOOKED_AT))
    names = list(header) or list(dict.fromkeys(name for row in looked_at for name in row))
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in looked_at]
    columns = [Column(name, [row[name] for row in texts if row.get(name, "").strip()]) for name in names]
    return Glimpse(columns, len(looked_at) + sum(1 for _ in rows), sign)


def _of_parquet(path: Path) -> Glimpse | None:
    try:
        from pyarrow import parquet
    except ImportError:
        return None
    with parquet.ParquetFile(path) as file:
        first = next(file.iter_batches(_LOOKED_AT), None)
        rows = [] if first is None else first.to_pylist()
        whole = file.metadata.num_rows
        names = file.schema_arrow.names
    seen = _glimpsed(names, iter(rows), "")
    return Glimpse(seen.columns, whole, "")


def _object(line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}  # whoever reads the data says where it is
    return row if isinstance(row, dict) else {}


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
