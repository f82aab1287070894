"""Rows of cells with a sign between them: CSV, TSV and others, where a stray quote is found before it swallows rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Annotated, Literal

from labwright import LabwrightError
from pydantic import Field

from labwright_tasks.opening import Source

Delimiter = Annotated[
    str,
    Field(
        min_length=1,
        max_length=8,
        description="what stands between cells; left out, what parts them in the first rows.",
    ),
]
Columns = Annotated[
    tuple[str, ...],
    Field(description="names of the columns of a table without a header, from the first on; empty, it has one."),
]
Quote = Annotated[
    Literal["double", "single", "none"],
    Field(
        description="what a cell may stand in to hold any sign and line ends; left out, it is seen from the first "
        "rows: between tabs mostly none, else double."
    ),
]
Encoding = Annotated[
    str,
    Field(
        description="of text that is no UTF-8 and has no byte order mark, such as cp1252; left out, it is guessed "
        "where that is plain, and told."
    ),
]

_QUOTES: Mapping[str, str] = {"double": '"', "single": "'", "none": ""}
_NAMED = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", "::": "double colons"}
_USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_MISSING = ("", "?", "na", "n/a", "nan", "null", "none", "\\n")


@dataclass(frozen=True)
class Written:
    """How tables of text are written, as far as they don't say it themselves: settings of data that reads some.

    `delimiter` stands between cells; None: what parts them in the first rows. `columns` names the columns of a table
    without a header, from the first on. `quote` is what a cell may stand in; None: as the first rows have it. For
    `encoding` see `opened`.
    """

    delimiter: Delimiter | None = None
    columns: Columns = ()
    quote: Quote | None = None
    encoding: Encoding | None = None


@dataclass(frozen=True)
class Form:
    """How one table is written: the sign between cells, the quote around them or "", and what was guessed of it."""

    sign: str
    quote: str
    remark: str = ""


def usual_sign(suffix: str) -> str | None:
    """What stands between the cells of a table with this ending, as a rule."""
    return _USUAL.get(suffix)


def form_of(source: Source, first: Sequence[str], written: Written, wanted: Collection[str]) -> Form:
    """How a table is written, by its first lines and the columns that are `wanted` of it."""
    lines = [line.rstrip("\n") for line in first if line.strip()] or [""]
    usual = usual_sign(source.suffix)
    sign = written.delimiter or _sign(lines, usual, written, wanted)
    quote, by_default = _quote(lines, sign, headed=not written.columns), "" if sign in ("\t", "::") else '"'
    if written.quote is not None:
        quote = by_default = _QUOTES[written.quote]
    guessed = {}
    if not written.delimiter and sign != usual:
        guessed["delimiter"] = f"{_NAMED[sign]} between cells"
    if quote != by_default:
        guessed["quote"] = f"cells in {'single' if quote == _QUOTES['single'] else 'double'} quotes"
    if not guessed:
        return Form(sign, quote)
    settings, verb = " and ".join(f"task.data.{name}" for name in guessed), "say" if len(guessed) > 1 else "says"
    return Form(sign, quote, f"{source} is read with {', '.join(guessed.values())}; {settings} {verb} otherwise.")


def _sign(lines: Sequence[str], usual: str | None, written: Written, wanted: Collection[str]) -> str:
    """What stands between cells: in a header what parts the names that are wanted, else what rows have alike."""
    signs = list(dict.fromkeys([*([usual] if usual else []), "::", "\t", ";", "|", ","]))
    if wanted and not written.columns:
        for sign in signs:
            if {name.strip().strip("\"'") for name in lines[0].split(sign)} >= set(wanted):
                return sign
    plain = lines if written.quote == "none" else [line for line in lines if '"' not in line] or lines[:1]
    for sign in signs:
        counts = {line.count(sign) for line in plain}
        if len(counts) == 1 and max(counts) >= max(1, len(written.columns) - 1):
            return sign
    return usual or ","


def _quote(lines: Sequence[str], sign: str, *, headed: bool) -> str:
    rows = [line.split(sign) for line in (lines[:1] if headed else lines)]
    wrapped = {
        quote: all(any(_in_quotes(cell, quote) for cell in row) for row in rows)
        and not any(cell.strip().startswith(quote) and not _in_quotes(cell, quote) for row in rows for cell in row)
        for quote in ('"', "'")
    }
    if wrapped["'"] and all(_in_quotes(cell, "'") or is_number(cell) for row in rows for cell in row):
        return "'"
    if sign not in ("\t", "::"):
        return '"'
    return '"' if wrapped['"'] or (headed and '"' in lines[0]) else ""


def _in_quotes(cell: str, quote: str) -> bool:
    cell = cell.strip()
    return len(cell) > 1 and cell.startswith(quote) and cell.endswith(quote)


@dataclass(frozen=True)
class _Spread:
    """A row on several lines, each of which has as many cells as a row: its number among the rows, and the lines."""

    row: int
    line: int
    lines: list[str]


class Delimited:
    """The `header` of a file, and its rows: iterable once.

    A cell may stand in quotes, a quote within it written twice, and then hold line ends too. Without a quote in the
    `form`, as between tabs, it is a character like any other. Blank lines are passed over. `columns` is the header of a
    file that has none; if the first row has more cells than it names, further cells are passed over in all of them.

    Raises LabwrightError if `columns` names more cells than there are.
    """

    def __init__(self, source: Source, lines: Iterable[str], form: Form, columns: Sequence[str] = ()) -> None:
        self.source, self.sign, self.quote = source, form.sign, form.quote
        self._lines: Iterator[tuple[int, str]] = enumerate(lines, 1)
        self._spread: list[_Spread] = []
        number, first = next(((number, line) for number, line in self._lines if line.strip(" \n")), (1, ""))
        if columns:
            behind = self._lines
            self._lines = chain([(number, first)], behind)
            cells, spread = self._cells(*next(self._lines))
            self._lines = chain([(number + place, line) for place, line in enumerate(spread)], behind)
            self.width = len(cells)
            if first and self.width < len(columns):
                raise LabwrightError(
                    f"{source}, line {number}: given {first.rstrip()[:60]!r}, {self.width} cells for {len(columns)} "
                    f"columns, {', '.join(columns)}. Is {self.sign!r} what stands between them?"
                )
            self.header, self._longer = list(columns), self.width > len(columns)
        else:
            names = self._cells(number, first)[0] if first.strip() else []
            self.header = [unicodedata.normalize("NFC", name).strip() for name in names]
            self.width, self._longer = len(self.header), False
        self._above = "below a first row of" if columns else "below a header of"

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """The line that each row begins in, and its cells.

        Raises LabwrightError for a row with more or fewer cells than the first, and a quote that isn't closed.
        """
        width, row = self.width, 0
        for number, line in self._lines:
            if not line.strip(" \n"):
                continue
            cells, lines = self._cells(number, line)
            if len(cells) != width and not (self._longer and len(cells) >= len(self.header)):
                advice = (
                    "needs quotes"
                    if self.quote
                    else f"has no place between {_NAMED.get(self.sign, 'signs')}: give the table as .csv or .jsonl"
                )
                raise LabwrightError(
                    f"{self.source}, line {number}: {len(cells)} cells {self._above} {width}, given "
                    f"{line.strip()[:60]!r}. A cell with {self.sign!r} or a line end in it {advice}."
                )
            if len(lines) > 1 and all(piece.count(self.sign) == width - 1 for piece in lines):
                self._spread.append(_Spread(row, number, lines))
            yield number, cells
            row += 1

    def refuse_swallowed(self, columns: Mapping[int, Sequence[str]]) -> None:
        """Raise LabwrightError if a quoted cell on several lines seems to be rows, by the columns' cells by place.

        Its lines all have as many cells as a row, and in another column each has what that column has elsewhere,
        or a number where it has nothing but numbers.
        """
        for place, cells in columns.items() if self._spread else ():
            known = {cell for cell in cells if "\n" not in cell}
            numbers = all(is_number(cell) for cell in known)
            for spread in self._spread:
                swallowed = [line.rstrip("\n").split(self.sign)[place] for line in spread.lines[1:]]
                if "\n" not in cells[spread.row] and all(
                    cell in known or (numbers and is_number(cell)) for cell in swallowed
                ):
                    raise LabwrightError(
                        f"{self.source}, line {spread.line}: a quote opens a cell that goes on to line "
                        f"{spread.line + len(spread.lines) - 1}, and each line of it looks like a row of its own. Put "
                        "that cell in quotes and write those within it twice; if it is one text indeed, give the table "
                        "as .jsonl."
                    )

    def _cells(self, number: int, line: str) -> tuple[list[str], list[str]]:
        """The cells of the row that begins with this line, and its lines."""
        quote = self.quote
        if not quote or quote not in line:
            return line.rstrip("\n").split(self.sign), [line]
        cells, lines, at = [], [line], 0
        while True:
            if line.startswith(quote, at):
                cell, line, at = self._in_quotes(number, line, at + 1, lines)
            else:
                end = line.find(self.sign, at)
                end = len(line.rstrip("\n")) if end < 0 else end
                cell, at = line[at:end], end
            cells.append(cell)
            if not line.startswith(self.sign, at):
                return cells, lines
            at += len(self.sign)

    def _in_quotes(self, number: int, line: str, at: int, lines: list[str]) -> tuple[str, str, int]:
        """A cell from behind its first quote on: its text, the line it ends in and the place behind its last quote."""
        quote, pieces = self.quote, list[str]()
        advice = "Put that cell in quotes and write those within it twice; where quotes are characters, set "
        advice += "task.data.quote=none."
        while True:
            end = line.find(quote, at)
            if end < 0:
                pieces.append(line[at:])
                _, line = next(self._lines, (0, ""))
                if not line:
                    raise LabwrightError(
                        f"{self.source}, line {number}: a quote opens a cell and isn't closed up to the end of the "
                        f"file. {advice}"
                    )
                lines.append(line)
                at = 0
                continue
            pieces.append(line[at:end])
            if line.startswith(quote, end + 1):
                pieces.append(quote)
                at = end + 2
                continue
            behind = line[end + 1 :]
            if behind.rstrip("\n") and not behind.startswith(self.sign):
                began = f"; the cell began in line {number}" if len(lines) > 1 else ""
                raise LabwrightError(
                    f"{self.source}, line {number + len(lines) - 1}: behind a quote that ends a cell stands "
                    f"{behind[:12].rstrip()!r}{began}. {advice}"
                )
            return "".join(pieces), line, end + 1


def unlike(header: Sequence[str], form: Form, written: Written, wanted: Sequence[str]) -> str:
    """What to do if a wanted column isn't in the header: it may be data, or another sign may part it."""
    likely = next((other for other in _NAMED if len(header) == 1 and other in header[0] and other != form.sign), None)
    if likely is not None:
        return f" Set task.data.delimiter to {likely!r}, which seems to part them."
    if written.columns:
        return ""
    data = any(is_number(name) for name in header)
    example = ", ".join(f'"{name}"' for name in wanted)
    return (
        f" {'The first row looks like data' if data else 'If the first row is data'}: name its columns in their order, "
        f"such as task.data.columns='[{example}]'."
    )


def is_header(first: Mapping[str, str], columns: Mapping[str, Iterable[str]]) -> bool:
    """Whether the first cell of each column is a name: no number anywhere, where a column has nothing but numbers."""
    if any(cell.strip().casefold() in _MISSING or is_number(cell) for cell in first.values()):
        return False
    for column in columns.values():
        rest = (cell for cell in column if cell.strip().casefold() not in _MISSING)
        second = next(islice(rest, 1, None), None)
        if second is not None and is_number(second) and all(map(is_number, rest)):
            return True
    return False


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
