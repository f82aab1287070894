"""The figures of a study's report."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from labwright import Goal
from labwright.engine import charts

from labwright_study.dimension import Dimension
from labwright_study.importance import Importance
from labwright_study.report.axes import (
    BEST,
    FAILED,
    MAIN,
    RECIPE,
    Scale,
    bends,
    drawn,
    heights,
    legend,
    link,
    near,
    numbered,
    points,
    shades,
    span,
    thinned,
)
from labwright_study.report.rows import Rows, number

MOST_POINTS = 600  # where trials follow one another or goals meet, in the figures of all goals together
MOST_IN_PANEL, MOST_IN_PANELS = 300, 5_000  # of a setting, and in all panels together
MOST_LINES = 150  # side by side
MOST_NAMED = 15  # of a front
PAGE, HALF, PANEL = 10.6, 5.2, 2.6  # widths in inches
ABSENT = -0.14  # the place of a setting that a trial doesn't have


def pairs(goals: Sequence[Goal]) -> list[tuple[int, int]]:
    """Which goals are shown against each other, the later one across."""
    return [(second, first) for first, second in itertools.combinations(range(len(goals)), 2)]


def history(rows: Rows, goals: Sequence[Goal], goal: int) -> tuple[str, str]:
    """Every trial's value of a goal, and the best so far; and what one would read off it."""
    figure, axes = charts.figure(HALF, 2.7) if goal else charts.figure(PAGE, 3.0)
    outside = heights(axes, rows, goals[goal], goal)
    valued = [row for row in rows if row.values]
    shown = thinned(valued, goals[goal], goal, MOST_POINTS // len(goals))
    names = "complete", "pruned", "front" if len(goals) > 1 else ""
    points(axes, shown, [row.number for row in shown], [outside(row.values[goal]) for row in shown], names)
    numbers, values, best = [], [], None
    for row in rows:
        if row.state == "complete" and goals[goal].better(row.values[goal], best):
            best = row.values[goal]
            numbers.append(row.number)
            values.append(best)
    if best is not None:
        axes.step(
            [*numbers, rows[-1].number], [*values, best], where="post", color=BEST, linewidth=1.6, label="best so far"
        )
    for row in valued:
        if row.baseline:
            axes.axhline(
                row.values[goal], color=RECIPE, linewidth=1.2, linestyle=(0, (4, 3)), label="the recipe itself"
            )
    lost = [row.number for row in rows if row.state in ("diverged", "failed")]
    axes.plot(
        lost,
        [0.03] * len(lost),
        "x",
        color=FAILED,
        markersize=5,
        transform=axes.get_xaxis_transform(),
        label="diverged or failed" if lost else "",
    )
    numbered(axes, rows[-1].number, "trial")
    legend(axes)
    edge = sum(1 for row in valued if row.values[goal] != outside(row.values[goal]))
    notes = [f"best {number(best)} at trial {numbers[-1]}"] if best is not None else []
    notes += [f"{edge} far from it, at the edge"] if edge else []
    return drawn(figure, f"{goals[goal].metric} of each trial", rows, goals), ", ".join(notes)


def intermediate(rows: Rows, goals: Sequence[Goal], goal: int) -> tuple[str, str]:
    """A goal after each evaluation, for each trial; those that were pruned end. And what one has to know of it."""
    figure, axes = charts.figure(HALF, 2.7)
    shown = thinned([row for row in rows if row.reports], goals[goal], goal, MOST_LINES)
    colours = shades(shown, goals[goal], goal)
    for row in reversed(shown):
        values = [report[goal] for report in row.reports]
        style: dict[str, Any] = {"color": colours.get(row.number, charts.INK), "linewidth": 0.9, "url": link(row)}
        if row.state == "complete" and (row.baseline or row.best):
            style |= {"linewidth": 2, "color": BEST if row.best else RECIPE, "zorder": 3}
            style |= {"label": "the recipe itself" if not row.best else "front" if len(goals) > 1 else "best"}
        axes.plot(range(1, len(values) + 1), values, **style)
        if row.state != "complete":
            axes.plot(len(values), values[-1], "x", color=charts.INK, markersize=4, label="pruned")
    every = np.array([report[goal] for row in shown for report in row.reports])
    every = every[np.isfinite(every)]
    low, high = float(every.min()), float(every.max())
    log = bends(low, high, goals[goal])
    low, high = (low, high) if log else charts.zoomed(every.tolist())
    span(axes, low, high, log=log)
    valued = sum(1 for row in rows if row.reports)
    notes = [f"{len(shown)} of {valued:,} trials"] if len(shown) < valued else []
    if outside := int(((every < low) | (every > high)).sum()):
        notes.append(f"{outside:,} far values lie outside")
    numbered(axes, max(len(row.reports) for row in shown), "evaluation", first=1)
    legend(axes)
    return drawn(figure, f"{goals[goal].metric} after each evaluation", shown, goals), ", ".join(notes)


def times(rows: Rows) -> str:
    """How long each trial took."""
    figure, axes = charts.figure(HALF, 2.7)
    width = max(0.5, min(6.0, 220 / (rows[-1].number + 1)))
    shown = rows[:: -(-len(rows) // MOST_POINTS)]
    for state, colour in (("complete", MAIN), ("pruned", charts.INK), ("diverged", FAILED), ("failed", FAILED)):
        those = [row for row in shown if row.state == state]
        if those:
            numbers, seconds = [row.number for row in those], [row.seconds for row in those]
            axes.vlines(numbers, 0, seconds, colour, linewidth=width, label=state, urls=[link(row) for row in those])
    span(axes, 0.0, max(row.seconds for row in shown), log=False)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("seconds", color=charts.INK, fontsize=9)
    numbered(axes, rows[-1].number, "trial")
    legend(axes)
    return drawn(figure, "Seconds of each trial", rows)


def front(rows: Rows, goals: Sequence[Goal], across: int, up: int) -> str:
    """Two goals against each other, with the trials of the front."""
    alone = len(goals) == 2
    figure, axes = charts.figure(PAGE if alone else HALF, 3.9 if alone else 3.2)
    outside = heights(axes, rows, goals[across], across, across=True), heights(axes, rows, goals[up], up)
    valued = thinned([row for row in rows if row.values], goals[up], up, MOST_POINTS // len(pairs(goals)))
    xs, ys = [outside[0](row.values[across]) for row in valued], [outside[1](row.values[up]) for row in valued]
    points(axes, valued, xs, ys, ("complete", "pruned, at its last values", "front"))
    best = sorted((row for row in rows if row.best), key=lambda row: row.values[across])
    at = [row.values[across] for row in best], [row.values[up] for row in best]
    if alone:  # what is reached by trials that are as good across
        axes.step(
            *at, where="post" if goals[across].direction == "minimize" else "pre", color=BEST, linewidth=1.2, alpha=0.6
        )
    for row in valued:
        if row.baseline:
            place = row.values[across], row.values[up]
            style: dict[str, Any] = {"color": RECIPE, "markersize": 6.5, "markeredgecolor": charts.CARD, "zorder": 5}
            axes.plot(*place, "D", label="the recipe itself", **style)
        if row.best and alone and len(best) <= MOST_NAMED:
            place = row.values[across], row.values[up]
            axes.annotate(str(row.number), place, (5, 5), textcoords="offset points", color=charts.INK, fontsize=8)
    axes.set_xlabel(goals[across].metric, color=charts.INK, fontsize=9)
    axes.set_ylabel(goals[up].metric, color=charts.INK, fontsize=9)
    axes.grid(axis="x", color=charts.GRID, linewidth=0.8)
    legend(axes)
    return drawn(figure, f"{goals[up].metric} over {goals[across].metric}", rows, goals)


def bars(importances: Sequence[Importance], names: Mapping[str, str]) -> str:
    """How much each setting mattered, and how much of it chance would."""
    figure, axes = charts.figure(PAGE, 0.6 + 0.24 * len(importances))
    for place, importance in enumerate(importances):
        axes.barh(place, importance.share, height=0.62, color=MAIN if importance.certain else charts.GRID)
        axes.plot([importance.chance] * 2, [place - 0.4, place + 0.4], color=charts.INK, linewidth=1.4)
    axes.set_yticks(range(len(importances)), [names[importance.name] for importance in importances])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=charts.GRID, linewidth=0.8)
    axes.set_xlim(0, min(1.0, 1.4 * importances[0].share))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    return drawn(figure, "Importance of each setting")


def panels(rows: Rows, dimensions: Sequence[Dimension], goals: Sequence[Goal], goal: int) -> Iterator[str]:
    """Each setting against a goal, one figure after the other."""
    figure, axes = charts.figure(PANEL, 1.9)  # made once: making it takes as long as drawing it
    figure.set_layout_engine(None)  # so does finding out the margins, which are the same for all
    figure.subplots_adjust(left=0.17, bottom=0.14, right=0.98, top=0.96)
    outside = heights(axes, rows, goals[goal], goal)
    axes.set_xlim(-0.08, 1.08)
    axes.tick_params(labelsize=8)
    most = min(MOST_IN_PANEL, MOST_IN_PANELS // (len(dimensions) * len(goals)))
    for dimension in dimensions:
        mine = [row for row in rows if dimension.name in row.params and row.values]
        shown, scale = thinned(mine, goals[goal], goal, most), Scale.of(dimension)
        xs = [scale.place(row.params[dimension.name], row) for row in shown]
        points(axes, shown, xs, [outside(row.values[goal]) for row in shown])
        axes.set_xticks(*zip(*scale.ticks(), strict=True))
        yield drawn(figure, f"{goals[goal].metric} over {dimension.name}", shown, goals)
        for mark in list(axes.collections):
            mark.remove()


def parallel(rows: Rows, dimensions: Sequence[Dimension], names: Mapping[str, str], goals: Sequence[Goal]) -> str:
    """Each complete trial as a line through its settings to its values; the better, the stronger."""
    complete = [row for row in rows if row.state == "complete"]
    shown = thinned(complete, goals[0], 0, MOST_LINES)
    colours = shades(shown, goals[0], 0)
    settings = [Scale.of(dimension) for dimension in dimensions]
    values = [Scale.over(*near(complete, goal, index), goal) for index, goal in enumerate(goals)]
    figure, axes = charts.figure(PAGE, 3.9)
    for row in reversed(shown):
        at = [
            scale.place(row.params[dimension.name], row) if dimension.name in row.params else ABSENT
            for dimension, scale in zip(dimensions, settings, strict=True)
        ]
        at += [scale.place(value, row) for scale, value in zip(values, row.values, strict=True)]
        style: dict[str, Any] = {"color": colours[row.number], "linewidth": 1.0}
        if row.best:
            style = {"color": BEST, "linewidth": 2.2 if len(goals) == 1 else 1.2, "zorder": 3}
        axes.plot(at, url=link(row), **style)
    for place, scale in enumerate([*settings, *values]):
        axes.plot([place, place], [0, 1], color=charts.GRID, linewidth=1.2, zorder=1)
        for height, text in scale.ticks():
            box = {"facecolor": charts.CARD, "edgecolor": "none", "pad": 0.8, "alpha": 0.75}
            style = {"color": charts.INK, "fontsize": 8, "va": "center", "zorder": 5, "bbox": box}
            axes.annotate(text, (place, height), (5, 0), textcoords="offset points", **style)
    absent = any(dimension.name not in row.params for row in shown for dimension in dimensions)
    axes.set_xlim(-0.15, len(settings) + len(values) - 0.4)
    axes.set_ylim(-0.2 if absent else -0.04, 1.05)
    axes.set_yticks([ABSENT] if absent else [], ["not there"] if absent else [])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    titles = [*(names[dimension.name] for dimension in dimensions), *(goal.metric for goal in goals)]
    axes.set_xticks(range(len(titles)), titles, rotation=22, ha="right", rotation_mode="anchor")
    return drawn(figure, "Settings of each complete trial", shown, goals)
