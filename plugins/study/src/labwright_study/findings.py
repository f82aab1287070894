"""What a study has come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from labwright_study.trial import State


@dataclass(frozen=True)
class Findings:
    """How many trials ended how, and the best: one alone, or those of the Pareto front, by number.

    `notes` say in words what is searched otherwise than the marks and the search table have it. `shown` are the best
    few, and the trial that is the recipe itself, whose `recipe` is true.
    """

    name: str
    folder: Path
    trials: int
    complete: int
    pruned: int
    diverged: int
    failed: int
    best: list[dict[str, Any]]
    interrupted: bool = False
    notes: Sequence[str] = ()
    shown: Sequence[dict[str, Any]] = ()

    def counts(self) -> str:
        """How many ended how: those complete, pruned and failed, and those that diverged if any did."""
        counts = {state: getattr(self, state) for state in get_args(State)}
        return ", ".join(f"{count} {state}" for state, count in counts.items() if count or state != "diverged")

    def json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {key: str(value) if key == "folder" else value for key, value in vars(self).items()}
