"""A run's log as learning curves: the loss, the metrics of `valid`, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from labwright.interfaces.task import Goal, headlines
from labwright.report.charts import CARD, LOG_SCALE_FROM, SERIES, counted, figure, svg, ticks

SIZE = (5.2, 2.5)  # inches
MOST_POINTS = 1000  # more are averaged in stretches
SMOOTHED_FROM = 60  # from so many points on, a running mean is drawn over them

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Curve:
    """One chart: `note` is what one would read off it, `legend` the names of its lines where there are several."""

    title: str
    note: str
    svg: str
    legend: tuple[str, ...] = ()


def curves(log: Iterable[Mapping[str, Any]], goal: Goal) -> list[Curve]:
    """The learning curves of a run: the loss, each metric of `valid` with the goal first, the learning rate.

    What was measured only once has no curve.
    """
    training: dict[str, Points] = {}
    metrics: dict[str, Points] = {}
    for record in log:
        if record["event"] == "train":
            values, lines = record, training
        elif record["event"] == "evaluation" and record["split"] == "valid":
            values, lines = record["metrics"], metrics
        else:
            continue
        for name, value in values.items():
            lines.setdefault(name, []).append((record["step"], value))
    losses, rates = _phases(training, "loss"), _phases(training, "lr")
    charts = []
    if losses:
        charts.append(_chart("Training loss", losses, _last(losses), smoothed=True))
    for name in headlines(metrics, goal.metric):
        points = _finite(metrics[name])
        if not points or len(metrics[name]) < 2:
            continue
        marked = best(points, goal) if name == goal.metric else None
        note = f"best {marked[1]:.4g} at step {marked[0]:,}" if marked else _last({name: points})
        charts.append(_chart(f"Validation {name}", {name: points}, note, marked=marked))
    if rates:
        charts.append(_chart("Learning rate", rates, _last(rates), linear=True))
    return charts


def _phases(training: Mapping[str, Points], key: str) -> dict[str, Points]:
    """The lines of `key` and of `key/PHASE` or `key/PART`, by phase or part; of one point there is none."""
    # of a loss with named parts the sum has no name
    lines = {name.partition("/")[2] or "sum": points for name, points in training.items() if name.split("/")[0] == key}
    return {name: finite for name, points in lines.items() if len(points) > 1 and (finite := _finite(points))}


def _finite(points: Points) -> Points:
    return [(step, value) for step, value in points if math.isfinite(value)]


def _last(lines: Mapping[str, Points]) -> str:
    return "last " + ", ".join(f"{points[-1][1]:.4g}" for points in lines.values())


def best(points: Points, goal: Goal) -> tuple[int, float]:
    """The first of the best points."""
    return (max if goal.direction == "maximize" else min)(points, key=itemgetter(1))


def _chart(
    title: str,
    lines: Mapping[str, Points],
    note: str,
    *,
    smoothed: bool = False,
    linear: bool = False,
    marked: tuple[int, float] | None = None,
) -> Curve:
    canvas, axes = figure(*SIZE)
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    log = not linear and low > 0 and high / low >= LOG_SCALE_FROM
    if log:
        axes.set_yscale("log")
    ticks(axes.yaxis, low, high, log=log)
    axes.margins(y=0.12)
    last = max(points[-1][0] for points in lines.values())
    counted(axes, "step", most=6)
    # a little beyond the ends, so that no marker is cut
    axes.set_xlim(-0.02 * last, 1.02 * last)
    for number, points in enumerate(lines.values()):
        colour = SERIES[number % len(SERIES)]
        drawn = _thinned(points)
        steps, heights = [step for step, _ in drawn], [value for _, value in drawn]
        if smoothed and len(drawn) >= SMOOTHED_FROM:
            axes.plot(steps, heights, color=colour, linewidth=0.8, alpha=0.35)
            heights = _running_mean(heights, len(drawn) // 40 + 1)
        marker = "o" if len(drawn) <= 40 else ""
        axes.plot(steps, heights, color=colour, linewidth=1.8, marker=marker, markersize=3.2)
    if marked is not None:
        step, value = marked
        style: dict[str, Any] = {"color": SERIES[0], "markeredgecolor": CARD, "markeredgewidth": 2}
        axes.plot([step], [value], marker="o", markersize=8, **style)
    return Curve(title, note, svg(canvas, title, own_colours=False), tuple(lines) if len(lines) > 1 else ())


def _thinned(points: Points) -> Points:
    """At most MOST_POINTS points: the means of equally long stretches, each at its stretch's last step."""
    stride = -(-len(points) // MOST_POINTS)
    if stride == 1:
        return points
    stretches = [points[start : start + stride] for start in range(0, len(points), stride)]
    return [(stretch[-1][0], sum(value for _, value in stretch) / len(stretch)) for stretch in stretches]


def _running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Each value's mean with up to `reach` neighbours on either side, as many on one as on the other."""
    sums = np.cumsum([0.0, *values])
    index = np.arange(len(values))
    near = np.minimum(reach, np.minimum(index, index[::-1]))
    means: list[float] = ((sums[index + near + 1] - sums[index - near]) / (2 * near + 1)).tolist()
    return means
