"""`labwright runs`: run folders as a table, and what differs among them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from labwright import LabwrightError
from labwright.cli.shared import Json, echo, print_json

from labwright_instruments.runs.entries import Entry, entries_below, one_run
from labwright_instruments.runs.goals import directions
from labwright_instruments.runs.notes import read_notes, write_notes
from labwright_instruments.runs.query import chosen, sorted_by
from labwright_instruments.runs.table import columns_of, tell, tell_csv, tell_json

ACTIONS = ("list", "diff", "report", "index", "note", "tag")
CHOOSING = ("--sort", "--where", "--last")
TAKES = {  # options, but for --json
    "list": (*CHOOSING, "--columns", "--csv"),
    "report": (*CHOOSING, "--out"),
    "tag": ("--remove",),
}
RUNS = Path("runs")


def verb(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar=f"[{'|'.join(ACTIONS)}] [FOLDER]...",
            help="What to do, `list` if left out, and folders: runs, or what holds some; runs/ if left out.",
            show_default=False,
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="FIELD", help="The best first: a metric, as NAME or NAME:minimize, or a setting.")
    ] = "",
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Only these, such as 'valid.accuracy>0.9'; may be given repeatedly."),
    ] = None,
    columns: Annotated[str, typer.Option(metavar="FIELD,...", help="Instead of what tells the runs apart.")] = "",
    last: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the last N that were begun.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For `report`: the page, runs.html if left out.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="For `tag`: take it away.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="All digits, separated by commas.")] = False,
    as_json: Json = False,
) -> None:
    """List runs, say in what some of them differ, draw their curves on one page, note what you think of one.

    diff RUN RUN compares settings, versions and metrics. report FOLDER... draws curves, index FOLDER writes an
    index.html. note RUN TEXT and tag RUN NAME are kept in the run's notes.toml; an empty text takes the note away.

    Examples: labwright runs --sort accuracy --last 20 · labwright runs --where tag=good --csv · labwright runs diff
    runs/a runs/b · labwright runs tag runs/a good
    """
    action, *rest = words if words and words[0] in ACTIONS else ["list", *(words or ())]
    given = {"--sort": sort, "--where": where, "--last": last, "--columns": columns, "--csv": as_csv}
    _check_options(action, [name for name, value in (given | {"--out": out, "--remove": remove}).items() if value])
    if action in ("note", "tag"):
        _noted(action, rest, ctx, remove, as_json)
    elif action == "diff":
        _diff(rest, ctx, as_json)
    elif action == "index":
        _index(rest, ctx, as_json)
    else:
        plugins = ctx.obj.plugins
        entries = chosen(entries_below(map(Path, rest or (RUNS,)), plugins), where or (), last)
        if sort and entries:
            entries = sorted_by(entries, sort, partial(directions, plugins))
        if action == "report":
            _report(entries, out or Path("runs.html"), as_json)
        else:
            _list(entries, columns, as_csv, as_json)


def _check_options(action: str, given: Sequence[str]) -> None:
    """Raises LabwrightError for an option that an action has no use for."""
    for option in given:
        if option not in TAKES.get(action, ()):
            goes = [
                f"`runs {name}`" if name != "list" else "`runs`" for name, takes in TAKES.items() if option in takes
            ]
            raise LabwrightError(f"{option} goes with {' and '.join(goes)}, not with `runs {action}`.")


def _list(entries: Sequence[Entry], columns: str, as_csv: bool, as_json: bool) -> None:
    if as_json and as_csv:
        raise LabwrightError("--json and --csv: say which.")
    if as_json:
        tell_json(entries)
        return
    shown = columns_of(entries, columns) if entries else ["name"]
    if as_csv:
        tell_csv(entries, shown)
    elif entries:
        tell(entries, shown, all_of_them=bool(columns))
    else:
        echo("no run fulfils --where")


def _diff(words: Sequence[str], ctx: typer.Context, as_json: bool) -> None:
    from labwright_instruments.runs.diff import difference, tell_difference

    if len(words) < 2:
        raise LabwrightError(f"`runs diff` takes two runs or more, given {len(words)}: labwright runs diff RUN RUN.")
    entries = [one_run(Path(word), ctx.obj.plugins) for word in words]
    told = difference(entries)
    if as_json:
        print_json(told)
    else:
        tell_difference(entries, told)


def _report(entries: Sequence[Entry], file: Path, as_json: bool) -> None:
    if not entries:
        raise LabwrightError("no run fulfils --where, so that there is nothing to draw.")
    from labwright_instruments.runs.overlay import write_overlay
    from labwright_instruments.runs.pages import check_page

    check_page(file)
    write_overlay(file, entries)
    if as_json:
        print_json({"file": str(file), "runs": [entry.name for entry in entries]})
    else:
        echo(f"report of {len(entries)} runs: {file}")


def _index(words: Sequence[str], ctx: typer.Context, as_json: bool) -> None:
    from labwright_instruments.runs.index import write_index

    if len(words) > 1:
        raise LabwrightError(f"`runs index` takes one folder, given {', '.join(words)}. What is below it is looked at.")
    file, count = write_index(Path(words[0]) if words else RUNS, ctx.obj.plugins)
    if as_json:
        print_json({"file": str(file), "count": count})
    else:
        echo(f"index of {count}: {file}")


def _noted(action: str, words: Sequence[str], ctx: typer.Context, remove: bool, as_json: bool) -> None:
    """Keep a note or a tag. Raises LabwrightError, also if notes that are there can't be read: they aren't lost."""
    what = "TEXT" if action == "note" else "NAME"
    if len(words) != 2:
        raise LabwrightError(
            f"`runs {action}` takes a run and {what.lower()}, given {len(words)} of them: labwright runs {action} RUN "
            f"{what}. What has blanks stands in quotes."
        )
    entry = one_run(Path(words[0]), ctx.obj.plugins)
    faults: list[str] = []
    notes = read_notes(entry.folder, faults)
    if faults:
        raise LabwrightError(f"{entry.folder}: {faults[0]}. Mend it, or remove it.")
    text = words[1].strip()
    notes = notes.tagged(words[1], remove=remove) if action == "tag" else type(notes)(text, notes.tags)
    write_notes(entry.folder, notes)
    if as_json:
        print_json({"folder": entry.name, "note": notes.note, "tags": list(notes.tags)})
    else:
        echo(f"{entry.name}: {', '.join(notes.tags) or 'no tags'}; {notes.note or 'no note'}")
