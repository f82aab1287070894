"""A page with the curves of several runs, one over the other, and what tells these runs apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labwright import LabwrightError, headlines
from labwright.engine import charts, duration, page
from markupsafe import Markup

from labwright_instruments.runs.entries import Entry, finite, records
from labwright_instruments.runs.pages import write_page
from labwright_instruments.runs.query import differing, said, short_names

SIZE = (5.2, 2.7)  # inches
ZOOMED_FROM = 8  # points of a chart from which those far from the others may lie outside of it
# a line and how its sample is drawn in the legend: colours alone don't tell more than four runs apart
STYLES = (
    ("solid", "var(--series-{0})"),
    ("dashed", "repeating-linear-gradient(90deg, var(--series-{0}) 0 .4rem, transparent .4rem .6rem)"),
    ("dotted", "repeating-linear-gradient(90deg, var(--series-{0}) 0 .15rem, transparent .15rem .3rem)"),
)
MOST_RUNS = len(STYLES) * len(charts.SERIES)

Points = list[tuple[int, float]]


@dataclass
class Curves:
    """What a run's log has: losses and metrics of `valid` by name, each as points (step, value); and torn lines.

    `per_epoch` are the steps of an epoch, 0.0 if the log doesn't tell.
    """

    losses: dict[str, Points] = field(default_factory=dict)
    metrics: dict[str, Points] = field(default_factory=dict)
    torn: list[int] = field(default_factory=list)
    averaged: bool = False
    per_epoch: float = 0.0


def write_overlay(file: Path, entries: Sequence[Entry]) -> None:
    """Write the page. Raises LabwrightError for more runs than can be told apart, or if it can't be written."""
    if len(entries) > MOST_RUNS:
        raise LabwrightError(
            f"{len(entries)} runs can't be told apart on one page, {MOST_RUNS} can: choose some with --where or "
            "--last, or name them."
        )
    write_page(file, "Runs", _body(entries))


def curves_of(folder: Path) -> Curves:
    """The curves of a run folder, thinned."""
    curves = Curves()
    for record in records(folder / "metrics.jsonl", curves.torn):
        if finite(record.get("epoch")) and record["epoch"] > 0:  # it is rounded: the last is the most exact
            curves.per_epoch = record["step"] / record["epoch"]
        if record["event"] == "train":
            for key, value in record.items():
                if key.split("/")[0] == "loss":
                    curves.losses.setdefault(key, []).append((record["step"], value))
        elif record["split"] == "valid":
            for key in headlines(record["metrics"], ""):
                curves.metrics.setdefault(key, []).append((record["step"], record["metrics"][key]))
    for lines in (curves.losses, curves.metrics):
        for name, points in lines.items():
            lines[name] = charts.thinned([point for point in points if finite(point[1])])
            curves.averaged |= len(points) > charts.MOST_POINTS
    return curves


def _body(entries: Sequence[Entry]) -> Iterator[str]:
    names = short_folders([entry.folder for entry in entries])
    logs = [curves_of(entry.folder) for entry in entries]
    spent = sum(entry.seconds or 0.0 for entry in entries)
    facts = {"runs": str(len(entries)), "time of all": duration(spent)}
    yield page.heading("Runs", ", ".join(names), "", "", facts)
    named = [*zip(names, entries, strict=True)]
    notes = [f"{name}: {entry.status}, {entry.fault}." for name, entry in named if entry.fault]
    notes += [
        f"{name}: {len(log.torn)} torn lines of metrics.jsonl are left out."
        for name, log in zip(names, logs, strict=True)
        if log.torn
    ]
    table = _table(names, entries)
    yield page.section("What tells them apart", *(page.warning("Note", note) for note in notes), table)
    cards = [*_charts(names, logs, entries)]
    if cards:
        averaged = f"Of more than {charts.MOST_POINTS} points means of equally long stretches are drawn."
        note = averaged if any(log.averaged for log in logs) else ""
        legend = page.card("Legend", _legend(names), note)
        yield page.section("Curves", legend, page.together(cards, "charts"))
    else:
        yield page.section("Curves", page.paragraph("None of these runs has logged more than one point of anything."))


def _table(names: Sequence[str], entries: Sequence[Entry]) -> Markup:
    differ = differing(entries)
    short = short_names(differ, ("run", "status", "step", "time", "tag", "note"))
    judged = dict.fromkeys(entry.goal.metric for entry in entries if entry.goal)
    measured = [f"{split}.{metric}" for metric in judged for split in ("valid", "test")]
    measured = [name for name in measured if any(name in entry.fields for entry in entries)]
    told = [name for name in ("tag", "note") if any(entry.fields.get(name) for entry in entries)]
    rows = []
    for name, entry in zip(names, entries, strict=True):
        values = [_value(entry.fields.get(column)) for column in (*measured, *differ)]
        seconds = "" if entry.seconds is None else duration(entry.seconds)
        texts = [_value(entry.fields.get(column)) for column in told]
        rows.append((name, entry.status, entry.step if entry.step is not None else "", *values, seconds, *texts))
    columns = ("run", "status", "step", *(name.replace(".", " ", 1) for name in measured))
    return page.table("", (*columns, *(short[path] for path in differ), "time", *told), rows)


def _value(value: Any) -> Any:
    if value is None:
        return ""
    return value if finite(value) else ", ".join(map(said, value)) if isinstance(value, list) else said(value)


def _legend(names: Sequence[str]) -> Markup:
    keys = []
    for number, name in enumerate(names):
        colour, style = _look(number)
        background = STYLES[style][1].format(colour + 1)
        key = Markup('<span class="key" style="width: 2rem; margin-left: 0; background: {}"></span>{}')
        keys.append(Markup("<div>{}</div>").format(key.format(background, name)))
    return Markup('<div class="cards" style="margin-top: .6rem; gap: .3rem 1rem">{}</div>').format(
        Markup("").join(keys)
    )


def _look(number: int) -> tuple[int, int]:
    """Which colour and which kind of line a run has."""
    return number % len(charts.SERIES), number // len(charts.SERIES)


def _charts(runs: Sequence[str], logs: Sequence[Curves], entries: Sequence[Entry]) -> Iterator[str]:
    ways = {entry.goal.metric: entry.goal.direction for entry in entries if entry.goal}
    lengths = [log.per_epoch for log in logs if log.losses or log.metrics]
    # an axis of epochs is one of all runs only if they have epochs of the same length
    per_epoch = lengths[0] if lengths and max(lengths) - min(lengths) < 0.01 * max(lengths) else 0.0
    for name in dict.fromkeys(name for log in logs for name in log.losses):
        title = "Training loss" if name == "loss" else f"Training {name}"
        if chart := _chart(title, runs, [log.losses.get(name, []) for log in logs], "", per_epoch):
            yield chart
    metrics = dict.fromkeys(name for log in logs for name in log.metrics)
    for name in sorted(metrics, key=lambda name: name not in ways):
        note = {"maximize": "higher is better", "minimize": "lower is better"}.get(ways.get(name) or "", "")
        if chart := _chart(f"Validation {name}", runs, [log.metrics.get(name, []) for log in logs], note, per_epoch):
            yield chart


def _chart(title: str, runs: Sequence[str], lines: Sequence[Points], note: str, per_epoch: float) -> str:
    """A chart with a line for each run; nothing if none has two points."""
    drawn: Mapping[int, Points] = {number: points for number, points in enumerate(lines) if points}
    if not any(len(points) > 1 for points in drawn.values()):
        return ""
    canvas, axes = charts.figure(*SIZE)
    values = [value for points in drawn.values() for _, value in points]
    low, high = min(values), max(values)
    log = low > 0 and high / low >= charts.LOG_SCALE_FROM
    if log:
        axes.set_yscale("log")
    elif len(values) >= ZOOMED_FROM:
        low, high = charts.zoomed(values)
    charts.ticks(axes.yaxis, low, high, log=log)
    axes.margins(y=0.12)
    if outside := sum(not low <= value <= high for value in values):
        outside_it = f"{outside} far points lie outside" if outside > 1 else "a far point lies outside"
        note = "; ".join(filter(None, (note, outside_it)))
        axes.set_ylim(low - 0.12 * (high - low), high + 0.12 * (high - low))
    last = max(points[-1][0] for points in drawn.values())
    charts.counted(axes, "step", most=6)
    axes.set_xlim(-0.02 * last, 1.02 * last)
    if per_epoch:
        charts.epochs(axes, per_epoch)
    for number, points in drawn.items():
        colour, style = _look(number)
        steps, heights = [step for step, _ in points], [value for _, value in points]
        marker = "o" if len(points) <= 12 else ""
        axes.plot(
            steps,
            heights,
            color=charts.SERIES[colour],
            linewidth=1.6,
            linestyle=STYLES[style][0],
            marker=marker,
            markersize=3.2,
        )
        told = [f"title:{runs[number]}, step {step:,}: {value:.4g}" for step, value in points]
        axes.scatter(steps, heights, s=90, color=(0, 0, 0, 0), urls=told, zorder=5)  # what is pointed at
    chart: str = page.chart(title, note, charts.svg(canvas, title, own_colours=False), ())
    return chart


def short_folders(folders: Sequence[Path]) -> list[str]:
    """The folders without what they all begin with."""
    parts = [folder.parts for folder in folders]
    shared = 0
    while all(len(own) > shared + 1 and own[shared] == parts[0][shared] for own in parts):
        shared += 1
    return ["/".join(own[shared:]) for own in parts]
