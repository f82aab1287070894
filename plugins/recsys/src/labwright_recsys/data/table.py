"""Interactions as they were found: columns of text and numbers, read and checked. N rows."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import numpy as np
from labwright.errors import LabwrightError, nearest, sentence

Values = Mapping[str, tuple[str, ...]]  # what is known of each user, or of each item, by its identifier


@dataclass(frozen=True)
class Table:
    """Users, items, ratings and times (seconds since 1970) of N interactions, and what is known beside them."""

    users: Sequence[str]
    items: Sequence[str]
    ratings: np.ndarray | None = None
    times: np.ndarray | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    user_sides: Mapping[str, Values] = field(default_factory=dict)
    item_sides: Mapping[str, Values] = field(default_factory=dict)


def lines_of(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """The lines of a text file that aren't blank, numbered from 1; a name that ends in .gz is unpacked."""
    with opened(path, encoding) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def opened(path: Path, encoding: str = "utf-8") -> TextIO:
    """A text file, unpacked if its name ends in .gz."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def unreadable(path: Path, error: Exception) -> LabwrightError:
    instead = ", or convert it to UTF-8 text" if isinstance(error, UnicodeDecodeError) else ""
    return LabwrightError(f"{path} can't be read: {sentence(str(error))} Get the file anew{instead}.")


def split_lines(path: Path, separator: str, fields: int, encoding: str = "utf-8") -> Iterator[tuple[int, list[str]]]:
    """The first `fields` fields of every line, with its number. Raises LabwrightError for a line with fewer."""
    try:
        for number, line in lines_of(path, encoding):
            found = line.split(separator)
            if len(found) < fields:
                raise LabwrightError(
                    f"{path}:{number}: given {line[:60]!r}, which has {len(found)} of the {fields} fields that stand "
                    f"between {separator!r}."
                )
            yield number, found[:fields]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error


def rows_of(path: Path, columns: tuple[str, ...], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The columns of these names of a file with a header, row by row with its line's number.

    Raises LabwrightError for a column that isn't there, with the nearest there is, or is there twice, and for a row
    that has more or fewer cells than the header.
    """
    try:
        with opened(path) as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            header = [name.strip().removeprefix("\ufeff") for name in next(reader, [])]
            if not header:
                raise LabwrightError(f"{path} is empty: it needs a header, {delimiter.join(columns)}, and rows.")
            for name in columns:
                if name not in header:
                    raise LabwrightError(
                        f"{path} has no column {name!r}{nearest(name, header)} Its columns are {', '.join(header)}."
                        f"{_parted_otherwise(header)}"
                    )
                if header.count(name) > 1:
                    raise LabwrightError(
                        f"{path} has {header.count(name)} columns of the name {name!r}; rename all but one."
                    )
            places = [header.index(name) for name in columns]
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise LabwrightError(
                        f"{path}:{reader.line_num}: given {delimiter.join(row)[:60]!r}, which has {len(row)} columns; "
                        f"the header has {len(header)}. A cell with {delimiter!r} in it needs quotes."
                    )
                yield reader.line_num, [row[place] for place in places]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error


def _parted_otherwise(header: Sequence[str]) -> str:
    """What to do if the header was read as one column, because another sign stands between its names."""
    found = next((sign for sign in ";\t|," if len(header) == 1 and sign in header[0]), None)
    return "" if found is None else f" Set task.data.delimiter to {found!r}, which seems to part them."


def table_of(
    path: Path,
    rows: Iterable[tuple[int, Sequence[str]]],
    *,
    rated: bool,
    timed: bool,
) -> Table:
    """A table of rows: line number, then user, item, rating if `rated`, time if `timed`, as texts.

    A time is a number of seconds since 1970, or a date such as 2024-05-31 or 2024-05-31T17:00:00 (UTC unless it says).
    Raises LabwrightError naming the line of an empty name, a rating that is no number, or a time that is none.
    """
    numbers: list[int] = []
    columns: list[list[str]] = [[] for _ in range(2 + rated + timed)]
    for number, texts in rows:
        numbers.append(number)
        for column, text in zip(columns, texts, strict=True):
            column.append(text.strip())
    if not numbers:
        raise LabwrightError(f"{path} has no interactions: each line is one, with a user and an item.")

    def line(row: int) -> str:
        return f"{path}:{numbers[row]}"

    for what, column in zip(("user", "item"), columns, strict=False):
        if "" in column:
            raise LabwrightError(f"{line(column.index(''))}: the {what} is empty; every interaction needs both.")
    ratings = _numbers(columns[2], line, "rating", "a number, such as 4 or 3.5") if rated else None
    times = _times(columns[-1], line) if timed else None
    return Table(columns[0], columns[1], ratings, times)


def _numbers(texts: Sequence[str], line: Callable[[int], str], what: str, wanted: str) -> np.ndarray:
    try:
        values = np.array(texts, dtype=np.float64)
    except ValueError:
        values = np.array([_number(text) for text in texts])
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise LabwrightError(f"{line(wrong[0])}: the {what} is {texts[wrong[0]]!r}; it should be {wanted}.")
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _times(texts: Sequence[str], line: Callable[[int], str]) -> np.ndarray:
    wanted = "seconds since 1970, at least 0, or a date such as 2024-05-31"
    try:
        times = np.array(texts, dtype=np.float64)
    except ValueError:
        times = np.array([_moment(text) for text in texts])
    wrong = np.flatnonzero(~(np.isfinite(times) & (times >= 0)))
    if len(wrong):
        raise LabwrightError(f"{line(wrong[0])}: the time is {texts[wrong[0]]!r}; it should be {wanted}.")
    return times


def _moment(text: str) -> float:
    number = _number(text)
    if not np.isnan(number):
        return number
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return np.nan
