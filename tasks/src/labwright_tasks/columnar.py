"""Parquet and Arrow, which pyarrow reads: files whose columns have types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labwright import LabwrightError, sentence

from labwright_tasks.opening import Source, no_file

PARQUET, ARROW = (".parquet", ".pq"), (".arrow", ".feather")


def read_columns(source: Source, places: Callable[[Sequence[str]], Sequence[int]]) -> tuple[list[str], Any]:
    """The names of all columns, and a table of those whose `places` are asked for."""
    content = source.content() if source.member else None
    if source.suffix in PARQUET:
        with reading_parquet(source.path, str(source)) as parquet:
            import pyarrow

            file = source.path if content is None else pyarrow.BufferReader(content)
            header = list(parquet.read_schema(file).names)
            return header, parquet.read_table(file, columns=[header[place] for place in places(header)])
    with _pyarrow(source.path, str(source), "Arrow") as pyarrow:
        with pyarrow.memory_map(str(source.path)) if content is None else pyarrow.BufferReader(content) as file:
            try:
                whole = pyarrow.ipc.open_file(file).read_all()
            except pyarrow.ArrowInvalid:  # a stream, as the datasets library writes them
                file.seek(0)
                whole = pyarrow.ipc.open_stream(file).read_all()
        header = list(whole.column_names)
        return header, whole.select([*places(header)])


@contextmanager
def reading_parquet(path: Path, origin: str = "") -> Iterator[Any]:
    """pyarrow.parquet, to read a file with. Raises LabwrightError if there is neither, or the file can't be read."""
    with _pyarrow(path, origin or str(path), "Parquet"):
        from pyarrow import parquet

        yield parquet


@contextmanager
def _pyarrow(path: Path, origin: str, kind: str) -> Iterator[Any]:
    if find_spec("pyarrow") is None:
        raise LabwrightError(f"{origin}: {kind} needs pyarrow; `pip install pyarrow` brings it.")
    import pyarrow
    import pyarrow.ipc

    if not path.is_file():
        raise no_file(path)
    try:
        yield pyarrow
    except (OSError, pyarrow.ArrowException) as error:
        raise LabwrightError(f"{origin} can't be read as {kind}: {sentence(str(error).splitlines()[0])}") from error


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
