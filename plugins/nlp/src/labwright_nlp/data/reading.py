"""Rows of text and label out of files: JSON Lines or CSV, gzipped or not, with the place of each for messages."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labwright.errors import LabwrightError, listed, nearest

from labwright_nlp.tokenizing import clean

TABLES = (".jsonl", ".csv", ".tsv")  # each with .gz as well
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Rows:
    """Texts and their labels; `places` are the lines they stand in, in what `origin` names."""

    texts: list[str]
    labels: list[str]
    origin: str
    places: list[int]

    def take(self, chosen: list[int]) -> Rows:
        return Rows(
            [self.texts[index] for index in chosen],
            [self.labels[index] for index in chosen],
            self.origin,
            [self.places[index] for index in chosen],
        )


def suffix_of(path: Path) -> str:
    """The ending that says what a file holds, without .gz, in lower case."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def read_text(path: Path, encoding: str | None = None) -> str:
    """The whole of a text file, gzipped or not, line ends as \\n. Raises LabwrightError naming file and line.

    Without an encoding it is UTF-8, and there is no setting to change that.
    """
    if path.is_dir():
        raise LabwrightError(f"{path} is a folder; a running text is one file.")
    try:
        content = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            content = gzip.decompress(content)
    except FileNotFoundError as error:
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise LabwrightError(f"there is no file {str(path)!r}{nearest(path.name, beside)}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise LabwrightError(f"{path} can't be read: {error}") from error
    try:
        codec = codecs.lookup(encoding or "utf-8").name  # raises for what Python does not know
        text = content.decode("utf-8-sig" if codec == "utf-8" else codec)
    except LookupError as error:
        raise LabwrightError(
            f"task.data.encoding: Python knows no encoding of text {encoding!r}; usual ones are utf-8, latin-1, cp1252."
        ) from error
    except UnicodeDecodeError as error:
        raise _of_another_encoding(path, encoding, error) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_rows(path: Path, *, text: str, label: str, encoding: str) -> Rows:
    """The rows of a table. Raises LabwrightError naming the line that can't be used: no text, no label, no table."""
    rows = Rows([], [], str(path), [])
    suffix = suffix_of(path)
    if suffix not in TABLES:
        raise LabwrightError(f"{path}: texts with labels are read from {listed(TABLES)}, each with .gz as well.")
    content = read_text(path, encoding)
    if suffix == ".jsonl":
        found = _json_lines(path, content)
    else:
        found = _table(path, content, "\t" if suffix == ".tsv" else ",", (text, label))
    for line, row in found:
        where = f"{path}, line {line}"
        for setting, column in (("text", text), ("label", label)):
            if column not in row:
                between = " A .csv file has commas between its columns, a .tsv file tabs." if len(row) == 1 else ""
                raise LabwrightError(
                    f"{where}: there is no column {column!r}{nearest(column, row)} It has {listed(row)}; "
                    f"task.data.{setting} says which one holds the {setting}.{between}"
                )
        rows.texts.append(written(row[text], where))
        rows.labels.append(label_of(row[label], where))
        rows.places.append(line)
    if not rows.texts:
        raise LabwrightError(f"{path} has no rows.")
    return rows


def written(value: Any, where: str) -> str:
    """A text that says something. Raises LabwrightError for anything else."""
    if not isinstance(value, str):
        raise LabwrightError(f"{where}: the text is {value!r}; it is a piece of text.")
    if not value.strip():
        raise LabwrightError(f"{where}: the text is empty. Take the row away, or mend it.")
    return clean(value)


def label_of(value: Any, where: str) -> str:
    """A label as a class's name: whole numbers and truth values as they are written."""
    if isinstance(value, bool | int | str) and str(value).strip():
        return str(value).strip()
    raise LabwrightError(f"{where}: the label is {value!r}; it is a text or a whole number.")


def _of_another_encoding(path: Path, encoding: str | None, error: UnicodeDecodeError) -> LabwrightError:
    line = error.object.count(b"\n", 0, error.start) + 1
    likely = "utf-16 by its first bytes" if error.object.startswith(_UTF_16) else "such as latin-1"
    hint = "Convert it to UTF-8" if encoding is None else f"Set task.data.encoding to what the file is in, {likely}"
    return LabwrightError(
        f"{path}, line {line}: the byte 0x{error.object[error.start]:02x} is no {encoding or 'utf-8'}. {hint}."
    )


def _json_lines(path: Path, content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise LabwrightError(
                f"{path}, line {number}: no JSON ({error}); a .jsonl file has one object a line, such as "
                '{"text": "...", "label": "..."}.'
            ) from error
        if not isinstance(row, dict):
            raise LabwrightError(f"{path}, line {number}: a {type(row).__name__}; each line is an object of its own.")
        yield number, row


def _table(
    path: Path, content: str, delimiter: str, wanted: tuple[str, str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        for name in wanted:
            if names.count(name) > 1:
                raise LabwrightError(f"{path}: {names.count(name)} columns are called {name!r}; rename all but one.")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise LabwrightError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells below a header of {len(names)}. A cell with a "
                    "separator or a line end in it needs quotes."
                )
            yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise LabwrightError(f"{path}, line {reader.line_num}: no CSV ({error}).") from error
