"""What columns of a table say of samples beside inputs and targets: weights, groups, times. N samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from labwright import LabwrightError
from pydantic import Field
from torch import Tensor

from labwright_tasks.tables import Table
from labwright_tasks.times import times_in

Weight = Annotated[
    str | None, Field(min_length=1, description="column of numbers from 0 on: how much each row counts in the loss.")
]
Group = Annotated[str | None, Field(min_length=1, description="column: rows with the same cell belong together.")]
Time = Annotated[str | None, Field(min_length=1, description="column of times, numbers or dates.")]


def samples_of(tables: Mapping[str, Table], columns: Mapping[str, str | None]) -> dict[str, dict[str, Tensor]]:
    """For each table `weights` (N,) float32, `groups` and `times` (N,) int64, as far as `columns` names some.

    `columns` says where `weight`, `group` and `time` stand. Raises LabwrightError naming the line of a cell that is no
    weight or time, or where the group isn't said; and if nothing of the first table weighs anything.
    """
    samples: dict[str, dict[str, Tensor]] = {name: {} for name in tables}
    weight, group, time = (columns.get(setting) for setting in ("weight", "group", "time"))
    if weight is not None:
        for name, table in tables.items():
            samples[name]["weights"] = _weights(table, weight)
        first = next(iter(tables.values()))
        if not bool(samples[next(iter(tables))]["weights"].any()):
            raise LabwrightError(f"{first.origin}: no row to learn from weighs more than 0 by task.data.weight.")
    if group is not None:
        number: dict[str, int] = {}
        for name, table in tables.items():
            numbers = [number.setdefault(cell, len(number)) for cell in table.names(group)]
            bare = number.get("")
            if bare in numbers and bare is not None:
                raise LabwrightError(f"{table.where(numbers.index(bare))}: task.data.group: the row has no group.")
            samples[name]["groups"] = torch.tensor(numbers, dtype=torch.int64)
    if time is not None:
        for name, times in zip(tables, times_in([*tables.values()], time), strict=True):
            samples[name]["times"] = torch.from_numpy(times)
    return samples


def about_weights(weights_N: Tensor, column: str) -> str:
    """What to know of samples' weights, a sentence."""
    low, high = float(weights_N.min()), float(weights_N.max())
    return f"rows weigh {low:g} to {high:g} in the loss, by {column!r}; metrics count each row alike."


def _weights(table: Table, column: str) -> Tensor:
    weights = []
    for row, cell in enumerate(table[column]):
        try:
            weight = float(cell)
        except ValueError:
            weight = math.nan
        if not 0 <= weight < math.inf:
            raise LabwrightError(
                f"{table.where(row)}: the weight is {cell!r}; with task.data.weight each row has a number from 0 on."
            )
        weights.append(weight)
    return torch.tensor(weights)
