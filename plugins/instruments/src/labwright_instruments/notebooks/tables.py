"""Experiments, runs and what came of them as tables in a notebook's own letters and colours, for light and dark."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from html import escape
from typing import Any, Protocol

import labwright as lw

Sketch = tuple[str, Sequence[str], Iterable[Sequence[object]], Iterable[str]]


class Sketched(Protocol):
    """What shows itself: a title, the heads of columns, rows, and lines below."""

    def sketch(self) -> Sketch: ...


def html(thing: Any) -> str:
    """What a notebook shows of an experiment, a run, one that was loaded, an evaluation, or what is `Sketched`."""
    return html_table(*sketch_of(thing))


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], lines: Iterable[str] = ()) -> str:
    """A table with its title above it and lines of text below."""
    body = "".join(_row("td", cells) for cells in rows)
    table = f"<table><thead>{_row('th', columns)}</thead><tbody>{body}</tbody></table>" if body else ""
    below = "".join(f"<div>{escape(line)}</div>" for line in lines)
    return f"<div><div><b>{escape(title)}</b></div>{table}{below}</div>"


def _row(tag: str, cells: Iterable[object]) -> str:
    # not in the notebook's own way, which is to the right
    texts = (f"{cell:.5g}" if isinstance(cell, float) else str(cell) for cell in cells)
    return "<tr>" + "".join(f'<{tag} style="text-align: left">{escape(text)}</{tag}>' for text in texts) + "</tr>"


@singledispatch
def sketch_of(thing: Any) -> Sketch:
    sketched: Sketched = thing
    return sketched.sketch()


@sketch_of.register
def _experiment(thing: lw.Experiment) -> Sketch:
    return repr(thing), ("part", "name", "settings"), _parts(thing.table()), (f"note: {note}" for note in thing.notes)


def _parts(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """A row for each component of a recipe, those within others too."""
    for key, value in recipe.items():
        if isinstance(value, list):
            yield from [(key, ", ".join(_name(one) for one in value), "")] * bool(value)
        else:
            yield from _part(key, value)


def _part(path: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping) and _name(value)}
    others = {key: value for key, value in table.items() if key not in (*inner, "name", "object")}
    yield path, _name(table), ", ".join(f"{key} = {_text(value)}" for key, value in others.items())
    for key, value in inner.items():
        yield from _part(f"{path}.{key}", value)


def _name(table: Mapping[str, Any]) -> str:
    return str(table.get("name") or table.get("object", ""))


def _text(value: object) -> str:
    return json.dumps(value, default=str) if isinstance(value, bool | list | dict) else str(value)


@sketch_of.register
def _run(thing: lw.Run) -> Sketch:
    data = [f"data: {thing.data.line()}"] if thing.data else []
    return repr(thing), *_measured(thing.metrics, thing.samples), [*data, *(f"note: {note}" for note in thing.notes)]


@sketch_of.register
def _evaluation(thing: lw.Evaluation) -> Sketch:
    measured = _measured({thing.split: thing.metrics}, {thing.split: thing.samples})
    return f"{thing.run}, {thing.checkpoint} weights", *measured, (f"note: {note}" for note in thing.notes)


def _measured(
    metrics: Mapping[str, Mapping[str, float]], samples: Mapping[str, int]
) -> tuple[Sequence[str], Iterable[Sequence[object]]]:
    """The heads and the rows of metrics: a column for each split, with as many samples."""
    heads = [f"{split} ({samples[split]:,} samples)" if split in samples else split for split in metrics]
    names = dict.fromkeys(name for of in metrics.values() for name in lw.headlines(of, ""))
    return ("metric", *heads), [(name, *(_figure(of, name) for of in metrics.values())) for name in names]


def _figure(metrics: Mapping[str, float], name: str) -> object:
    """A metric with its interval, if it has one; nothing if it isn't there."""
    ends = lw.interval_of(metrics, name)
    return f"{metrics[name]:.5g} ({ends})" if ends else metrics.get(name, "")


@sketch_of.register
def _loaded(thing: lw.Loaded) -> Sketch:
    title, columns, rows, lines = sketch_of(thing.experiment)
    return f"{thing.folder}, {thing.checkpoint} weights: {title}", columns, rows, [*thing.notes, *lines]
