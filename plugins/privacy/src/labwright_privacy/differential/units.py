"""What is there or isn't in data sets that must not be told apart: a row, or a user with all rows. N rows, U units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy
import torch
from labwright import Interactions, LabwrightError, Split, Task
from torch import Tensor

_AT_ONCE = 4096  # rows that are fetched together to see whose they are


@dataclass(frozen=True)
class Units:
    """The units of a training part: `rows_N` are its rows sorted by unit, `sizes_U` how many each unit has.

    `most` of a unit's rows count in a step.
    """

    name: str
    rows_N: Tensor
    sizes_U: Tensor
    most: int

    @classmethod
    def of(cls, task: Task, part: Split, unit: Literal["row", "user"] | None, most: int) -> Units:
        """Raises LabwrightError for users of data that has none, and for rows that aren't alone."""
        has_users = issubclass(task.port_types()[0], Interactions)
        if unit == "user" and not has_users:
            raise LabwrightError(
                f"method.unit: {type(task.data).__name__} has no users: it offers {task.port_types()[0].__name__}. "
                "Leave method.unit out; each row is a unit then."
            )
        if unit == "row" and has_users and type(task).draw is not Task.draw:
            raise LabwrightError(
                f"method.unit: {type(task).__name__} draws for a row items that stand in none of its user's other "
                "rows, so that one row changes what is learned from others. Leave method.unit out: a user is a unit."
            )
        if unit == "row" or not has_users:
            return cls("row", torch.arange(len(part)), torch.ones(len(part), dtype=torch.int64), 1)
        # the first argument of a model of interactions are the users
        chunks = torch.split(torch.arange(len(part)), _AT_ONCE)
        users_N = torch.cat([part.fetch(chunk, 0, 0).inputs[0] for chunk in chunks])
        counts_U = users_N.bincount()
        return cls("user", users_N.argsort(stable=True), counts_U[counts_U > 0], most)

    @property
    def count(self) -> int:
        return len(self.sizes_U)

    def drawn(self, rate: float, random: numpy.random.Generator) -> tuple[Tensor, Tensor]:
        """Rows of the units that are drawn, each with probability `rate` by itself, and how many each has."""
        chosen = torch.from_numpy(random.random(self.count) < rate).nonzero()[:, 0]
        if self.most == 1 and len(self.rows_N) == self.count:
            return self.rows_N[chosen], self.sizes_U[chosen]
        ends_U = self.sizes_U.cumsum(0)
        rows = []
        for unit in chosen.tolist():
            own = self.rows_N[ends_U[unit] - self.sizes_U[unit] : ends_U[unit]]
            rows.append(own[torch.from_numpy(random.permutation(len(own))[: self.most])])
        sizes = self.sizes_U[chosen].clamp(max=self.most)
        return (torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)), sizes
