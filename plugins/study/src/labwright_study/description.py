"""What is asked of a study, as its progress and its report tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labwright import Goal

from labwright_study.space import Space


@dataclass(frozen=True, repr=False)
class Description:
    """A study in words and numbers. `storage` is its URL without a password, `trials` how many were asked for.

    `experiment`, `sampler` and `pruner` are the names of these.
    """

    name: str
    folder: Path
    storage: str
    experiment: str
    trials: int
    goals: Sequence[Goal]
    space: Space
    sampler: str
    pruner: str
    seed: int
    batch: int
    asynchronous: bool

    def goals_in_words(self) -> str:
        """`maximize accuracy and minimize parameters`."""
        return " and ".join(f"{goal.direction} {goal.metric}" for goal in self.goals)

    def __repr__(self) -> str:
        searched = f"{len(self.space.dimensions)} settings of {self.experiment}"
        return f"Study({str(self.folder)!r}, {self.trials} trials over {searched}, {self.goals_in_words()})"

    def sketch(self) -> tuple[str, Sequence[str], list[tuple[object, ...]], list[str]]:
        """What a notebook shows: a title, heads of columns, rows and lines below."""
        space = self.space.json().items()
        rows = [(path, place["searched"], place.get("if", "")) for path, place in space]
        columns = 3 if any(condition for _, _, condition in rows) else 2
        how = f"{self.sampler} and {self.pruner}, seed {self.seed}"
        shown: list[tuple[object, ...]] = [row[:columns] for row in rows]
        return (
            repr(self),
            ("setting", "searched", "if")[:columns],
            shown,
            [how, *(f"note: {note}" for note in self.space.notes)],
        )
