"""What several verbs need: the installed plugins, output as text or JSON, options they have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from labwright.base.files import json_text, mute, printable
from labwright.plugin.lockfile import check
from labwright.plugin.registry import Plugins

if TYPE_CHECKING:
    from labwright.interfaces.run import Outcome
    from labwright.plugin.discovery import Plugin

# Where results go while stdout is kept for JSON.
_RESULTS: ContextVar[TextIO | None] = ContextVar("results", default=None)


@contextmanager
def results_apart() -> Iterator[None]:
    """While this lasts, stdout is for results: what else is printed, also by processes begun here, goes to stderr."""
    results = sys.stdout
    whole = results is not None and results is sys.__stdout__ and sys.stderr is sys.__stderr__ is not None
    if whole:  # and not captured by whoever called
        results.flush()
        results = os.fdopen(os.dup(1), "w", encoding=results.encoding, errors=results.errors)
        os.dup2(2, 1)
    token = _RESULTS.set(results)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _RESULTS.reset(token)
        if whole:
            os.dup2(results.fileno(), 1)
            with suppress(OSError):  # of what is written, each line was flushed
                results.close()


def _apart(ctx: typer.Context, asked: bool) -> bool:
    if asked:
        ctx.with_resource(results_apart())
    return asked


Json = Annotated[
    bool, typer.Option("--json", callback=_apart, help="Results as JSON on stdout, all else that is printed on stderr.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/vision-digits-001.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, or a file that ends in .toml.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Settings to change, such as train.epochs=5.")
]
OtherData = Annotated[
    bool, typer.Option("--other-data", help="Go on although the data's samples are not those of the run.")
]


@dataclass
class Context:
    """What the options before the verb said."""

    blocked: tuple[str, ...]
    local: tuple[Path, ...] = ()
    locked: bool = False
    trains: bool = False

    @cached_property
    def plugins(self) -> Plugins:
        found = Plugins.discover(self.blocked, self.local)
        absent = [one for one in found.plugins if one.state == "quarantined"] if self.trains else []
        say(*(f"note: {note}" for note in found.notes), *map(did_not_load, absent))
        if self.locked or self.trains:
            said = check(found.loaded, refuse=self.locked)
            say(*([f"warning: {said}"] if said else []))
        return found


def did_not_load(plugin: Plugin) -> str:
    """The line about a plugin that is set aside."""
    return f"plugin {plugin.name} did not load: {plugin.reason}"


def say(*lines: str) -> None:
    """Lines for the person, on stderr; nobody there to read them, as with a full disk, is no reason to end."""
    try:
        for line in lines:
            typer.echo(_safe(line), err=True)
    except OSError:
        mute(sys.stderr)


def echo(text: str = "", *, nl: bool = True) -> None:
    """Some of the results, on stdout. What can't be said in its encoding is escaped."""
    results = _RESULTS.get() or sys.stdout
    encoding = getattr(results, "encoding", None) or "utf-8"
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=nl, file=results)


def _safe(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def print_json(value: Any) -> None:
    echo(json_text(value, indent=2, default=str))


def print_table(rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Aligned columns, two spaces apart; the last one runs free."""
    rows = [[_safe(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        echo((indent + "  ".join([*cells, row[-1]])).rstrip())


def print_outcome(outcome: Outcome, as_json: bool, notes: Sequence[str] = ()) -> None:
    """How a run ended, and the exit code that goes with it."""
    if as_json:
        print_json(outcome.json() | {"notes": [*notes, *outcome.notes]})
    else:
        print_metrics(outcome.metrics, outcome.samples)
    if outcome.status == "interrupted":
        say(f"{outcome.reason}; saved. Go on with: labwright resume {outcome.folder}")
        raise typer.Exit(130)


def print_metrics(metrics: Mapping[str, Mapping[str, float]], samples: Mapping[str, int]) -> None:
    """One line for each split: as many digits as tell runs apart, and on how many samples they were measured."""
    rows = []
    for split, one in metrics.items():
        numbers = [f"{key} {value:.5g}" for key, value in one.items()]
        rows.append((split, "  ".join([*numbers, f"({samples[split]:,} samples)"] if split in samples else numbers)))
    print_table(rows)
