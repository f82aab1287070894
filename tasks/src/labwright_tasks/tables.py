"""Tables out of files as they are published, read alike whatever they are."""

from __future__ import annotations

import json
import re
import unicodedata
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from labwright import LabwrightError, LeftOut, listed, nearest

from labwright_tasks.cells import Cells, Coded, Column
from labwright_tasks.columnar import ARROW, PARQUET, read_columns, values_of
from labwright_tasks.delimited import Delimited, Written, form_of, is_header, unlike
from labwright_tasks.opening import Source, opened, sources_of

JSON_LINES = (".jsonl", ".ndjson")
_JSON = (".json", *JSON_LINES)
SUFFIXES = (".csv", ".tsv", *_JSON, *PARQUET, *ARROW)  # those of text with .gz, .zst, .bz2 or .xz behind them as well
_UNSEEN = " \t\r\n\f\v\u00a0\u200b\u200e\u200f\u2060\u3000\ufeff"  # at the ends of a name nobody means them
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0+")
_EXACT = 2**53  # from here on one floating-point number stands for several whole ones
_LOOKED_AT = 50  # lines that say how a table is written
_AT_ONCE = 512  # rows that are read together

_PLAIN = Written()


@dataclass(frozen=True)
class Table:
    """Columns by the settings that name them, and the line of `origin` that each row begins in (Parquet: row, from 1).

    Every cell is a text, "" where nothing is said: an empty cell, null, NaN, a key left out. Numbers are written as in
    JSON, whole ones without a point; a moment of Parquet is its seconds since 1970, with all its decimals. Of several
    files `origins` are the names, and `files` says which of them each row is of. `remarks` say what was guessed.
    """

    origin: str
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    unit: str = "line"
    origins: tuple[str, ...] = ()
    files: Sequence[int] = ()
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, setting: str) -> Sequence[str]:
        return self.columns[setting]

    def __contains__(self, setting: object) -> bool:
        return setting in self.columns

    def names(self, setting: str) -> Coded:
        """A column of labels or identifiers, as `name_of` spells them."""
        cells = Coded.of(self[setting])
        return cells.renamed([*map(name_of, cells.names)])

    def where(self, row: int) -> str:
        """The place of a row, counted from 0, for a message."""
        return f"{self.origins[self.files[row]] if self.files else self.origin}, {self.unit} {self.lines[row]}"

    def take(self, rows: Iterable[int]) -> Table:
        chosen = array("q", rows)
        columns = {
            setting: cells.chosen(chosen) if isinstance(cells, Column) else [cells[row] for row in chosen]
            for setting, cells in self.columns.items()
        }
        lines, files = (array("I", (of[row] for row in chosen)) if of else of for of in (self.lines, self.files))
        return replace(self, columns=columns, lines=lines, files=files)

    def with_column(self, setting: str, cell: str) -> Table:
        """The same rows with a column that says the same in each."""
        return replace(self, columns={**self.columns, setting: [cell] * len(self)})

    def filled(self, *settings: str | tuple[str, ...]) -> tuple[Table, list[LeftOut]]:
        """The rows that say something in each of these columns, and how many don't, with the place of the first.

        Of several columns in a tuple one is enough. Raises LabwrightError if no row is left.
        """
        kept = np.ones(len(self), dtype=bool)
        left = []
        for setting in settings:
            says = np.zeros(len(self), dtype=bool)
            for column in (setting,) if isinstance(setting, str) else setting:
                says |= np.fromiter((bool(cell.strip(_UNSEEN)) for cell in self.columns[column]), bool, len(self))
            bare = np.flatnonzero(kept & ~says)
            if len(bare):
                what = "row" if len(bare) == 1 else "rows"
                left.append(LeftOut(len(bare), what, f"no {_either(setting)}, as in {self.where(bare[0])}"))
                kept &= says
        if not kept.any():
            needed = " and ".join(f"a {_either(setting)}" for setting in settings)
            raise LabwrightError(f"{self.origin}: none of its {len(self):,} rows has {needed}.")
        return (self.take(np.flatnonzero(kept)) if left else self), left


def _either(setting: str | tuple[str, ...]) -> str:
    return setting if isinstance(setting, str) else " or ".join(setting)


def name_of(text: str) -> str:
    """A label or an identifier in the one spelling of it: 1.0 is "1", True is "true", é is one character.

    Leading zeros stay. Blanks and signs that nobody sees are taken off its ends.
    """
    name = unicodedata.normalize("NFC", text).strip(_UNSEEN)
    if name.lower() in ("true", "false"):
        return name.lower()
    whole = _WHOLE.fullmatch(name)
    return whole[1] if whole else name


def cells_of(values: Sequence[Any], column: str, where: Callable[[int], str], *, lists: bool = False) -> Cells:
    """Values as cells, see `cell_of`. Bytes are UTF-8, or all hexadecimal if any aren't, as a UUID's.

    Raises LabwrightError, with what `where` says of its row, for a list, an object and a number that can't be exact.
    """
    if any(type(value) is bytes for value in values):
        try:
            values = [value.decode("utf-8") if type(value) is bytes else value for value in values]
        except UnicodeDecodeError:
            values = [value.hex() if type(value) is bytes else value for value in values]
    cells = Cells()
    try:
        for value in values:
            cells.append(cell_of(value, lists=lists))
    except ValueError as fault:
        raise LabwrightError(f"{where(len(cells))}: column {column!r} has {fault}.") from None
    return cells


def suffix_of(path: Path) -> str:
    """The ending that says what a file holds, without .gz or another that says how it is packed, in lower case."""
    return Source(path).suffix


def read_table(
    path: Path | Sequence[Path],
    columns: Mapping[str, str],
    *,
    optional: Mapping[str, str] | None = None,
    every: bool = False,
    written: Written = _PLAIN,
    setting: str = "task.data.path",
    lists: Collection[str] = (),
) -> Table:
    """The columns of a file by the settings of `task.data` that name them; of the `optional` ones those there are.

    With `every` all columns are there, by their own names, and those of `columns` are looked for alone. A path may be a
    pattern, or lead into a zip archive, see `sources_of`; several files are read one after the other. What a name's
    ending doesn't tell is text with a sign between cells. Rows that lack something are kept; `Table.filled` leaves them
    out. In columns called as `lists` says, a list of texts or numbers is a cell, as JSON.

    Raises LabwrightError naming file and line: no such file or column, or two of a name; a row with more or fewer cells
    than the header; a quote that isn't closed, or that swallows rows; no JSON, CSV or Parquet; no rows.
    """
    paths = [path] if isinstance(path, Path) else path
    sources = [source for one in paths for source in sources_of(one, setting, SUFFIXES)]
    return joined(_read(Wanted(source, columns, optional or {}, every, lists), written) for source in sources)


def joined(tables: Iterable[Table]) -> Table:
    """The rows of several files as one table, read one by one. Raises LabwrightError if columns differ."""
    rest = iter(tables)
    first = next(rest)
    second = next(rest, None)
    if second is None:
        return first
    columns = {name: Cells() for name in first.columns}
    lines, files = array("I"), array("I")
    known: list[Table] = []  # without their columns, which aren't there twice for longer than they must
    for table in chain((first, second), rest):
        if table.columns.keys() != columns.keys():
            raise LabwrightError(
                f"{table.origin} has other columns than {first.origin}: {listed(table.columns)}, not {listed(columns)}."
            )
        for name, cells in columns.items():
            cells.extend(table[name])
        lines.extend(table.lines)
        files.extend(array("I", [len(known)]) * len(table))
        known.append(replace(table, columns={}, lines=(), files=()))
    origin = f"{first.origin} and {len(known) - 1:,} more"
    return Table(origin, columns, lines, first.unit, tuple(of.origin for of in known), files, tuple(told(known)))


def told(tables: Iterable[Table]) -> list[str]:
    """What was guessed of several tables: what is the same of many is said of the first, with their number."""
    origins: dict[str, list[str]] = {}
    for table in tables:
        for remark in table.remarks:
            origins.setdefault(remark.removeprefix(table.origin), []).append(table.origin)
    return [f"{of[0]}{f' (and {len(of) - 1:,} more)' if len(of) > 1 else ''}{said}" for said, of in origins.items()]


@dataclass(frozen=True)
class Wanted:
    """The columns of a file that settings of `task.data` name, and those that are taken if they are there."""

    source: Source
    columns: Mapping[str, str]
    optional: Mapping[str, str]
    every: bool = False
    lists: Collection[str] = ()

    def among(self, header: Sequence[str], hint: str = "") -> dict[str, int]:
        """Where each setting's column is. Raises LabwrightError for one that isn't there, or is there twice."""
        for setting, name in self.columns.items():
            if name not in header:
                raise LabwrightError(
                    f"{self.source}: there is no column {name!r}{nearest(name, header)} It has {listed(header)}; "
                    f"task.data.{setting} says which one holds the {setting}.{hint}"
                )
        wanted = {name: name for name in header} if self.every else {**self.columns, **self.optional}
        for name in wanted.values():
            if header.count(name) > 1:
                raise LabwrightError(
                    f"{self.source}: {header.count(name)} columns are called {name!r}; rename all but one."
                )
        return {setting: header.index(name) for setting, name in wanted.items() if name in header}


def _read(wanted: Wanted, written: Written) -> Table:
    source, remarks = wanted.source, list[str]()
    typed = source.suffix in (*PARQUET, *ARROW)
    if typed or source.suffix in _JSON:
        given = next((name for name in ("columns", "delimiter", "quote") if getattr(written, name)), None)
        if given:
            raise LabwrightError(f"task.data.{given}: {source} says itself what its columns are; leave it out.")
    lines: Sequence[int]
    unit = "row" if typed else "line"
    if typed:
        found, lines = _typed(wanted)
    elif source.suffix in _JSON:
        found, lines, unit = _json(wanted, written.encoding, remarks)
    elif source.suffix in (".xlsx", ".xls", ".ods"):
        raise LabwrightError(
            f"{source} is a spreadsheet: save it as .csv. A table is read from {listed(SUFFIXES)}, or text with "
            "another sign between its cells."
        )
    else:
        found, lines = _delimited(wanted, written, remarks)
    if not lines:
        raise LabwrightError(f"{source} has no rows.")
    return Table(str(source), found, lines, unit, remarks=tuple(remarks))


def _delimited(wanted: Wanted, written: Written, remarks: list[str]) -> tuple[dict[str, Cells], Sequence[int]]:
    source = wanted.source
    text = opened(source, written.encoding, remarks)
    form = form_of(source, list(islice(text, _LOOKED_AT)), written, wanted.columns.values())
    text.seek(0)
    rows = Delimited(source, text, form, written.columns)
    hint = unlike(rows.header, form, written, [*wanted.columns.values()])
    places = wanted.among(rows.header, hint) if rows.header else {}
    found, lines = {setting: Cells() for setting in places}, array("I")
    rest = iter(rows)
    while some := list(islice(rest, _AT_ONCE)):
        if not lines and written.columns and [*map(str.strip, some[0][1])][: len(rows.header)] == rows.header:
            remarks.append(f"{source} has a header, which task.data.columns repeats.")
            del some[0]
        lines.extend([line for line, _ in some])
        for setting, place in places.items():
            found[setting].extend([cells[place] for _, cells in some])
    rows.refuse_swallowed({place: found[setting] for setting, place in places.items()})
    if form.remark:
        remarks.append(form.remark)
    if written.columns and lines and is_header({name: cells[0] for name, cells in found.items()}, found):
        raise LabwrightError(
            f"{source}, line {lines[0]}: {listed(column[0] for column in found.values())} in the first row, where "
            "other rows have numbers: it seems to be a header. Leave task.data.columns out, or take that row away."
        )
    return found, lines


def _json(wanted: Wanted, encoding: str | None, remarks: list[str]) -> tuple[dict[str, Cells], Sequence[int], str]:
    """The columns, where each row is, and whether that is a line or a row of a list."""
    source = wanted.source
    text = opened(source, encoding, remarks)
    unit, rows = objects_in(source, text)
    names = dict.fromkeys([*wanted.columns.values(), *wanted.optional.values()])
    columns = {name: Cells() for name in names}
    header: dict[str, None] = {}
    lines = array("I")
    for number, row in rows:
        if row.keys() != header.keys():
            header |= dict.fromkeys(row)
            if wanted.every:
                for name in row.keys() - columns.keys():
                    columns[name] = Cells("" for _ in lines)
        for name, column in columns.items():
            try:
                column.append(cell_of(row.get(name), lists=name in wanted.lists))
            except ValueError as fault:
                raise LabwrightError(f"{source}, {unit} {number}: column {name!r} has {fault}.") from None
        lines.append(number)
    places = wanted.among(list(header)) if lines else {}
    return {setting: columns[list(header)[place]] for setting, place in places.items()}, lines, unit


def objects_in(source: Source, text: TextIO) -> tuple[str, Iterator[tuple[int, dict[str, Any]]]]:
    """What the rows of a file of JSON are numbered by, and the rows: one object in each line, or a list of them."""
    return ("row", _of_list(source, text)) if _is_list(text) else ("line", _of_lines(source, text))


def _is_list(text: TextIO) -> bool:
    """Whether a file is a list of objects, not one in each line."""
    start = text.read(_LOOKED_AT)
    text.seek(0)
    return re.match(r"\s*\[\s*\{", start) is not None


def _of_list(source: Source, text: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        yield from enumerate(json.load(text, object_pairs_hook=_object), 1)
    except (ValueError, RecursionError) as error:
        raise LabwrightError(f"{source}: no JSON ({error}), though it begins as a list of objects.") from error


def _of_lines(source: Source, text: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise LabwrightError(
                f"{source}, line {number}: no JSON ({error}); a .jsonl file has one object a line, such as "
                '{"text": "...", "label": "..."}.'
            ) from error
        if not isinstance(row, dict):
            raise LabwrightError(f"{source}, line {number}: {_kind(row)}; each line is an object of its own.")
        yield number, row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} is in it twice")
    return row


def _typed(wanted: Wanted) -> tuple[dict[str, Cells], Sequence[int]]:
    source = wanted.source
    header, table = read_columns(source, lambda names: sorted(set(wanted.among(names).values())))
    columns = {
        name: cells_of(values_of(table[name]), name, lambda row: f"{source}, row {row + 1}", lists=name in wanted.lists)
        for name in table.column_names
    }
    places = wanted.among(header)
    return {setting: columns[header[place]] for setting, place in places.items()}, range(1, table.num_rows + 1)


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", str: "a text", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def cell_of(value: Any, *, lists: bool = False) -> str:
    """A value as a cell, with `lists` also one of several, as JSON; an empty one says nothing.

    Raises ValueError, with what it is, for a list otherwise, an object and a number that can't be exact.
    """
    if lists and isinstance(value, list | tuple):
        return json.dumps([cell_of(each) for each in value], ensure_ascii=False) if value else ""
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
