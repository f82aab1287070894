"""What the figures of a study's report are made of: its trials, where values lie, and marks in the page's colours."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from labwright import Choice, Goal, Integers
from labwright.engine import charts

from labwright_study.dimension import Dimension
from labwright_study.report.rows import Row, Rows, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 8  # shades from the worst trial to the best
FAR = 5  # times as far from the best as the median is: what lies beyond is drawn at the edge
ENOUGH = 8  # complete trials from which on an axis is for those near the best
MAIN, BEST, RECIPE = charts.SERIES[:3]
FAILED = "#a20001"
_SHADES = [f"#a2001{level}" for level in range(LEVELS)]
_COLOURS = {FAILED: "var(--failed)"} | {
    shade: f"color-mix(in oklab, var(--series-1) {100 * level // (LEVELS - 1)}%, var(--line))"
    for level, shade in enumerate(_SHADES)
}


def label(value: Any, most: int = 12) -> str:
    """A value beside an axis, in few letters: 0.01, 1e-5, 120k, one-cycle."""
    if isinstance(value, bool) or not isinstance(value, float | int):
        text = str(value).rpartition("/")[2]
        return text if len(text) <= most else f"{text[: most - 1]}…"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size <= abs(value) < 1e12:
            return f"{value / (1e3 if letter == 'k' else size):.3g}{letter}"
    return re.sub(r"e([-+])0*(\d)", lambda power: f"e{power[1].strip('+')}{power[2]}", f"{value:.4g}")


# ------------------------------------------------------------------------------------------------------------ places


@dataclass(frozen=True)
class Scale:
    """Where values lie between 0 and 1: a range, bent if it is logarithmic, or options side by side."""

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False
    options: tuple[Any, ...] = ()

    @classmethod
    def of(cls, dimension: Dimension) -> Scale:
        mark = dimension.mark
        if isinstance(mark, Choice):
            return cls(options=mark.options)
        return cls(mark.low, mark.high, mark.log, isinstance(mark, Integers))

    @classmethod
    def over(cls, low: float, high: float, goal: Goal) -> Scale:
        return cls(low, high, log=bends(low, high, goal))

    def place(self, value: Any, row: Row) -> float:
        """Trials with the same option lie beside one another, so that they can be told apart."""
        if self.options:
            at = self.options.index(value)
            return (at + 0.5 + ((row.number * 0.618034) % 1 - 0.5) * 0.4) / len(self.options)
        return self._straight(min(max(value, self.low), self.high))

    def ticks(self) -> list[tuple[float, str]]:
        if self.options:
            count = len(self.options)
            return [
                ((place + 0.5) / count, label(option, max(4, 36 // count))) for place, option in enumerate(self.options)
            ]
        if self.low == self.high:
            return [(0.5, number(self.low))]
        if self.whole and self.high - self.low <= 5:
            return [(self._straight(value), label(value)) for value in range(int(self.low), int(self.high) + 1)]
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        middle = round(middle) if self.whole else float(f"{middle:.1g}") if self.log else middle
        return [(self._straight(value), label(value)) for value in (self.low, middle, self.high)]

    def _straight(self, value: float) -> float:
        if self.low == self.high:
            return 0.5
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def near(rows: Rows, goal: Goal, index: int) -> tuple[float, float]:
    """From where to where an axis goes, so that the trials near the best can be told apart."""
    every = [row.values[index] for row in rows if row.values and math.isfinite(row.values[index])]
    complete = [row.values[index] for row in rows if row.state == "complete"]
    low, high = min(every, default=0.0), max(every, default=1.0)
    if len(complete) >= ENOUGH:
        log = bends(low, high, goal)
        bend, straight = (math.log, math.exp) if log else (float, float)
        best = bend(min(complete) if goal.direction == "minimize" else max(complete))
        reach = FAR * (bend(float(np.median(complete))) - best)
        kept = [row.values[index] for row in rows if row.values and (row.best or row.baseline)]
        if reach:
            far = [straight(best + reach), *kept]
            low, high = (low, min(high, max(far))) if reach > 0 else (max(low, min(far)), high)
    return low, high


def heights(axes: Axes, rows: Rows, goal: Goal, index: int, *, across: bool = False) -> Callable[[float], float]:
    """Set an axis for a goal. Returns what moves a value that lies far from the best to the edge."""
    low, high = near(rows, goal, index)
    span(axes, low, high, log=bends(low, high, goal), across=across)
    return lambda value: min(max(value, low), high)


def bends(low: float, high: float, goal: Goal) -> bool:
    """Whether an axis is logarithmic: costs and losses that lie far apart; shares such as an accuracy never."""
    return goal.direction == "minimize" and low > 0 and high / low >= charts.LOG_SCALE_FROM


def span(axes: Axes, low: float, high: float, *, log: bool, across: bool = False) -> None:
    """Set an axis from low to high with some room."""
    if log:
        (axes.set_xscale if across else axes.set_yscale)("log")
        ends = low / (high / low) ** 0.07, high * (high / low) ** 0.07
    else:
        room = 0.07 * (high - low) or 0.07 * abs(high) or 1.0
        ends = low - room, high + room
    charts.ticks(axes.xaxis if across else axes.yaxis, low, high, log=log, text=label)
    (axes.set_xlim if across else axes.set_ylim)(ends)


def numbered(axes: Axes, last: int, name: str, first: int = 0) -> None:
    """The axis across for trials or evaluations."""
    charts.counted(axes, name)
    room = 0.02 * max(last - first, 1) + 0.3
    axes.set_xlim(first - room, last + room)


def thinned(rows: Iterable[Row], goal: Goal, index: int, most: int) -> list[Row]:
    """About so many trials, the front and the better first: of these all, the recipe itself, of others every nth."""
    sign = 1 if goal.direction == "minimize" else -1

    def rank(row: Row) -> tuple[bool, bool, float]:
        return not row.best, row.state != "complete", sign * row.values[index] if row.values else math.inf

    ranked = sorted(rows, key=rank)
    if len(ranked) <= most:
        return ranked
    top = most // 3
    stride = -(-(len(ranked) - top) // (most - top))
    return [row for place, row in enumerate(ranked) if place < top or row.baseline or (place - top) % stride == 0]


def shades(rows: Rows, goal: Goal, index: int) -> dict[int, str]:
    """A colour for each complete trial by its number, the better the stronger; equal values have the same."""
    complete = [row for row in rows if row.state == "complete"]
    ordered = sorted({row.values[index] for row in complete}, reverse=goal.direction == "minimize")
    places = {value: place / max(len(ordered) - 1, 1) for place, value in enumerate(ordered)}
    return {row.number: _SHADES[1 + int((LEVELS - 2) * places[row.values[index]])] for row in complete}


# ------------------------------------------------------------------------------------------------------------- drawing


def points(
    axes: Axes, rows: Rows, xs: Sequence[float], ys: Sequence[float], names: Sequence[str] = ("", "", "")
) -> None:
    """A dot for each complete trial, a cross for each that was pruned, a larger dot for each of the best.

    `names` are what the legend calls them.
    """
    for state, name in zip(("complete", "pruned"), names[:2], strict=True):
        those = [place for place, row in enumerate(rows) if row.state == state and not row.best]
        at = [xs[place] for place in those], [ys[place] for place in those]
        style: dict[str, Any] = {"urls": [link(rows[place]) for place in those], "label": name}
        if those and state == "complete":
            axes.scatter(*at, s=22, color=MAIN, edgecolor=charts.CARD, linewidth=0.5, zorder=3, **style)
        elif those:
            axes.scatter(*at, s=16, marker="x", color=charts.INK, linewidth=0.9, **style)
    best = [place for place, row in enumerate(rows) if row.best]
    if best:
        axes.scatter(
            [xs[place] for place in best],
            [ys[place] for place in best],
            s=38,
            color=BEST,
            edgecolor=charts.CARD,
            linewidth=0.8,
            zorder=4,
            label=names[2],
            urls=[link(rows[place]) for place in best],
        )


def legend(axes: Axes) -> None:
    """One entry for each kind, above the axes."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        axes.legend(
            list(once.values()),
            list(once),
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=5 if axes.get_window_extent().width > 500 else 3,  # wider than the axes it would make them narrow
            frameon=False,
            labelcolor=charts.INK,
            fontsize=8.5,
            handlelength=1.4,
            columnspacing=1.4,
            borderpad=0.2,
            handletextpad=0.5,
        )


def link(row: Row) -> str:
    """What `drawn` finds a mark of a trial by, to say its number and values when one points at it."""
    return f"trial:{row.number}"


def drawn(figure: Figure, name: str, rows: Rows = (), goals: Sequence[Goal] = ()) -> str:
    """The figure as SVG in the page's colours."""
    text = charts.svg(figure, name, own_colours=False)
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    lines = {row.number: html.escape(row.line(goals)) for row in rows}
    return re.sub(
        r'<a xlink:href="trial:(\d+)"[^>]*>(.*?)</a>',
        lambda mark: f"<g><title>{lines[int(mark[1])]}</title>{mark[2]}</g>",
        text,
        flags=re.DOTALL,
    )
