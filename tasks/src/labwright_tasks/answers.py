"""What a table says of each sample: a class or a number, or one of these for each of several columns. N samples."""

from __future__ import annotations

import ast
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from labwright import LEFT_OUT, Classes, Heads, LabwrightError, LeftOut, Port, Values, listed, nearest
from torch import Tensor

from labwright_tasks.tables import Table, name_of

Targets = Tensor | dict[str, Tensor]
_ALONE = "label"
NONE = "[]"  # a cell that says that no label is meant


@dataclass(frozen=True)
class Answers:
    """The classes' names by column, None for a number. `label` alone is no table of heads.

    With a `separator` the column `label` has several labels in a cell, and each of them is a head: said or not.
    """

    names: Mapping[str, tuple[str, ...] | None]
    separator: str | None = None

    @property
    def alone(self) -> bool:
        return [*self.names] == [_ALONE]

    def port(self) -> Port:
        ports = {
            column.removeprefix(f"{_ALONE} "): Values(1) if names is None else Classes(names)
            for column, names in self.names.items()
        }
        return ports[_ALONE] if self.alone else Heads(ports)

    def of(self, rows: Table) -> Targets:
        """The targets of rows, (N,) int64 or (N, 1) float32; what isn't said is -100 or nan.

        Raises LabwrightError naming the row of a label that isn't among the classes, or is no number.
        """
        if self.separator is not None:
            return self._several(rows)
        found: dict[str, Tensor] = {}
        for column, names in self.names.items():
            of_column = _numbers(rows, column) if names is None else _numbered(rows, column, names)
            found[column.removeprefix(f"{_ALONE} ")] = of_column
        return found[_ALONE] if self.alone else found

    def unknown(self, tables: Iterable[Table]) -> list[LeftOut]:
        """Labels that no row to learn from has, where there are several in a cell."""
        if self.separator is None:
            return []
        cells = [cell for rows in tables for cell in rows[_ALONE]]
        named = (name for cell in cells for name in several(cell, self.separator))
        counts = Counter(name for name in named if f"{_ALONE} {name}" not in self.names)
        why = f"no row to learn from has {listed(counts)}"
        return [LeftOut(counts.total(), "label" if counts.total() == 1 else "labels", why)] if counts else []

    def _several(self, rows: Table) -> dict[str, Tensor]:
        """1 for each label that a row has, 0 for others; nothing is known of a row without any that isn't said to be.

        That is a cell of nothing at all, where `NONE` says that none is meant.
        """
        assert self.separator is not None
        heads = [column.removeprefix(f"{_ALONE} ") for column in self.names]
        targets = {head: torch.zeros(len(rows), dtype=torch.int64) for head in heads}
        for row, cell in enumerate(rows[_ALONE]):
            if not cell:
                for target in targets.values():
                    target[row] = LEFT_OUT
            for name in several(cell, self.separator):
                if name in targets:
                    targets[name][row] = 1
        return targets


def several(cell: str, separator: str) -> list[str]:
    """The labels in a cell, each once: a list as JSON or Python writes it, or with a sign between them.

    They name heads, and have - for the dots and slashes that a head's name can't have.
    """
    given: list[Any] = cell.split(separator)
    if cell.startswith("["):
        for read in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError):
                given = read(cell)
                break
    names = (re.sub(r"[./]", "-", name_of(str(label))) for label in given if label is not None)
    return [name for name in dict.fromkeys(names) if name]


def answers_of(train: Table, columns: Sequence[str], *, numbers: bool, separator: str | None = None) -> Answers:
    """What is to be said of samples, by those to learn from. Raises LabwrightError for a column that says nothing."""
    names: dict[str, tuple[str, ...] | None] = {}
    if separator is not None:
        labels = {name for cell in train[_ALONE] for name in several(cell, separator)}
        if not labels:
            raise LabwrightError(f"{train.origin}: no row to learn from has a label.")
        return Answers({f"{_ALONE} {name}": ("no", "yes") for name in sorted(labels, key=natural)}, separator)
    for column in columns:
        different = set(train.names(column)) - {""}
        if not different:
            raise LabwrightError(f"{train.origin}: no row to learn from has a {column}.")
        names[column] = None if numbers else tuple(sorted(different, key=natural))
    return Answers(names)


def natural(label: str) -> tuple[bool, int, str]:
    """Numbers by their size, before other labels."""
    number = label.removeprefix("-").isdecimal() and len(label) < 19
    return not number, int(label) if number else 0, label


def _numbered(rows: Table, column: str, names: Sequence[str]) -> Tensor:
    number = {"": LEFT_OUT} | {name: index for index, name in enumerate(names)}
    labels = rows.names(column)
    for row, label in enumerate(labels):
        if label not in number:
            raise LabwrightError(
                f"{rows.where(row)}: no training row has the {column} {label!r}{nearest(label, names)} "
                f"Labels are {listed(names)}."
            )
    return torch.tensor([number[label] for label in labels], dtype=torch.int64)


def _numbers(rows: Table, column: str) -> Tensor:
    values = torch.full((len(rows), 1), math.nan)
    for row, cell in enumerate(rows[column]):
        try:
            values[row] = float(cell) if cell.strip() else math.nan
        except ValueError:
            raise LabwrightError(
                f"{rows.where(row)}: the {column} is {cell!r}; with task.data.targets=numbers it is a number, such as "
                "4 or 3.5."
            ) from None
    return values
