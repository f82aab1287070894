"""What a study's report shows of its trials and settings, as it is said there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labwright import Choice, Goal
from labwright.base.search import NONE
from optuna.trial import FrozenTrial

from labwright_study.dominance import REPORTS
from labwright_study.space import Dimension
from labwright_study.trial import State
from labwright_study.trial_store import state_of

if TYPE_CHECKING:
    from labwright_study.trial_store import TrialStore

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


def rows_of(book: TrialStore, best: set[int]) -> list[Row]:
    """The trials that count, by number."""
    return [_row(trial, trial.number in best) for trial in book.ended()]


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

    def end(one: Dimension) -> str:
        return one.path.rpartition(".")[2] if short else one.path

    counts = Counter(end(one) for one in dimensions)
    paths = Counter(one.path for one in dimensions)
    found = {}
    for one in dimensions:
        said = end(one) if counts[end(one)] == paths[one.path] else one.path
        branch = str(one.when[1]).rpartition("/")[2] if one.when and paths[one.path] > 1 else ""
        found[one.name] = f"{said} ({branch})" if branch else said
    return found


def at_end(one: Dimension, value: Any) -> str:
    """Whether a value lies at an end of where it was looked for."""
    if value is None or isinstance(one.mark, Choice):
        return ""
    bend: Callable[[float], float] = math.log if one.mark.log else float
    place = (bend(value) - bend(one.mark.low)) / (bend(one.mark.high) - bend(one.mark.low))
    return "at the lower end" if place < NEAR else "at the upper end" if place > 1 - NEAR else ""


def said(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def span(seconds: float) -> str:
    """A stretch of time in words: 9.3 s, 4 min 05 s, 2 h 07 min."""
    if seconds < 59.5:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    parts = (f"{minutes} min", f"{rest:02d} s") if minutes < 60 else (f"{minutes // 60} h", f"{minutes % 60:02d} min")
    return " ".join(parts).replace(" ", "\u00a0")
