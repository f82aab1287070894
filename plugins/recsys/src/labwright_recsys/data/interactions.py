"""Interactions of your own: a CSV or Parquet file with a user and an item in every row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from labwright.errors import LabwrightError, nearest
from pydantic import Field

from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.splits import Manner, Share
from labwright_recsys.data.table import Table, rows_of, table_of, unreadable

Column = Annotated[str, Field(min_length=1, description="the name of a column")]


class OwnInteractions(Recommendation):
    """A CSV file with a header, or a Parquet file: a row for each interaction of a user with an item.

    `user`, `item`, `rating`, `time` and `title` name columns; the last three may be left out. Without ratings every
    interaction counts alike. A time is seconds since 1970 or a date; a title is how reports call an item. `.csv.gz`
    is unpacked; Parquet needs `pip install 'labwright-recsys[parquet]'`.

    What `split` holds out: `random` of each user's n interactions floor(test * n) and floor(valid * n), chosen by
    `seed`; `leave-one-out` a user's last one as test and the one before as valid, if there are three (of equal times
    the order is by a number made of the two names' places); `temporal` what came after two moments, so that the shares
    are about `valid` and `test`, without users that nothing came from before. A user with one interaction is trained
    on and never tested. Of several interactions of one user with one item, the latest counts.
    """

    source = "a file of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        file: Path,
        user: Column = "user",
        item: Column = "item",
        rating: Column | None = None,
        time: Column | None = None,
        title: Column | None = None,
        delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ",",
        split: Manner = "random",
        valid: Share = 0.1,
        test: Share = 0.1,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(split, valid, test, seed)
        self.file, self.delimiter = file, delimiter
        self.user, self.of_item, self.rating, self.time, self.title = user, item, rating, time, title

    def table(self) -> Table:
        path = self.file.expanduser()
        if not path.is_file():
            beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
            raise LabwrightError(f"task.data.file: there is no file {str(path)!r}{nearest(path.name, beside)}")
        named = (self.user, self.of_item, self.rating, self.time, self.title)
        columns = tuple(name for name in named if name is not None)
        parquet = path.suffix.lower() in (".parquet", ".pq")
        rows = _parquet_rows(path, columns) if parquet else rows_of(path, columns, self.delimiter)
        titles: dict[str, str] = {}
        rated, timed = self.rating is not None, self.time is not None
        table = table_of(path, self._without_title(rows, titles), rated=rated, timed=timed)
        return Table(table.users, table.items, table.ratings, table.times, titles)

    def _without_title(
        self, rows: Iterator[tuple[int, list[str]]], titles: dict[str, str]
    ) -> Iterator[tuple[int, Sequence[str]]]:
        """The rows without their last column if that is the title, which is noted down."""
        for number, row in rows:
            if self.title is not None:
                titles[row[1].strip()] = row.pop()
            yield number, row


def _parquet_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a Parquet file as texts, numbered from 1; nothing is an empty text."""
    if find_spec("pyarrow") is None:
        raise LabwrightError(f"{path}: Parquet needs pyarrow: `pip install 'labwright-recsys[parquet]'` brings it.")
    import pyarrow
    from pyarrow import parquet

    try:
        header = parquet.read_schema(path).names
        for name in columns:
            if name not in header:
                raise LabwrightError(
                    f"{path} has no column {name!r}{nearest(name, header)} Its columns are {', '.join(header)}."
                )
        table = parquet.read_table(path, columns=list(dict.fromkeys(columns)))
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from error
    found = {name: ["" if one is None else str(one) for one in table[name].to_pylist()] for name in table.column_names}
    for number, row in enumerate(zip(*(found[name] for name in columns), strict=True), 1):
        yield number, list(row)
