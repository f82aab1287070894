"""A run's log as small line charts: SVG with the page's own colours and letters, so that it follows light and dark."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from labwright.interfaces.task import Goal

MOST_POINTS = 1000  # more are averaged in stretches
SMOOTHED_FROM = 60  # from so many points on, a running mean is drawn over them
LOG_SCALE_FROM = 30.0  # the ratio of the highest to the lowest value from which the scale is logarithmic
SERIES = ("#a10001", "#a10002", "#a10003", "#a10004")  # stand for the page's variables, see `_COLOURS`
INK, GRID, CARD = "#a10005", "#a10006", "#a10007"
_COLOURS = {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)} | {
    INK: "var(--soft)",
    GRID: "var(--line)",
    CARD: "var(--card)",
}

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Chart:
    """One chart: `note` is what one would read off it, `legend` the names of its lines where there are several."""

    title: str
    note: str
    svg: str
    legend: tuple[str, ...] = ()


def charts(log: Iterable[Mapping[str, Any]], goal: Goal) -> list[Chart]:
    """The learning curves of a run: the loss, each metric of `valid` with the goal first, the rate.

    What was measured only once has no curve.
    """
    records = list(log)
    training = [record for record in records if record["event"] == "train"]
    losses = _lines(training, "loss")
    rates = _lines(training, "lr")
    metrics: dict[str, Points] = {}
    for record in records:
        if record["event"] == "evaluation" and record["split"] == "valid":
            for name, value in record["metrics"].items():
                metrics.setdefault(name, []).append((record["step"], value))
    found = []
    if losses:
        found.append(_chart("Training loss", losses, _last(losses), smoothed=True))
    for name in sorted(metrics, key=lambda name: name != goal.metric):
        points = _finite(metrics[name])
        if not points or len(metrics[name]) < 2:
            continue
        best = _best(points, goal) if name == goal.metric else None
        note = f"best {best[1]:.4g} at step {best[0]:,}" if best else _last({name: points})
        found.append(_chart(f"Validation {name}", {name: points}, note, marked=best))
    if rates:
        found.append(_chart("Learning rate", rates, _last(rates), linear=True))
    return found


def svg(figure: Figure, label: str, *, own_colours: bool) -> str:
    """A figure as an SVG element for a page; `own_colours` keeps its colours and draws its letters as shapes.

    `label` is read out in place of the picture, and keeps the marks of one figure apart from another's.
    """
    import html

    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path" if own_colours else "none", "svg.hashsalt": label}):
        figure.savefig(out, format="svg", transparent=not own_colours, metadata=dict.fromkeys(("Date", "Creator")))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', _opening(html.escape(label), figure), text, count=1)
    if own_colours:
        return text
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    return re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)


def _opening(label: str, figure: Figure) -> str:
    width, _ = figure.get_size_inches()
    return (
        rf'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \1 role="img" '
        rf'aria-label="{label}" style="max-width: {width:.2f}in">'
    )


def _lines(records: Sequence[Mapping[str, Any]], key: str) -> dict[str, Points]:
    """The lines of `key` and of `key/PHASE`, by phase."""
    found: dict[str, Points] = {}
    for record in records:
        for name, value in record.items():
            if name == key or name.startswith(f"{key}/"):
                found.setdefault(name.removeprefix(key).removeprefix("/"), []).append((record["step"], value))
    return {name: finite for name, points in found.items() if len(points) > 1 and (finite := _finite(points))}


def _finite(points: Points) -> Points:
    return [(step, value) for step, value in points if math.isfinite(value)]


def _last(lines: Mapping[str, Points]) -> str:
    return "last " + ", ".join(f"{points[-1][1]:.4g}" for points in lines.values())


def _best(points: Points, goal: Goal) -> tuple[int, float]:
    best = points[0]
    for point in points[1:]:
        if goal.better(point[1], best[1]):
            best = point
    return best


def _chart(
    title: str,
    lines: Mapping[str, Points],
    note: str,
    *,
    smoothed: bool = False,
    linear: bool = False,
    marked: tuple[int, float] | None = None,
) -> Chart:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    figure = Figure(figsize=(5.2, 2.5), layout="constrained")
    axes = figure.subplots()
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    _frame(axes, max(points[-1][0] for points in lines.values()))
    if linear or low <= 0 or high / low < LOG_SCALE_FROM:
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high / low < 1e3 else (1.0,), numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
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
        axes.plot(
            *([one] for one in marked),
            marker="o",
            markersize=8,
            color=SERIES[0],
            markeredgecolor=CARD,
            markeredgewidth=2,
        )
    return Chart(title, note, svg(figure, title, own_colours=False), tuple(lines) if len(lines) > 1 else ())


def _frame(axes: Axes, last: int) -> None:
    """Hairlines across, a base line, few and quiet ticks, from step 0 to the last."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(length=0, labelsize=9, labelcolor=INK, pad=6)
    axes.set_xlabel("step", color=INK, fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set(color=GRID, linewidth=1.2)
    axes.margins(y=0.12)
    axes.set_xlim(-0.02 * last, 1.02 * last)


def _thinned(points: Points) -> Points:
    """At most MOST_POINTS points: the means of equally long stretches, each at its stretch's last step."""
    stride = -(-len(points) // MOST_POINTS)
    if stride == 1:
        return points
    stretches = [points[start : start + stride] for start in range(0, len(points), stride)]
    return [(stretch[-1][0], sum(value for _, value in stretch) / len(stretch)) for stretch in stretches]


def _running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Each value's mean with up to `reach` neighbours on either side, as many on one as on the other."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    means = []
    for index in range(len(values)):
        near = min(reach, index, len(values) - 1 - index)
        means.append((sums[index + near + 1] - sums[index - near]) / (2 * near + 1))
    return means
