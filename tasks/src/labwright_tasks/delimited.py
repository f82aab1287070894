"""Rows of cells with a sign between them: CSV and TSV, where a stray quote is found before it swallows rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labwright import LabwrightError

_NAMED = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars", " ": "blanks"}


@dataclass(frozen=True)
class _Spread:
    """A row on several lines, each of which has as many cells as a row: its number among the rows, and the lines."""

    row: int
    line: int
    lines: list[str]


class Delimited:
    """The `header` of a file, and its rows: iterable once.

    A cell may stand in quotes, a quote within it written twice, and then hold line ends too. Between tabs a quote is a
    character like any other, unless the header's names stand in quotes. Blank lines are passed over.
    """

    def __init__(self, path: Path, lines: Iterable[str], sign: str) -> None:
        self.path, self.sign = path, sign
        self._lines = enumerate(lines, 1)
        self._spread: list[_Spread] = []
        number, first = next(self._lines, (1, ""))
        self._quoted = sign != "\t" or '"' in first
        names = self._cells(number, first)[0] if first.strip() else []
        self.header = [unicodedata.normalize("NFC", name).strip() for name in names]

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """The line that each row begins in, and its cells.

        Raises LabwrightError for a row with more or fewer cells than the header, and a quote that isn't closed.
        """
        width, row = len(self.header), 0
        for number, line in self._lines:
            if not line.strip(" \n"):
                continue
            cells, lines = self._cells(number, line)
            if len(cells) != width:
                advice = (
                    "needs quotes" if self._quoted else "has no place between tabs: give the table as .csv or .jsonl"
                )
                raise LabwrightError(
                    f"{self.path}, line {number}: {len(cells)} cells below a header of {width}, given "
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
            numbers = all(_number(cell) for cell in known)
            for spread in self._spread:
                swallowed = [line.rstrip("\n").split(self.sign)[place] for line in spread.lines[1:]]
                if "\n" not in cells[spread.row] and all(
                    cell in known or (numbers and _number(cell)) for cell in swallowed
                ):
                    raise LabwrightError(
                        f"{self.path}, line {spread.line}: a quote opens a cell that goes on to line "
                        f"{spread.line + len(spread.lines) - 1}, and each line of it looks like a row of its own. Put "
                        "that cell in quotes and write those within it twice; if it is one text indeed, give the table "
                        "as .jsonl."
                    )

    def _cells(self, number: int, line: str) -> tuple[list[str], list[str]]:
        """The cells of the row that begins with this line, and its lines."""
        if not self._quoted or '"' not in line:
            return line.rstrip("\n").split(self.sign), [line]
        cells, lines, at = [], [line], 0
        while True:
            if line.startswith('"', at):
                cell, line, at = self._in_quotes(number, line, at + 1, lines)
            else:
                end = line.find(self.sign, at)
                end = len(line.rstrip("\n")) if end < 0 else end
                cell, at = line[at:end], end
            cells.append(cell)
            if not line.startswith(self.sign, at):
                return cells, lines
            at += 1

    def _in_quotes(self, number: int, line: str, at: int, lines: list[str]) -> tuple[str, str, int]:
        """A cell from behind its first quote on: its text, the line it ends in and the place behind its last quote."""
        pieces: list[str] = []
        while True:
            end = line.find('"', at)
            if end < 0:
                pieces.append(line[at:])
                _, line = next(self._lines, (0, ""))
                if not line:
                    raise LabwrightError(
                        f"{self.path}, line {number}: a quote opens a cell and isn't closed up to the end of the file. "
                        "Put that cell in quotes and write those within it twice."
                    )
                lines.append(line)
                at = 0
                continue
            pieces.append(line[at:end])
            if line.startswith('"', end + 1):
                pieces.append('"')
                at = end + 2
                continue
            if line[end + 1 : end + 2] not in ("", "\n", self.sign):
                raise LabwrightError(
                    f"{self.path}, line {number + len(lines) - 1}: behind a quote that ends a cell stands "
                    f"{line[end + 1 : end + 13].rstrip()!r}"
                    + (f"; the cell began in line {number}" if len(lines) > 1 else "")
                    + ". Put a cell with quotes in quotes and write those within it twice."
                )
            return "".join(pieces), line, end + 1


def parted_otherwise(header: Sequence[str], sign: str, *, setting: bool) -> str:
    """What to do if a header was read as one column, because another sign stands between its names."""
    likely = next((other for other in ";\t|," if len(header) == 1 and other in header[0] and other != sign), None)
    if likely is None:
        return ""
    if setting:
        return f" Set task.data.delimiter to {likely!r}, which seems to part them."
    return f" {_NAMED[likely].capitalize()} seem to part them: a .csv file has commas there, a .tsv file tabs."


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
