"""In what runs differ: settings, versions and code, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labwright.cli.shared import echo, print_table, say

from labwright_instruments.runs.entries import Entry, finite, flat
from labwright_instruments.runs.query import differing, said
from labwright_instruments.runs.table import DIGITS, TITLES, cell

FACTS = ("variant", "status", "step", "seconds", "when", "tag", "note", "fault")
COMMIT = 12  # characters of a commit that are shown


def difference(entries: Sequence[Entry]) -> dict[str, Any]:
    """In what runs differ, for JSON: lists have a value for each run, None where it has none.

    Of settings and of the environment only what isn't the same is there; of metrics all.
    """
    environments, notes = [], []
    for entry in entries:
        environments.append(dict(_environment(entry.folder)))
        if not environments[-1]:
            notes.append(f"{entry.name} has no environment.json that can be read: versions and code aren't known.")
    known = [environment for environment in environments if environment]
    paths = dict.fromkeys(path for environment in known for path in environment)
    differ = [path for path in paths if len({said(environment.get(path)) for environment in known}) > 1]
    metrics = dict.fromkeys(
        f"{split}.{name}" for entry in entries for split, of in entry.metrics.items() for name in of
    )
    return {
        "runs": [entry.name for entry in entries],
        "facts": {fact: [entry.fields.get(fact) for entry in entries] for fact in FACTS},
        "settings": {path: [entry.settings.get(path) for entry in entries] for path in differing(entries)},
        "environment": {path: [environment.get(path) for environment in environments] for path in differ},
        "metrics": {name: [entry.fields.get(name) for entry in entries] for name in metrics},
        "notes": notes,
    }


def tell_difference(entries: Sequence[Entry], told: Mapping[str, Any]) -> None:
    """The same in words: a line for each thing, a column for each run; of two runs how far the second is ahead."""
    say(*(f"note: {note}" for note in told["notes"]))
    rows = [("", *told["runs"])]
    for fact, of in told["facts"].items():
        if any(of):
            rows.append((TITLES.get(fact) or fact, *(cell(entry, fact) for entry in entries)))
    print_table(rows)
    for title, what in (("settings", "settings"), ("versions and code", "environment")):
        rows = [(path, *map(_shown, values)) for path, values in told[what].items()]
        echo(f"\n{title}{'' if rows else ': the same, as far as they are known' if told['notes'] else ': the same'}")
        if rows:
            print_table(rows, indent="  ")
    if told["metrics"]:
        echo("\nmetrics")
        shown = [(name, *_measured(values)) for name, values in told["metrics"].items() if "_95/" not in name]
        print_table(shown, indent="  ")


def _measured(values: Sequence[float | None]) -> Iterator[str]:
    for value in values:
        yield "" if value is None else f"{value:.{DIGITS}g}"
    if len(values) == 2:
        first, second = values
        yield f"{second - first:+.3g}" if first is not None and second is not None and finite(second - first) else ""


def _shown(value: Any) -> str:
    return "-" if value is None else said(value)


def _environment(folder: Path) -> Iterator[tuple[str, Any]]:
    """What environment.json says of versions, machine and code, by name; the command is another for each run."""
    try:
        told = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        git = told.pop("git", None) or {}
        versions = told.pop("distributions", {})
        if git:
            changes = {True: " with changes", None: ", changes not looked at"}.get(git.get("changed"), "")
            yield "commit", f"{git['commit'][:COMMIT]}{changes}"
        for name, value in told.items():
            if name not in ("command", "recipe", "start"):
                yield name, value
        yield from ((name, version) for name, version in flat(versions) if name not in told)
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return
