"""What happened so far, of which the last is kept. M rows of memory, B batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from labwright import Appended
from torch import Tensor

from labwright_rl.environments import Transitions

_COLUMNS = ("observations", "actions", "rewards", "following", "ended")


@final
class Replay:
    """The last `size` transitions: a checkpoint writes those that the one before it hasn't written."""

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0
        self.columns: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return min(self.count, self.size)

    def add(self, rows: Mapping[str, Tensor]) -> None:
        """Take in some transitions, each column with a row for each."""
        if not self.columns:
            self.columns = {name: rows[name].new_empty(self.size, *rows[name].shape[1:]) for name in _COLUMNS}
        count = len(rows["rewards"])
        # of more than it holds the last: one place isn't written twice
        places = torch.arange(self.count, self.count + count)[-self.size :] % self.size
        for name, column in self.columns.items():
            column[places] = rows[name][-self.size :]
        self.count += count

    def drawn(self, places: Tensor) -> Transitions:
        seen, actions, *others = (self.columns[name][places] for name in _COLUMNS)
        return Transitions((seen,), actions, *others)

    def state(self) -> dict[str, Any]:
        tables = {}
        for name, column in self.columns.items():
            start = self.count % self.size if self.count > self.size else 0
            rows = torch.cat([column[start:], column[:start]]) if start else column[: len(self)]
            tables[name] = Appended(rows, self.count)
        return tables

    def load_state(self, state: Mapping[str, Any]) -> None:
        count = state["rewards"].count
        held = len(state["rewards"].rows)
        self.count = count - held  # so that each row comes to lie where it lay
        self.add({name: state[name].rows for name in _COLUMNS})
