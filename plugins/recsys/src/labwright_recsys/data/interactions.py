"""Interactions of your own: a CSV, Parquet or JSON Lines file with a user and an item in every row."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from labwright import LabwrightError
from labwright_tasks.delimited import Columns, Delimiter, Quote, Written
from labwright_tasks.tables import read_table
from pydantic import Field

from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.splits import Manner, Share
from labwright_recsys.data.table import Table, table_of

Column = Annotated[str, Field(min_length=1, description="the name of a column")]


class OwnInteractions(Recommendation):
    """CSV or TSV with a header, Parquet or JSON Lines: a row for each interaction of a user with an item.

    `user`, `item`, `rating`, `time` and `title` name columns; the last three may be left out. Without ratings every
    interaction counts alike. Times are numbers, such as seconds since 1970, or dates, one of the two throughout; a
    title is how reports call an item. Rows that lack a user, an item, or a rating or time that is named, are left out,
    and it is said how many. `delimiter` stands between cells, a comma if left out and a tab in a `.tsv` file. Text is
    UTF-8, or else in `encoding`, and may be gzipped; Parquet needs `pip install 'labwright-recsys[parquet]'`.

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
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: str | None = None,
        split: Manner = "random",
        valid: Share = 0.1,
        test: Share = 0.1,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(split, valid, test, seed)
        self.file, self.written = file, Written(delimiter, columns, quote, encoding)
        self.user, self.of_item, self.rating, self.time, self.title = user, item, rating, time, title

    def table(self) -> Table:
        if self.user == self.of_item:
            raise LabwrightError(
                f"task.data.item: given {self.of_item!r}, which task.data.user says of the users' column."
            )
        path = self.file.expanduser()
        columns = {"user": self.user, "item": self.of_item}
        others = {"rating": self.rating, "time": self.time, "title": self.title}
        columns |= {setting: name for setting, name in others.items() if name is not None}
        return table_of(read_table(path, columns, written=self.written, setting="task.data.file"))
