"""A logger: it is told of a run as it goes on. The hooks it may implement are those of `labwright.hookimpl`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import labwright as lw
from pydantic import Field


class Sample:
    """A line for each evaluation in evaluations.txt of the run's folder.

    Args:
        digits: how many a figure has.
    """

    def __init__(self, *, digits: Annotated[int, Field(ge=1)] = 4) -> None:
        self.digits = digits

    @lw.hookimpl
    def labwright_evaluated(self, run: lw.Run, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Called after each evaluation. An OSError, as of a full disk, ends the calls of this method, not the run."""
        figures = ", ".join(f"{name} {value:.{self.digits}g}" for name, value in metrics.items())
        with (run.folder / "evaluations.txt").open("a", encoding="utf-8") as file:
            file.write(f"step {step} {split}: {figures}\n")
