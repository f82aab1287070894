"""The user's own texts with labels, in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from labwright import Classes, Heads, LabwrightError, LeftOut, Values, When
from labwright_tasks.answers import NONE, several
from labwright_tasks.cells import Cells
from labwright_tasks.delimited import Columns, Delimiter, Encoding, Quote, Written
from labwright_tasks.published import Parts, read_parts
from labwright_tasks.sample_columns import Group, Time, Weight
from labwright_tasks.tables import Table, read_table
from pydantic import Field
from torch import Tensor

from labwright_nlp.data.texts import Length, Share, Texts
from labwright_nlp.tokenizing import BETWEEN, Case, Kind, Pretrained, Vocabulary

Column = Annotated[str, Field(min_length=1, description="the name of a column")]
_BETWEEN = f" {BETWEEN} "  # the texts of a pair
Several = Annotated[tuple[Column, ...], Field(min_length=1)]


class TextFiles(Texts):
    """Texts of your own, and what is to be said of each: tables as they are published.

    A table is CSV, TSV, JSON Lines, Parquet, Arrow, or text with another sign between cells, packed or not. A folder or
    an archive has a file `train` (or `training`), such as train.csv, and perhaps `valid` (or `validation`, `val`,
    `dev`) and `test` (or `testing`). A part that isn't there is held out of the training texts.

    A label is a class, the same one in every kind of file: 1.0 is 1. Rows without a text are left out, and rows without
    any label, unless `unlabelled` says otherwise.

    Metrics count each row alike, whatever it weighs. Rows of one `group` stay on one side of what is held out, and of
    `folds`; with `time` the latest are held out, and folds go in its order.

    Args:
        path: a table, several by a pattern such as `part-*.csv`, one in a zip archive, `set.zip/rows.csv`, or a folder
            or archive with a table for each part.
        text: the column of texts; of several columns the cells are put together, with a blank between them.
        label: the column of what is to be said of each text; several columns are heads, for the task `multi`.
        pair: whether two columns of text are a pair: between them stands what the tokenizer puts between two texts, and
            one that is asked is typed with a tab. Not with `case` mark.
        targets: whether labels are classes, numbers (for the task `regression`), or several in a cell, each of them a
            head, yes or no (for `multi`).
        separator: what stands between the labels of a cell that isn't a list.
        unlabelled: what becomes of rows without any label: left out, kept among those to learn from for tasks that take
            some, such as `multi`, or taken to have none of the labels (negative, for `targets` several alone).
        parts: which rows are which part, where `path` is one table: files `valid` and `test`, or a `column` that names
            the part, or one whose cells are listed in the files `train`, `valid` and `test`.
    """

    source = "files of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        text: Column | Several = "text",
        label: Column | Several = "label",
        pair: bool = False,
        targets: Literal["classes", "numbers", "several"] = "classes",
        separator: Annotated[str, Field(min_length=1), When("targets", "several")] = ";",
        weight: Weight = None,
        group: Group = None,
        time: Time = None,
        unlabelled: Literal["leave-out", "keep", "negative"] = "leave-out",
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: Encoding | None = None,
        parts: Parts | None = None,
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: Kind = "word",
        vocabulary: Vocabulary = 20_000,
        pretrained: Pretrained = None,
        case: Case = "keep",
        length: Length = 128,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            length=length,
            valid=valid,
            test=test,
        )
        self.path, self.parts, self.format = path, parts, Written(delimiter, columns, quote, encoding)
        self.texts = {f"text {name}": name for name in text} if isinstance(text, tuple) else {"text": text}
        self.said = {f"label {name}": name for name in label} if isinstance(label, tuple) else {"label": label}
        self.labels, self.numbers, self.unlabelled = tuple(self.said), targets == "numbers", unlabelled
        beside = {"weight": weight, "group": group, "time": time}
        self.independent = group is None and time is None
        self.beside = {setting: column for setting, column in beside.items() if column is not None}
        if pair and len(self.texts) != 2:
            raise LabwrightError(
                f"task.data.pair: a pair has two columns, and task.data.text names {len(self.texts)}: write "
                'task.data.text=["premise", "hypothesis"].'
            )
        if pair and tokenizer != "pretrained" and case == "mark":
            raise LabwrightError("task.data.case: between the texts of a pair stands a mark; keep or lower the case.")
        self.pair = pair
        self.separator = separator if targets == "several" else None
        self._check_labels(label)
        alone = Values if self.numbers else Classes
        self.target = Heads if isinstance(label, tuple) or targets == "several" else alone  # type: ignore[misc, assignment]

    def _check_labels(self, label: Column | Several) -> None:
        """Raise LabwrightError where what is said of labels doesn't go together."""
        if self.separator is not None and isinstance(label, tuple):
            raise LabwrightError(
                f"task.data.targets: several labels stand in one column, and task.data.label names {len(label)}; "
                "columns of a label each are classes."
            )
        if self.separator is None and self.unlabelled == "negative":
            raise LabwrightError(
                "task.data.unlabelled: 'negative' says that a text has none of task.data.targets=several."
            )

    def rows(self) -> dict[str, Table]:
        columns = {**self.texts, **self.said, **self.beside}
        published = read_parts(self.path, columns, written=self.format, parts=self.parts, lists=self._lists())
        parts, self.unused, self.told = {}, published.left_out, published.remarks
        for part, table in published.tables.items():
            keep = self.unlabelled == "negative" or (self.unlabelled == "keep" and part == "train")
            parts[part], left_out = self._usable(table, keep=keep)
            self.unused += left_out
        return parts

    def _usable(self, table: Table, *, keep: bool) -> tuple[Table, list[LeftOut]]:
        """The rows that have a text, or both of a pair, and a label unless all are kept; and how many haven't."""
        needed: list[str | tuple[str, ...]] = [] if keep else [self.labels]
        if self.pair:
            needed = [*self.texts, *needed]
        elif len(self.texts) == 1:
            needed = ["text", *needed]
        else:
            needed = [tuple(self.texts), *needed]
        if self.separator is not None:
            table = self._with_labels(table)
        table, left_out = table.filled(*needed)
        as_they_are = self.numbers or self.separator is not None
        columns = {name: table[name] if as_they_are else table.names(name) for name in self.labels}
        sides = [table[side] for side in self.texts]
        between = _BETWEEN if self.pair else " "
        whole = sides[0] if len(sides) == 1 else Cells(map(between.join, zip(*sides, strict=True)))
        columns |= {name: table[name] for name in self.beside if name in table}
        return replace(table, columns={"text": whole, **columns}), left_out

    def _with_labels(self, table: Table) -> Table:
        """Cells that hold no label say nothing, or that none is meant."""
        assert self.separator is not None
        none = NONE if self.unlabelled == "negative" else ""
        cells = Cells(cell if several(cell, self.separator) else none for cell in table["label"])
        return replace(table, columns={**table.columns, "label": cells})

    def _lists(self) -> Sequence[str]:
        """The columns that may hold lists."""
        return [*self.said.values()] if self.separator is not None else []

    def rows_at(self, files: Sequence[Path]) -> tuple[Table, list[LeftOut]]:
        table = read_table(files, {**self.texts, **self.said}, written=self.format, lists=self._lists())
        return self._usable(table, keep=False)

    def texts_at(self, file: Path) -> Table:
        table = read_table(file, self.texts, written=self.format)
        sides = zip(*(table[side] for side in self.texts), strict=True)
        return replace(table, columns={"text": Cells(map((_BETWEEN if self.pair else " ").join, sides))})

    def parse(self, line: str) -> tuple[Tensor, ...]:
        if not self.pair:
            return super().parse(line)
        sides = line.split("\t")
        if len(sides) != 2:
            raise LabwrightError(f"given {line[:60]!r}: a pair is two texts with a tab between them.")
        return super().parse(_BETWEEN.join(sides))

    def _parsed(self, text: str) -> tuple[Tensor, ...]:
        if not self.pair:
            return super()._parsed(text)
        if not all(side.strip() for side in text.split(_BETWEEN)):
            raise LabwrightError("the row lacks one of the two texts of a pair.")
        return super().parse(text)
