"""A rule that ends a run before its last step. What was trained until then is saved, evaluated and reported."""

from __future__ import annotations

from collections.abc import Mapping

import labwright as lw


class Sample:
    """End once the task's goal is reached on `valid`.

    Args:
        target: the value of the goal's metric that is good enough.
    """

    def __init__(self, *, target: float = 0.99) -> None:
        self.target = target

    @lw.hookimpl
    def labwright_evaluated(self, run: lw.Run, split: str, metrics: Mapping[str, float]) -> None:
        """Called after each evaluation. Raise lw.StopRun with the reason to end the run."""
        goal = run.task.goal
        if split == "valid" and not goal.better(self.target, metrics[goal.metric]):
            raise lw.StopRun(f"{goal.metric} has reached {self.target:g}")
