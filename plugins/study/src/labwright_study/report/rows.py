"""What a study's report shows of its trials and settings, as it is said there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from labwright import Choice, Goal
from labwright.engine import NONE
from optuna.trial import FrozenTrial

from labwright_study.dimension import Dimension
from labwright_study.dominance import REPORTS
from labwright_study.trial import State
from labwright_study.trial_store import state_of

NEAR = 0.02  # of a range: that near to its end, the best may lie beyond it


@dataclass(frozen=True)
class Row:
    """A trial as the report sees it.

    `values` are by goal: the last ones reported if it was pruned, none if it never got there. `baseline` is the recipe
    itself, `best` the best trial or one of the front.
    """

    number: int
    state: State
    values: tuple[float, ...]
    reports: list[list[float]]
    params: dict[str, Any]
    steps: int
    seconds: float
    reason: str
    baseline: bool
    best: bool

    def line(self, goals: Sequence[Goal]) -> str:
        values = (f"{goal.metric} {number(value)}" for goal, value in zip(goals, self.values, strict=False))
        state = "" if self.state == "complete" else f", {self.state}"
        return f"trial {self.number}: {', '.join(values) or f'{self.seconds:.1f} s'}{state}"


Rows = Sequence[Row]


def number(value: float, digits: int = 4) -> str:
    """A number as it is shown: 0.9306, 26,122, 3e-05."""
    whole = math.isfinite(value) and abs(value) >= 1000 and value == round(value)
    return f"{value:,.0f}" if whole and abs(value) < 1e12 else f"{value:.{digits}g}"


def rows_of(ended: Iterable[FrozenTrial], best: Collection[int]) -> list[Row]:
    """The trials that have ended as rows; `best` are the numbers of the best of them."""
    return [_row(trial, trial.number in best) for trial in ended]


def _row(trial: FrozenTrial, best: bool) -> Row:
    attributes = trial.user_attrs
    reason = str(attributes.get("reason", ""))
    state = state_of(trial)
    reports = [[float(value) for value in report] for report in trial.system_attrs.get(REPORTS, [])]
    values: Sequence[float] = ()
    if state in ("complete", "pruned"):
        values = trial.values or (reports[-1] if reports else ())
    return Row(
        trial.number,
        state,
        tuple(values),
        reports,
        trial.params,
        int(attributes.get("steps", 0)),
        float(attributes.get("seconds", 0.0)),
        reason,
        bool(attributes.get("baseline")),
        best,
    )


def names(dimensions: Sequence[Dimension], *, short: bool = False) -> dict[str, str]:
    """What each dimension is called on the page: its path, or the end of it, and its branch where that is needed."""

    def end(dimension: Dimension) -> str:
        return dimension.path.rpartition(".")[2] if short else dimension.path

    counts = Counter(map(end, dimensions))
    paths = Counter(dimension.path for dimension in dimensions)
    shown = {}
    for dimension in dimensions:
        path = dimension.path
        name = end(dimension) if counts[end(dimension)] == paths[path] else path
        branch = str(dimension.when[1]).rpartition("/")[2] if dimension.when and paths[path] > 1 else ""
        shown[dimension.name] = f"{name} ({branch})" if branch else name
    return shown


def at_end(dimension: Dimension, value: Any) -> str:
    """Whether a value lies at an end of where it was looked for, in words; empty if it doesn't."""
    mark = dimension.mark
    if value is None or isinstance(mark, Choice):
        return ""
    bend: Callable[[float], float] = math.log if mark.log else float
    place = (bend(value) - bend(mark.low)) / (bend(mark.high) - bend(mark.low))
    return "at the lower end" if place < NEAR else "at the upper end" if place > 1 - NEAR else ""


def setting(value: Any) -> str:
    """The value of a setting as it is shown: none, true, 0.00312, cosine."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
