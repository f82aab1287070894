"""What is to be said of each text: a class or a number, or one of these for each of several columns. N texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from labwright import LEFT_OUT, Classes, Heads, LabwrightError, Port, Values, listed, nearest
from labwright_tasks.tables import Table
from torch import Tensor

Targets = Tensor | dict[str, Tensor]
_ALONE = "label"


@dataclass(frozen=True)
class Answers:
    """The classes' names by column, None for a number. `label` alone is no table of heads."""

    names: Mapping[str, tuple[str, ...] | None]

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
        found: dict[str, Tensor] = {}
        for column, names in self.names.items():
            of_column = _numbers(rows, column) if names is None else _numbered(rows, column, names)
            found[column.removeprefix(f"{_ALONE} ")] = of_column
        return found[_ALONE] if self.alone else found


def answers_of(train: Table, columns: Sequence[str], *, numbers: bool) -> Answers:
    """What is to be said of texts, by those to learn from. Raises LabwrightError for a column that says nothing."""
    names: dict[str, tuple[str, ...] | None] = {}
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
                f"{rows.where(row)}: no training text has the {column} {label!r}{nearest(label, names)} "
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
