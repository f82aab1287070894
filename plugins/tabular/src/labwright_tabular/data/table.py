"""Tables of your own: CSV, TSV, Parquet or JSON Lines, one column of which is predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from labwright import Classes
from labwright_tasks.delimited import Columns, Delimiter, Quote, Written
from labwright_tasks.published import Parts
from labwright_tasks.sample_columns import Group, Time, Weight
from labwright_tasks.tables import Table
from pydantic import Field

from labwright_tabular.data.columns import Role, Scale
from labwright_tabular.data.parts import Share
from labwright_tabular.data.reading import published
from labwright_tabular.data.tabular import Tabular
from labwright_tabular.ports import Scaled


class _OwnTable(Tabular):
    source = "a file of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        target: Annotated[str, Field(min_length=1, description="the column that is predicted")],
        roles: dict[str, Role] | None = None,
        missing: list[str] | None = None,
        min_count: Annotated[int, Field(ge=1)] = 5,
        scale: Scale = "quantile",
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: str | None = None,
        parts: Parts | None = None,
        weight: Weight = None,
        group: Group = None,
        time: Time = None,
        valid: Share = 0.1,
        test: Share = 0.2,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        # what says how rows are to be treated says nothing of what is predicted
        aside = (parts.column if parts else None, weight, group)
        ignored: dict[str, Role] = {column: "ignore" for column in aside if column is not None}
        roles = ignored | (roles or {})
        super().__init__(
            valid=valid, test=test, seed=seed, scale=scale, min_count=min_count, roles=roles, missing=missing
        )
        self.path, self._answer, self.published = path, target, parts
        beside = {"weight": weight, "group": group, "time": time}
        self.beside = {setting: column for setting, column in beside.items() if column is not None}
        self.written = Written(delimiter, columns, quote, encoding)

    @property
    def answer(self) -> str:
        return self._answer

    def table(self) -> Table:
        table, self._left_out, remarks = published(self.path, self.written, self.published)
        self._remarks = [*remarks]
        return table


class ClassTable(_OwnTable):
    """CSV or TSV with a header, Parquet or JSON Lines: a row for each sample, `target` the column of classes.

    What the other columns hold is seen from their cells and said at the start; `roles` says otherwise by name:
    `number`, `category`, `date` or `ignore`. A number is brought to standard units, by its rank (`quantile`) or its
    mean and deviation (`standard`) among training rows; where it is missing it is 0, and a number of its own says so.
    A date becomes its day since 1970, month, weekday and hour. Of categories a level gets a code if `min_count`
    training rows have it, else it is that of all rare and unknown ones; missing is a level too. `missing` are cells
    that say nothing, beside empty ones: ?, NA, N/A, NaN and null if left out. Rows without a target are left out.

    `test` and `valid` are shares of all rows, drawn by `seed`, each class in proportion; `parts` says how they were
    published instead, and a folder whose files are called like parts is taken so: what isn't there is drawn from
    `train`. `weight` names a column of how much each row counts in the loss; metrics count each alike, as those of
    scikit-learn do unless they are given weights. Rows of one `group` stay on one side of what is held out, and of
    `folds`; with `time` the latest are held out, and folds go in its order. Nothing is predicted from the columns of
    weights and groups.

    `columns` names those of a table without a header. `delimiter` stands between cells and `quote` around them, as the
    first rows have it if left out. Text is UTF-8, or else in `encoding`, and may be gzipped; Parquet needs
    `pip install 'labwright-tabular[parquet]'`.
    """

    target = Classes


class NumberTable(_OwnTable):
    """As `tabular/table`, with a `target` that is a number."""

    target = Scaled
