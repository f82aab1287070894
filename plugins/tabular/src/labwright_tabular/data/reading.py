"""A table with all its columns, read as every table is."""

from __future__ import annotations

import json
from pathlib import Path

from labwright import LabwrightError
from labwright_tasks.delimited import Delimited
from labwright_tasks.opening import opened
from labwright_tasks.tables import SUFFIXES, Table, read_table, reading_parquet, suffix_of


def whole_table(path: Path, delimiter: str | None, encoding: str | None) -> Table:
    """All columns of a file under their own names. Raises LabwrightError for what `read_table` raises it for."""
    suffix = suffix_of(path)
    if delimiter is None and suffix not in SUFFIXES:
        return read_table(path, {})  # says which files are read
    if suffix in (".parquet", ".pq"):
        with reading_parquet(path) as parquet:
            names = list(parquet.read_schema(path).names)
    elif suffix in (".json", ".jsonl", ".ndjson"):
        names = _keys(path, encoding)
    else:
        sign = delimiter or ("\t" if suffix == ".tsv" else ",")
        names = Delimited(path, opened(path, encoding), sign).header
    if "" in names:
        raise LabwrightError(f"{path}: column {names.index('') + 1} has no name; give it one, such as 'row'.")
    return read_table(path, {name: name for name in names}, delimiter=delimiter, encoding=encoding)


def _keys(path: Path, encoding: str | None) -> list[str]:
    """The keys of all objects of a JSON Lines file, in their order; lines that are none are passed over."""
    keys: dict[str, None] = {}
    for line in opened(path, encoding):
        try:
            row = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):
            continue  # `read_table` says which line it is
        keys |= dict.fromkeys(row) if isinstance(row, dict) else {}
    return list(keys)
