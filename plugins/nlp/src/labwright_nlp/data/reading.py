"""Rows of text and label out of tables, whole texts out of text files, and which files of a folder those are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from labwright import LabwrightError, LeftOut, listed
from labwright_tasks.opening import opened
from labwright_tasks.parts import NAMES, part_named
from labwright_tasks.tables import SUFFIXES, Table, suffix_of

_LEFTOVERS = ("__MACOSX", "Thumbs.db", "desktop.ini")  # what systems leave in folders, besides hidden files
_NAMED = 3  # files that aren't used


def rows_of(table: Table) -> tuple[Table, list[LeftOut]]:
    """The rows that have a text and a label, in its usual spelling, and how many don't."""
    table, left_out = table.filled("text", "label")
    return replace(table, columns={**table.columns, "label": table.names("label")}), left_out


def read_text(path: Path, encoding: str | None = None) -> str:
    """The whole of a text file, line ends as \\n. Raises LabwrightError naming the line that can't be read."""
    return opened(path, encoding).read()


def check_typed(text: str) -> None:
    """Raise LabwrightError for what came by the command line and is no UTF-8: Python keeps its bytes as surrogates."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise LabwrightError(f"{text!r} has bytes that are no UTF-8; convert it first, such as by `iconv -t UTF-8`.")


def tables_at(path: Path) -> tuple[list[Path], list[LeftOut]]:
    """A table, or all tables that lie in a folder, and what else is there. Raises LabwrightError if there is none."""
    if not path.is_dir():
        return [path], []
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not is_hidden(file)]
    tables = [file for file in files if suffix_of(file) in SUFFIXES]
    others = [file.name for file in files if file not in tables]
    if not tables:
        raise LabwrightError(f"{path} has no table, with an ending of {listed(SUFFIXES)}; it has {listed(others)}.")
    unit = "file" if len(others) == 1 else "files"
    return tables, [LeftOut(len(others), unit, f"no table: {listed(others, _NAMED)}")] if others else []


def has_tables(path: Path) -> bool:
    """Whether a path is a table, or a folder with one."""
    return any(suffix_of(file) in SUFFIXES for file in (path.iterdir() if path.is_dir() else [path]))


def files_of_parts(
    folder: Path, suffixes: Sequence[str], besides: Sequence[str] = (), *, packed: bool = False
) -> tuple[dict[str, list[Path]], list[LeftOut]]:
    """The files of each part, any number of them, by how their names begin, and what else is in the folder.

    Those called as `besides` says are known; `packed` ones are files too, such as train.conll.gz. Raises LabwrightError
    if there is none to learn from.
    """
    files: dict[str, list[Path]] = {}
    others = []
    for path in sorted(folder.iterdir()):
        begins = re.match(r"[a-z]+", path.name.lower())
        part = part_named(begins[0]) if begins else None
        suffix = suffix_of(path) if packed else path.suffix.lower()
        if part is not None and suffix in suffixes:
            files.setdefault(part, []).append(path)
        elif not is_hidden(path) and path.name not in besides:
            others.append(path.name)
    if "train" not in files:
        names = ", or ".join(f"`{name}`" for name in NAMES["train"])
        raise LabwrightError(
            f"{folder} has no file whose name begins with {names} and ends in {listed(suffixes)}; it has "
            f"{listed([*(path.name for some in files.values() for path in some), *others] or ['none at all'])}."
        )
    unit = "file" if len(others) == 1 else "files"
    return files, [LeftOut(len(others), unit, f"of no part: {listed(others, _NAMED)}")] if others else []


def text_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files with these endings anywhere below a folder, sorted, without hidden ones."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in files if not any(map(is_hidden, (path, *_between(path, folder)))))


def is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _LEFTOVERS


def _between(path: Path, folder: Path) -> list[Path]:
    """The folders that a file lies in, below a folder."""
    return [parent for parent in path.parents if folder in parent.parents]
