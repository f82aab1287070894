"""Tables of your own: CSV, TSV, Parquet or JSON Lines, one column of which is predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from labwright import Classes, When
from labwright_tasks.delimited import Columns, Delimiter, Encoding, Quote, Written
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
    """A file of yours, a column of which is the target.

    Args:
        path: the table, packed or not; several by a pattern such as `part-*.csv`; or a folder whose files are called
            like parts, `train.csv` and `test.csv`.
        seed: of the draw of what is held out, of each class in proportion.
        parts: a split that was published: `test` and `valid` are files with those rows; with `column` it is a column
            that names the part, or lists of what it holds. What isn't there is drawn from `train`.
        weight: column of numbers from 0 on, how much each row counts in the loss; left out, all count alike.
        group: column; rows with the same cell stay on one side of what is held out, and of `folds`.
        time: column of times, numbers or dates: the latest rows are held out, and `folds` go in their order.
    """

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
        encoding: Encoding | None = None,
        parts: Parts | None = None,
        weight: Weight = None,
        group: Group = None,
        time: Time = None,
        valid: Share = 0.1,
        test: Share = 0.2,
        seed: Annotated[int, Field(ge=0), When("time", None)] = 0,
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
        self.independent = group is None and time is None
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

    What the other columns hold is seen from their cells and said at the start. A number that is missing is 0 in
    standard units, and a number of its own says so. A date becomes its day since 1970, month, weekday and hour. Of a
    category missing is a level too. Rows without a target are left out.

    With `weight` metrics count each row alike all the same, as those of scikit-learn do unless they are given weights.
    Nothing is predicted from the columns of weights and groups. Parquet needs
    `pip install 'labwright-tabular[parquet]'`.

    Args:
        target: column of the classes that are predicted.
    """

    target = Classes


class NumberTable(_OwnTable):
    """As `tabular/table`, with a `target` that is a number.

    Args:
        target: column of the numbers that are predicted.
        seed: of the draw of what is held out.
    """

    target = Scaled
