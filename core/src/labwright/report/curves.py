"""A run's log as learning curves: the loss, the metrics of `valid` and of what else was measured, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from operator import itemgetter
from typing import Any

from markupsafe import Markup

from labwright.interfaces.task import Goal, headlines
from labwright.report import charts, page

SIZE = (4.6, 2.8)  # inches
ZOOMED_FROM = 8  # points of a chart from which those far from the others may lie outside of it

Points = list[tuple[int, float]]
Lines = Mapping[str, Points]


def curves(log: Iterable[Mapping[str, Any]], goal: Goal, per_epoch: float, loss: str = "") -> list[Markup]:
    """The learning curves of a run: the loss, each metric with the goal first, the learning rate.

    What was measured only once has no curve. The metric that is what the `loss` is, by its name, stands beside it.
    """
    training: dict[str, Points] = {}
    measured: dict[str, dict[str, Points]] = {}  # by metric and split
    for record in log:
        train = record["event"] == "train"
        for name, value in (record if train else record["metrics"]).items():
            lines = training if train else measured.setdefault(name, {})
            lines.setdefault(name if train else record["split"], []).append((record["step"], value))
    losses, rates = _phases(training, "loss"), _phases(training, "lr")
    metrics = {name: _drawable(measured[name]) for name in headlines(measured, goal.metric)}
    metrics = {name: lines for name, lines in metrics.items() if lines}
    cards: list[Markup] = []
    if losses:
        beside = metrics.pop(loss, {}) if len(losses) == 1 else {}
        title = f"Training loss and {loss}" if beside else "Training loss"
        cards.append(_chart(title, losses, beside, per_epoch, goal if beside and loss == goal.metric else None))
    for name, lines in metrics.items():
        title = f"Validation {name}" if [*lines] == ["valid"] else f"{name} of {', '.join(lines)}"
        cards.append(_chart(title, {}, lines, per_epoch, goal if name == goal.metric else None))
    return [*cards, _rates(rates, per_epoch)] if rates else cards


def _phases(training: Mapping[str, Points], key: str) -> dict[str, Points]:
    """The lines of `key` and of `key/PHASE` or `key/PART`, by phase or part; a sum is called like the key."""
    own = {name.partition("/")[2] or key: points for name, points in training.items() if name.split("/")[0] == key}
    return _drawable(own)


def _drawable(lines: Lines) -> dict[str, Points]:
    """The lines of which there are several points, without those that are no number."""
    finite = {name: [point for point in points if math.isfinite(point[1])] for name, points in lines.items()}
    return {name: points for name, points in finite.items() if points and len(lines[name]) > 1}


def best(points: Points, goal: Goal) -> tuple[int, float]:
    """The first of the best points."""
    return (max if goal.direction == "maximize" else min)(points, key=itemgetter(1))


def _chart(title: str, trained: Lines, measured: Lines, per_epoch: float, goal: Goal | None) -> Markup:
    """Losses and what was measured of splits in one chart; of a goal the best of valid is marked."""
    lines = {**trained, **measured}
    marked = [best(measured["valid"], goal)] if goal and "valid" in measured else []
    last = ", ".join(f"{points[-1][1]:.4g}" for points in lines.values())
    notes = [f"best {value:.4g} at step {step:,}" for step, value in marked] or [f"last {last}"]
    for name, points in [*trained.items()][:1]:  # of all phases there are as many
        lengths = sorted(after - before for (before, _), (after, _) in pairwise(charts.thinned(points)))
        if lengths and (steps := lengths[len(lengths) // 2]) > 1:
            notes.append(f"each point of {name} is the mean of {steps:,} steps")
    if (stretch := -(-max(map(len, measured.values()), default=0) // charts.MOST_POINTS)) > 1:
        notes.append(f"each point of {', '.join(measured)} is the mean of {stretch:,} evaluations")
    drawn = {name: charts.thinned(points) for name, points in lines.items()}
    return _drawn(title, "; ".join(notes), drawn, per_epoch, {"valid": marked})


def _rates(lines: Lines, per_epoch: float) -> Markup:
    """Learning rates as they were logged, with the first and the highest of each."""
    drawn: dict[str, Points] = {}
    marks: dict[str, Points] = {}
    notes: list[str] = []
    for name, points in lines.items():
        first, peak, last = points[0], max(points, key=itemgetter(1)), points[-1]
        drawn[name] = sorted({*points[:: -(-len(points) // charts.MOST_POINTS)], first, peak, last})
        marks[name] = [first, peak]
        rates = f"first {first[1]:.4g}, highest logged {peak[1]:.4g} at step {peak[0]:,}, last {last[1]:.4g}"
        notes.append(f"{name}: {rates}" if len(lines) > 1 else rates)
    return _drawn("Learning rate", "; ".join(notes), drawn, per_epoch, marks, linear=True)


def _drawn(title: str, note: str, lines: Lines, per_epoch: float, marks: Lines, *, linear: bool = False) -> Markup:
    canvas, axes = charts.figure(*SIZE)
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    log = not linear and low > 0 and high / low >= charts.LOG_SCALE_FROM
    if log:
        axes.set_yscale("log")
    elif not linear and len(values) >= ZOOMED_FROM:
        low, high = charts.zoomed(values)
    charts.ticks(axes.yaxis, low, high, log=log)
    axes.margins(y=0.12)
    if outside := sum(not low <= value <= high for value in values):
        note += f"; {outside} far points lie outside" if outside > 1 else "; a far point lies outside"
        axes.set_ylim(low - 0.12 * (high - low), high + 0.12 * (high - low))
    last = max(points[-1][0] for points in lines.values())
    charts.counted(axes, "step", most=6)
    # a little beyond the ends, so that no marker is cut
    axes.set_xlim(-0.02 * last, 1.02 * last)
    charts.epochs(axes, per_epoch)
    for number, (name, points) in enumerate(lines.items()):
        colour = charts.SERIES[number % len(charts.SERIES)]
        steps, heights = [step for step, _ in points], [value for _, value in points]
        marker = "o" if len(points) <= 40 else ""
        axes.plot(steps, heights, color=colour, linewidth=1.8, marker=marker, markersize=3.2)
        told = [f"title:{name}, step {step:,}, epoch {step / per_epoch:.4g}: {value:.4g}" for step, value in points]
        axes.scatter(steps, heights, s=90, color=(0, 0, 0, 0), urls=told, zorder=5)  # what is pointed at
        for step, value in marks.get(name, []):
            axes.plot([step], [value], "o", color=colour, markersize=8, markeredgecolor=charts.CARD, markeredgewidth=2)
    drawn = charts.svg(canvas, f"{title}: {note}", own_colours=False)
    return page.chart(title, note, drawn, list(lines) if len(lines) > 1 else ())
