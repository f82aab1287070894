"""A look into a table: what its columns are called and what stands in them, as what reads tables sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from labwright import LabwrightError, listed

from labwright_tasks.columnar import ARROW, PARQUET, read_columns, reading_parquet
from labwright_tasks.delimited import Delimited, Written, form_of, is_number, usual_sign
from labwright_tasks.opening import Source, opened
from labwright_tasks.parts import NAMES, part_named
from labwright_tasks.published import files_of_parts
from labwright_tasks.tables import JSON_LINES, SUFFIXES, cell_of, objects_in

_LOOKED_AT = 5000  # rows
_LINES = 50  # that say how a table is written
_MAYBE = (".data", ".dat", ".tab")  # a file called so is a table if something parts its cells
_ABOUT = re.compile(r"(?i)dictionary|readme|codebook|metadata|description|schema")  # what tells of a table beside it
_NAMED = 4  # files


@dataclass(frozen=True)
class Column:
    """A column by the rows that were looked at; empty cells aren't among its `cells`. `nested`: it holds lists."""

    name: str
    cells: Sequence[str]
    nested: bool = False

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
        return bool(self.cells) and all(map(is_number, self.cells))

    def called(self, *words: str) -> bool:
        """Whether its name is one of these words, perhaps with `id` or `s` behind it, in any case."""
        return bool(re.fullmatch(rf"(?i)({'|'.join(words)})s?[ _-]?(id|ids|name)?", self.name.strip()))


@dataclass(frozen=True)
class Glimpse:
    """The columns of the table at `path`, how many rows there are to learn from, and settings of how it is written.

    `path` is a file, or a folder of the files of several parts. `written` is what isn't plain from the file: the sign
    between its cells, the encoding, names of columns, and which column says the part, which isn't among the `columns`.
    `notes` are sentences on what else lies in a folder.
    """

    path: Path
    columns: Sequence[Column]
    rows: int
    written: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def nested(self) -> list[Column]:
        return [column for column in self.columns if column.nested]

    def called(self, *words: str) -> Column | None:
        return next((column for column in self.columns if column.called(*words)), None)


def glimpse(path: Path) -> Glimpse | None:
    """The first rows of a table, or of that to learn from in a folder; None for what is no table by its name.

    Raises LabwrightError for a file that can't be read, and a folder of several tables none of which is for training.
    """
    if path.is_dir():
        return _in_folder(path)
    if Source(path).suffix not in (*SUFFIXES, *_MAYBE) or not path.is_file():
        return None
    columns, rows, written = _looked_into(Source(path))
    maybe = Source(path).suffix in _MAYBE
    return None if maybe and len(columns) < 2 else _seen(path, columns, rows, written)


def _in_folder(folder: Path) -> Glimpse | None:
    inside = [Source(file) for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]
    tables = [source for source in inside if source.suffix in SUFFIXES and not _ABOUT.search(source.name)]
    plain = [source for source in tables if source.suffix != ".json"]  # one of settings, rather than rows
    tables = plain or tables
    if not tables:
        return None
    if any(part_named(re.split(r"[-_.\d]", source.name)[0]) == "train" for source in tables):
        parts, left_out = files_of_parts(folder, "the folder")
        looks = {part: [_looked_into(Source(file)) for file in files] for part, files in parts.items()}
        columns, _, written = looks["train"][0]
        counts = {part: sum(rows for _, rows, _ in looks[part]) for part in NAMES if part in looks}
        told = ", ".join(f"{part} {count:,}" for part, count in counts.items())
        notes = [f"The parts are files of their own: {told} rows."]
        notes += [f"{left.count:,} {left.what} left out: {left.why}." for left in left_out]
        return Glimpse(folder, columns, counts["train"], written, tuple(notes))
    if len(tables) > 1:
        names = listed(source.path.name for source in tables[:_NAMED])
        more = f" and {len(tables) - _NAMED:,} more" if len(tables) > _NAMED else ""
        raise LabwrightError(
            f"{folder} has several tables, {names}{more}, and none is called `train`. Name one of them, such as "
            f"`labwright suggest {tables[0].path}`."
        )
    others = [source.path.name for source in inside if source not in tables]
    columns, rows, written = _looked_into(tables[0])
    notes = [f"Not read: {listed(others)}."] if others else []
    return _seen(tables[0].path, columns, rows, written, notes)


def _seen(
    path: Path, columns: Sequence[Column], rows: int, written: Mapping[str, Any], notes: Sequence[str] = ()
) -> Glimpse:
    """One file, of which a column may say the part of each row."""
    of_part = next((column for column in columns if column.cells and all(map(part_named, column.cells))), None)
    if of_part is None:
        return Glimpse(path, columns, rows, written, tuple(notes))
    others = [column for column in columns if column is not of_part]
    notes = [*notes, f"{of_part.name!r} says which part each row is of."]
    return Glimpse(path, others, rows, {**written, "parts": {"column": of_part.name}}, tuple(notes))


def _looked_into(source: Source) -> tuple[list[Column], int, dict[str, Any]]:
    """The columns of a table, how many rows it has, and how it is written."""
    if source.suffix in (*PARQUET, *ARROW):
        return _typed(source)
    remarks: list[str] = []
    text = opened(source, None, remarks)
    written = {"encoding": text.encoding} if remarks else {}
    if source.suffix in (".json", *JSON_LINES):
        objects = (row for _, row in objects_in(source, text)[1])
        looked_at = [*islice(objects, _LOOKED_AT)]
        names = dict.fromkeys(name for row in looked_at for name in row)
        columns = [_column(name, (row.get(name) for row in looked_at)) for name in names]
        return columns, len(looked_at) + sum(1 for _ in objects), written
    return _delimited(source, text, written)


def _delimited(source: Source, text: TextIO, written: dict[str, Any]) -> tuple[list[Column], int, dict[str, Any]]:
    form = form_of(source, [*islice(text, _LINES)], Written(), ())
    text.seek(0)
    table = Delimited(source, text, form)
    if any(map(is_number, table.header)):  # which is a row, as no name is a number
        names = [f"column {number}" for number in range(1, table.width + 1)]
        text.seek(0)
        table = Delimited(source, text, form, names)
        written |= {"columns": names}
    if form.sign != usual_sign(source.suffix):
        written |= {"delimiter": form.sign}
    rows = iter(table)
    looked_at = [cells for _, cells in islice(rows, _LOOKED_AT)]
    columns = [_column(name, (cells[place] for cells in looked_at)) for place, name in enumerate(table.header)]
    return columns, len(looked_at) + sum(1 for _ in rows), written


def _typed(source: Source) -> tuple[list[Column], int, dict[str, Any]]:
    if source.suffix in PARQUET:
        with reading_parquet(source.path) as parquet, parquet.ParquetFile(source.path) as file:
            first, rows = next(file.iter_batches(_LOOKED_AT), None), file.metadata.num_rows
            values = {} if first is None else first.to_pydict()
    else:
        _, table = read_columns(source, lambda header: range(len(header)))
        values, rows = table.slice(0, _LOOKED_AT).to_pydict(), table.num_rows
    return [_column(name, of_column) for name, of_column in values.items()], rows, {}


def _column(name: str, values: Iterable[Any]) -> Column:
    given = [value for value in values if value is not None]
    nested = any(isinstance(value, list | dict) for value in given)
    cells = [
        json.dumps(value, ensure_ascii=False)
        if isinstance(value, list | dict) and value
        else cell_of(value, lists=True)
        for value in given
    ]
    return Column(name, [cell for cell in cells if cell.strip()], nested)
