"""What happened while a policy collected: the episodes that ended, and what there was to say of each round.

E episodes, R rounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from labwright import Appended
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

RECENT = 100  # episodes that a mean is over
_BINS = 40  # of a figure


@final
class Journal:
    """Episodes as (steps of all environments, the environment's number, return, length), rounds as (steps, values)."""

    def __init__(self, values: tuple[str, ...]) -> None:
        self.values = values  # what is said of each round
        self.episodes: list[tuple[float, ...]] = []
        self.rounds: list[tuple[float, ...]] = []

    def recent(self) -> dict[str, float]:
        """Mean return and length of the last episodes, and what was said of the last round."""
        last = self.episodes[-RECENT:]
        means = {"return": 2, "length": 3}
        found = {name: sum(row[column] for row in last) / len(last) for name, column in means.items()} if last else {}
        if self.rounds:
            found |= dict(zip(("steps", *self.values), self.rounds[-1], strict=True))
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def state(self) -> dict[str, Any]:
        tables = {"episodes": self.episodes, "rounds": self.rounds}
        width = {"episodes": 4, "rounds": 1 + len(self.values)}
        return {
            name: Appended(torch.tensor(rows, dtype=torch.float64).reshape(-1, width[name]), len(rows))
            for name, rows in tables.items()
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.episodes, self.rounds = ([tuple(row) for row in _rows(state, name)] for name in ("episodes", "rounds"))

    def figure(self) -> Canvas | None:
        """Returns and lengths over steps with their spread over environments, and what was said of rounds."""
        if len(self.episodes) < 2:
            return None
        from matplotlib.figure import Figure as Canvas  # here: it is slow to import

        rows_E4 = np.asarray(self.episodes)
        panels = [("return", rows_E4[:, [0, 1, 2]]), ("length of an episode", rows_E4[:, [0, 1, 3]])]
        canvas = Canvas(figsize=(9, 2.6 * math.ceil((2 + len(self.values)) / 2)), layout="constrained")
        axes = canvas.subplots(math.ceil((2 + len(self.values)) / 2), 2, squeeze=False).flatten()
        for axis, (title, points_E3) in zip(axes, panels, strict=False):
            steps, means, spreads = _binned(points_E3)
            axis.plot(steps, means, linewidth=1.5)
            axis.fill_between(steps, means - spreads, means + spreads, alpha=0.25, linewidth=0)
            axis.set_title(title, fontsize=9)
        rounds = np.asarray(self.rounds).reshape(-1, 1 + len(self.values))
        for column, (axis, title) in enumerate(zip(axes[2:], self.values, strict=False), 1):
            seen = np.isfinite(rounds[:, column])
            axis.plot(rounds[seen, 0], rounds[seen, column], linewidth=1)
            axis.set_title(title, fontsize=9)
        for axis in axes[2 + len(self.values) :]:
            axis.set_axis_off()
        for axis in axes:
            axis.tick_params(labelsize=8)
        return canvas


def _rows(state: Mapping[str, Any], name: str) -> list[list[float]]:
    table: Tensor = state[name].rows
    rows: list[list[float]] = table.tolist()
    return rows


def _binned(points_E3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, and of (step, environment, value) the mean in each stretch of steps and its spread.

    The spread is the standard deviation over the means of the environments; of one environment, over its episodes.
    """
    last = points_E3[:, 0].max()
    bins = np.minimum((points_E3[:, 0] / (last + 1) * _BINS).astype(int), _BINS - 1)
    steps, means, spreads = [], [], []
    for number in np.unique(bins):
        of_bin = points_E3[bins == number]
        by_environment = [of_bin[of_bin[:, 1] == one, 2].mean() for one in np.unique(of_bin[:, 1])]
        spread = np.std(by_environment) if len(by_environment) > 1 else np.std(of_bin[:, 2])
        steps.append((number + 0.5) / _BINS * last)
        means.append(of_bin[:, 2].mean())
        spreads.append(spread)
    return np.asarray(steps), np.asarray(means), np.asarray(spreads)
