"""Interactions of your own: a CSV, Parquet or JSON Lines file with a user and an item in every row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from labwright import LabwrightError
from labwright_tasks.delimited import Columns, Delimiter, Encoding, Quote, Written
from labwright_tasks.published import Parts, read_parts
from labwright_tasks.tables import joined, read_table
from pydantic import Field

from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.splits import Manner, Seed, Share
from labwright_recsys.data.table import Table, table_of

Column = Annotated[str, Field(min_length=1, description="name of a column.")]


class OwnInteractions(Recommendation):
    """A table with a row for each interaction of a user with an item, as it is published.

    Rows that lack a user, an item, or a rating or time that is named, are left out, and it is said how many. Parquet
    needs `pip install 'labwright-recsys[parquet]'`.

    What `split` holds out: `random` of each user's n interactions floor(test * n) and floor(valid * n), chosen by
    `seed`; `leave-one-out` a user's last one as test and the one before as valid, if there are three (of equal times
    the order is by a number made of the two names' places); `temporal` what came after two moments, so that the shares
    are about `valid` and `test`, without users that nothing came from before. A user with one interaction is trained
    on and never tested. Of several interactions of one user with one item, the latest counts.

    Args:
        file: CSV, TSV, JSON Lines, Parquet, Arrow, or text with another sign between cells, packed or not; several by a
            pattern such as `part-*.csv`; a file in a zip archive, `ml-1m.zip/ml-1m/ratings.dat`; or a folder with
            `train.csv`, `test.csv` and so on.
        user: column of users.
        item: column of items.
        rating: column of ratings, numbers; left out, every interaction counts alike.
        time: column of times: numbers, such as seconds since 1970, or dates, one of the two throughout.
        title: column of titles, by which reports call the items; left out, they are called as in `item`.
        parts: a split that was published: `test` and `valid` are files with those interactions, which are taken from
            the others; with `column` it is a column that names the part, or lists of what it holds. What isn't there is
            held out as `split` says.
        file_order: whether time is the order of the rows, in place of a column.
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
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: Encoding | None = None,
        parts: Parts | None = None,
        file_order: bool = False,
        split: Manner = "random",
        valid: Share = 0.1,
        test: Share = 0.1,
        seed: Seed = 0,
    ) -> None:
        super().__init__(split, valid, test, seed)
        self.file, self.published, self.format = file, parts, Written(delimiter, columns, quote, encoding)
        self.file_order = file_order
        self.user, self.of_item, self.rating, self.time, self.title = user, item, rating, time, title

    def table(self) -> Table:
        if self.user == self.of_item:
            raise LabwrightError(
                f"task.data.item: given {self.of_item!r}, which task.data.user says of the users' column."
            )
        if self.file_order and self.time is not None:
            raise LabwrightError("task.data.file_order: task.data.time names a column of times; leave one of them out.")
        published = read_parts(
            self.file, self._columns(bare=False), written=self.format, parts=self.published, setting="task.data.file"
        )
        tables = published.tables
        if len(tables) > 1:
            tables = {part: rows.with_column("part", part) for part, rows in tables.items()}
        table = self._timed(table_of(joined([*tables.values()])))
        return replace(table, left_out=(*table.left_out, *published.left_out), remarks=tuple(published.remarks))

    def table_at(self, path: Path, *, bare: bool) -> Table:
        return self._timed(table_of(read_table(path, self._columns(bare=bare), written=self.format)))

    def _columns(self, *, bare: bool) -> dict[str, str]:
        others = {} if bare else {"rating": self.rating, "time": self.time, "title": self.title}
        named = {setting: name for setting, name in others.items() if name is not None}
        return {"user": self.user, "item": self.of_item, **named}

    def _timed(self, table: Table) -> Table:
        return replace(table, times=np.arange(len(table.users))) if self.file_order else table
