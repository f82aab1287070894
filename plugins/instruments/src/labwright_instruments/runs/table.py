"""Runs as a table: for a terminal, as CSV, as JSON."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from labwright import LabwrightError, listed
from labwright.cli.shared import echo, print_json, print_table, say

from labwright_instruments.runs.entries import Entry
from labwright_instruments.runs.query import differing, field_named, said, short_names

DIGITS = 5  # of a metric, and three of a setting
LONGEST = 24  # characters of a setting's value
TITLES = {"seconds": "time", "tag": "tags", "fault": ""}  # of columns that aren't called as their field is
MOST_SETTINGS = 10  # columns


def columns_of(entries: Sequence[Entry], given: str) -> list[str]:
    """The fields that are shown: those given, with commas, or what tells these runs apart.

    Runs of one goal have its metrics as SPLIT.METRIC, runs of several say which theirs is. Raises LabwrightError for a
    field that no run has.
    """
    if given:
        asked = [name.strip() for name in given.split(",")]
        if not all(asked):
            raise LabwrightError(f"--columns {given!r}: write fields with commas, such as status,valid.accuracy.")
        return list(dict.fromkeys(["name", *(field_named(name, entries, "--columns") for name in asked)]))
    goals = list(dict.fromkeys(entry.goal.metric for entry in entries if entry.goal))
    if len(goals) > 1:
        measured = ["goal", "valid", "test"]
    elif goals:
        measured = [f"valid.{goals[0]}", f"test.{goals[0]}"]
    else:  # of each split the first of its metrics
        measured = list(
            dict.fromkeys(f"{split}.{next(iter(of))}" for entry in entries for split, of in entry.metrics.items() if of)
        )
    fields = [
        "name",
        "variant",
        "status",
        "step",
        *measured,
        *differing(entries),
        "when",
        "seconds",
        "tag",
        "note",
        "fault",
    ]
    return [field for field in fields if any(entry.fields.get(field) not in (None, []) for entry in entries)]


def tell(entries: Sequence[Entry], columns: Sequence[str], *, all_of_them: bool) -> None:
    """The table. Settings for which there is no room, by their number or on a terminal by its width, are left out and
    said, those first that the fewest runs have; `all_of_them` leaves out nothing.
    """
    shown = list(columns)
    settings = [field for field in columns if any(field in entry.settings for entry in entries)]
    settings.sort(key=lambda field: -sum(field in entry.settings for entry in entries))
    narrow = sys.stdout is not None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if narrow else None
    left_out: list[str] = []
    while not all_of_them and settings:
        if len(settings) <= MOST_SETTINGS and (width is None or _width(entries, shown) <= width):
            break
        left_out.append(settings.pop())
        shown.remove(left_out[-1])
    print_table(_rows(entries, shown))
    if left_out:
        fields = listed(left_out)
        say(f"note: they also differ in {fields}, for which there is no room: --columns, or --csv.")


def tell_json(entries: Sequence[Entry]) -> None:
    differ = differing(entries)
    print_json([as_json(entry, differ) for entry in entries])


def as_json(entry: Entry, differ: Sequence[str]) -> dict[str, Any]:
    """A run for JSON; `differs` has those of its settings in which the runs aren't all alike."""
    return {
        "folder": entry.name,
        "variant": entry.variant or None,
        "status": entry.status,
        "fault": entry.fault,
        "step": entry.step,
        "steps": entry.steps,
        "goal": None if entry.goal is None else vars(entry.goal),
        "metrics": entry.metrics,
        "differs": {path: entry.settings[path] for path in differ if path in entry.settings},
        "settings": entry.settings,
        "when": entry.when,
        "seconds": entry.seconds,
        "note": entry.notes.note,
        "tags": list(entry.notes.tags),
    }


def tell_csv(entries: Sequence[Entry], columns: Sequence[str]) -> None:
    """All digits, one column a field, a header first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fields = [name for column in columns for name in (("step", "steps") if column == "step" else (column,))]
    fields = list(dict.fromkeys(fields))
    writer.writerow(fields)
    for entry in entries:
        values = (entry.fields.get(field) for field in fields)
        writer.writerow(["" if value is None else _joined(value) for value in values])
    echo(out.getvalue(), nl=False)


def _joined(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else said(value)


def _rows(entries: Sequence[Entry], columns: Sequence[str]) -> list[tuple[str, ...]]:
    settings = [field for field in columns if any(field in entry.settings for entry in entries)]
    titles = short_names(settings) | TITLES
    header = tuple(titles.get(field, field) for field in columns)
    return [header, *(tuple(cell(entry, field) for field in columns) for entry in entries)]


def _width(entries: Sequence[Entry], columns: Sequence[str]) -> int:
    """How wide the table is, but for its last column, which may run over."""
    rows = _rows(entries, columns)
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    return sum(widths[:-1]) + len(rows[0][-1])


def cell(entry: Entry, field: str) -> str:
    """A run's field as it stands in a table."""
    value = entry.fields.get(field)
    if field == "step":
        return "" if entry.step is None else f"{entry.step:,} of {entry.steps:,}" if entry.steps else f"{entry.step:,}"
    if value is None:
        return ""
    if field == "seconds":
        return str(timedelta(seconds=round(value)))
    if field in entry.settings:
        text = f"{value:.3g}" if isinstance(value, float) else said(value)
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2 - 2]}...{text[-LONGEST // 2 :]}"
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
