"""What is tried of every kind of component that stands in a recipe."""

from __future__ import annotations

import random
from typing import Any

from labwright import Choice, Integers, Uniform

from labwright_testing.kit import TRIED, Subject, check

DRAWS = 5


@check(*TRIED)
def can_be_built_with_sampled_settings(subject: Subject) -> None:
    """Any point of the declared search space builds: settings drawn together go together."""
    marks = {name: one.mark for name, one in subject.settings.items() if one.mark is not None}
    chance = random.Random(0)  # noqa: S311 - no secret
    prefix = "task.data" if subject.kind == "data" else subject.kind
    reads = subject.kind in ("model", "loss", "optimizer")
    assert subject.candidates, "no recipe has a place for it"
    base = subject.experiment if reads else subject.candidates[0]
    for _ in range(DRAWS if marks else 1):
        drawn = {name: _drawn(mark, chance) for name, mark in marks.items()}
        try:
            experiment = base.varied({f"{prefix}.{name}": value for name, value in drawn.items()})
            experiment.build(task=subject.task) if reads else experiment.task.build()
        except Exception as error:
            raise AssertionError(f"with {drawn} it can't be built: {type(error).__name__}: {error}") from error


def _drawn(mark: Choice | Integers | Uniform, chance: random.Random) -> Any:
    if isinstance(mark, Choice):
        return chance.choice(mark.options)
    if isinstance(mark, Integers):
        return chance.randrange(mark.low, mark.high + 1, mark.step)
    return chance.uniform(mark.low, mark.high)
