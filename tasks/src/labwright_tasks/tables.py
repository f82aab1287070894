"""Tables out of files, read alike whatever they are: JSON Lines, CSV, TSV, gzipped or not, and Parquet."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labwright import LabwrightError, LeftOut, listed, nearest, sentence

from labwright_tasks.delimited import Delimited, parted_otherwise
from labwright_tasks.opening import no_file, opened

_JSON, _PARQUET = (".json", ".jsonl", ".ndjson"), (".parquet", ".pq")
SUFFIXES = (".csv", ".tsv", *_JSON, *_PARQUET)  # those of text with .gz behind them as well
_UNSEEN = " \t\r\n\f\v\u00a0\u200b\u200e\u200f\u2060\u3000\ufeff"  # at the ends of a name nobody means them
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0+")
_EXACT = 2**53  # from here on one floating-point number stands for several whole ones

_Found = tuple[dict[str, list[str]], Sequence[int]]  # cells by setting, and the line or row of each


@dataclass(frozen=True)
class Table:
    """Columns by the settings that name them, and the line of `origin` that each row begins in (Parquet: row, from 1).

    Every cell is a text, "" where nothing is said: an empty cell, null, NaN, a key left out. Numbers are written as in
    JSON, whole ones without a point; a moment of Parquet is its seconds since 1970, with all its decimals.
    """

    origin: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    unit: str = "line"

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, setting: str) -> Sequence[str]:
        return self.columns[setting]

    def __contains__(self, setting: object) -> bool:
        return setting in self.columns

    def names(self, setting: str) -> list[str]:
        """A column of labels or identifiers, as `name_of` spells them."""
        spelled = {cell: name_of(cell) for cell in set(self.columns[setting])}
        return [spelled[cell] for cell in self.columns[setting]]

    def where(self, row: int) -> str:
        """The place of a row, counted from 0, for a message."""
        return f"{self.origin}, {self.unit} {self.lines[row]}"

    def take(self, rows: Iterable[int]) -> Table:
        chosen = list(rows)
        columns = {setting: [cells[row] for row in chosen] for setting, cells in self.columns.items()}
        return replace(self, columns=columns, lines=[self.lines[row] for row in chosen])

    def filled(self, *settings: str) -> tuple[Table, list[LeftOut]]:
        """The rows that say something in each of these columns, and how many don't, with the place of the first.

        Raises LabwrightError if no row is left.
        """
        kept: list[int] = list(range(len(self)))
        left = []
        for setting in settings:
            cells = self.columns[setting]
            bare = {row for row in kept if not cells[row].strip(_UNSEEN)}
            if bare:
                left.append(
                    LeftOut(
                        len(bare), "row" if len(bare) == 1 else "rows", f"no {setting}, as in {self.where(min(bare))}"
                    )
                )
                kept = [row for row in kept if row not in bare]
        if not kept:
            needed = " and ".join(f"a {setting}" for setting in settings)
            raise LabwrightError(f"{self.origin}: none of its {len(self):,} rows has {needed}.")
        return (self.take(kept) if left else self), left


def name_of(text: str) -> str:
    """A label or an identifier in the one spelling of it: 1.0 is "1", True is "true", é is one character.

    Leading zeros stay. Blanks and signs that nobody sees are taken off its ends.
    """
    name = unicodedata.normalize("NFC", text).strip(_UNSEEN)
    if name.lower() in ("true", "false"):
        return name.lower()
    whole = _WHOLE.fullmatch(name)
    return whole[1] if whole else name


def cells_of(values: Sequence[Any], column: str, where: Callable[[int], str]) -> list[str]:
    """Values as cells. Bytes are UTF-8, or all hexadecimal if any aren't, as a UUID's.

    Raises LabwrightError, with what `where` says of its row, for a list, an object and a number that can't be exact.
    """
    if any(type(value) is bytes for value in values):
        try:
            values = [value.decode("utf-8") if type(value) is bytes else value for value in values]
        except UnicodeDecodeError:
            values = [value.hex() if type(value) is bytes else value for value in values]
    cells: list[str] = []
    try:
        cells.extend(str(value) if type(value) is int else _cell(value) for value in values)
    except ValueError as fault:
        raise LabwrightError(f"{where(len(cells))}: column {column!r} has {fault}.") from None
    return cells


def suffix_of(path: Path) -> str:
    """The ending that says what a file holds, without .gz, in lower case."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def read_table(
    path: Path,
    columns: Mapping[str, str],
    *,
    optional: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Table:
    """The columns of a file by the settings of `task.data` that name them; of the `optional` ones those there are.

    `delimiter` is what the setting of that name says of anything but JSON and Parquet; None: there is no such setting,
    and the file's ending says it. For `encoding` see `opened`, for quotes `Delimited`. Rows that lack something are
    kept; `Table.filled` leaves them out.

    Raises LabwrightError naming file and line: no such file or column, or two of a name; a row with more or fewer cells
    than the header; a quote that isn't closed, or that swallows rows; no JSON, CSV or Parquet; no rows.
    """
    suffix, wanted = suffix_of(path), Wanted(path, columns, optional or {})
    if suffix in _PARQUET:
        found, lines = _parquet(wanted)
    elif suffix in _JSON:
        found, lines = _json_lines(wanted, encoding)
    elif delimiter is None and suffix not in SUFFIXES:
        raise LabwrightError(f"{path}: a table is read from {listed(SUFFIXES)}; text also with .gz behind it.")
    else:
        sign = delimiter or ("\t" if suffix == ".tsv" else ",")
        rows = Delimited(path, opened(path, encoding), sign)
        hint = parted_otherwise(rows.header, sign, setting=delimiter is not None)
        places = wanted.among(rows.header, hint) if rows.header else {}
        found, lines = {setting: [] for setting in places}, []
        filling = [(found[setting], place) for setting, place in places.items()]
        for line, cells in rows:
            lines.append(line)
            for column, place in filling:
                column.append(cells[place])
        rows.refuse_swallowed({place: column for column, place in filling})
    if not lines:
        raise LabwrightError(f"{path} has no rows.")
    return Table(str(path), found, lines, "row" if suffix in _PARQUET else "line")


@dataclass(frozen=True)
class Wanted:
    """The columns of a file that settings of `task.data` name, and those that are taken if they are there."""

    path: Path
    columns: Mapping[str, str]
    optional: Mapping[str, str]

    def among(self, header: Sequence[str], hint: str = "") -> dict[str, int]:
        """Where each setting's column is. Raises LabwrightError for one that isn't there, or is there twice."""
        for setting, name in self.columns.items():
            if name not in header:
                raise LabwrightError(
                    f"{self.path}: there is no column {name!r}{nearest(name, header)} It has {listed(header)}; "
                    f"task.data.{setting} says which one holds the {setting}.{hint}"
                )
        wanted = {**self.columns, **self.optional}
        for name in wanted.values():
            if header.count(name) > 1:
                raise LabwrightError(
                    f"{self.path}: {header.count(name)} columns are called {name!r}; rename all but one."
                )
        return {setting: header.index(name) for setting, name in wanted.items() if name in header}


def _json_lines(wanted: Wanted, encoding: str | None) -> _Found:
    values: dict[str, list[Any]] = {name: [] for name in [*wanted.columns.values(), *wanted.optional.values()]}
    header: dict[str, None] = {}
    lines: list[int] = []
    for number, line in enumerate(opened(wanted.path, encoding), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise LabwrightError(
                f"{wanted.path}, line {number}: no JSON ({error}); a .jsonl file has one object a line, such as "
                '{"text": "...", "label": "..."}.'
            ) from error
        if not isinstance(row, dict):
            raise LabwrightError(f"{wanted.path}, line {number}: {_kind(row)}; each line is an object of its own.")
        if row.keys() != header.keys():
            header |= dict.fromkeys(row)
        for name, column in values.items():
            column.append(row.get(name))
        lines.append(number)
    names = list(header)
    places = wanted.among(names) if lines else {}
    return {
        setting: cells_of(values[names[place]], names[place], lambda row: f"{wanted.path}, line {lines[row]}")
        for setting, place in places.items()
    }, lines


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} is in it twice")
    return row


def _parquet(wanted: Wanted) -> _Found:
    path = wanted.path
    with reading_parquet(path) as parquet:
        header = list(parquet.read_schema(path).names)
        places = wanted.among(header)
        table = parquet.read_table(path, columns=list(dict.fromkeys(header[place] for place in places.values())))
        columns = {name: values_of(table[name]) for name in table.column_names}
    return {
        setting: cells_of(columns[header[place]], header[place], lambda row: f"{path}, row {row + 1}")
        for setting, place in places.items()
    }, range(1, table.num_rows + 1)


@contextmanager
def reading_parquet(path: Path) -> Iterator[Any]:
    """pyarrow.parquet, to read a file with. Raises LabwrightError if there is neither, or the file can't be read."""
    if find_spec("pyarrow") is None:
        raise LabwrightError(f"{path}: Parquet needs pyarrow; `pip install pyarrow` brings it.")
    import pyarrow
    from pyarrow import parquet

    if not path.is_file():
        raise no_file(path)
    try:
        yield parquet
    except (OSError, pyarrow.ArrowException) as error:
        raise LabwrightError(f"{path} can't be read as Parquet: {sentence(str(error).splitlines()[0])}") from error


def values_of(column: Any) -> list[Any]:
    """The values of a column of Parquet, moments as seconds since 1970."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not types.is_timestamp(column.type):
        return list(column.to_pylist())
    decimals = {"s": 0, "ms": 3, "us": 6, "ns": 9}[column.type.unit]
    return [None if count is None else _moment(count, decimals) for count in column.cast("int64").to_pylist()]


def _moment(count: int, decimals: int) -> str:
    """Seconds out of a count of their 10**-decimals."""
    sign, whole = ("-" if count < 0 else ""), str(abs(count)).rjust(decimals + 1, "0")
    point = len(whole) - decimals
    return f"{sign}{whole[:point]}.{whole[point:]}".rstrip("0").rstrip(".") if decimals else f"{sign}{whole}"


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", str: "a text", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _cell(value: Any) -> str:
    if isinstance(value, str):  # half a surrogate pair is no letter
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) >= _EXACT:
        raise ValueError(
            f"{value!r}, and numbers with a point can't tell whole ones apart from {_EXACT:,} on; write whole numbers"
        )
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list | dict | tuple):
        raise ValueError(f"{_kind(value)}; a cell is a text or a number")
    return str(value)
