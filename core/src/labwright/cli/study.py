"""`labwright study`: look at a study, take its best recipe, or delete it."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labwright.cli.shared import Json, print_json, print_table, say
from labwright.errors import LabwrightError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.trial import FrozenTrial

    from labwright.study.book import Book
    from labwright.study.study import Study

NAME = "study"
EXAMPLE = "Examples: labwright study show vision-digits · labwright study best vision-digits > best.toml"
ACTIONS = ("show", "best", "export", "delete")


def verb(
    ctx: typer.Context,
    action: Annotated[str, typer.Argument(metavar="|".join(ACTIONS))],
    name: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")],
    storage: Annotated[str, typer.Option(help="The URL that `tune` was given; a journal's by default.")] = "",
    trial: Annotated[int | None, typer.Option(help="For `best`: this trial instead of the best one.")] = None,
    as_json: Json = False,
) -> None:
    """Show a study's trials, print a recipe, export all trials as CSV, or delete the study with its folder.

    `best` prints a complete recipe, which `labwright run` takes. `export` prints a row for each trial.
    """
    if action not in ACTIONS:
        raise LabwrightError(f"a study has no {action!r}{nearest(action, ACTIONS)} It has {', '.join(ACTIONS)}.")
    from labwright.study.joining import recalled

    study = recalled(name, storage, ctx.obj.plugins)
    book = study.opened()
    if action == "show":
        _show(study, book, as_json)
    elif action == "best":
        _best(study, book, trial, as_json)
    elif action == "export":
        _export(study, book, as_json)
    else:
        _delete(study, book)
        say(f"study {name} is deleted")


def _delete(study: Study, book: Book) -> None:
    """Delete a study that nobody runs, and its folder if it has one here. Raises LabwrightError if somebody does."""
    from labwright.study.storage import LEASE, alone

    study_id, folder = book.study._study_id, Path("studies") / study.name
    if other := study.lease.held_by(book.storage.get_study_system_attrs(study_id).get(LEASE)):
        raise LabwrightError(f"study {study.name!r} is being run by {other}. Wait for it, or end it.")
    if not (folder / "lock").is_file():
        book.storage.delete_study(study_id)
        return
    with alone(folder):
        book.storage.delete_study(study_id)
        shutil.rmtree(folder)


def _show(study: Study, book: Book, as_json: bool) -> None:
    found = study.found(book)
    rows = [study.said(trial) for trial in book.counted()]
    if as_json:
        print_json(found.json() | {"of": study.count, "all": rows})
        return
    from labwright.study.report_rows import names

    goals = " and ".join(f"{goal.direction} {goal.metric}" for goal in study.goals)
    typer.echo(f"study {study.name}: {found.trials} of {study.count} trials, {goals}")
    typer.echo(f"{found.counts()}; * {_starred(study)}")
    best = {one["number"] for one in found.best}
    called = names(study.space.dimensions, short=True)
    header = ("trial", "state", *(goal.metric for goal in study.goals), *called.values(), "")
    print_table([header, *(_row(study, trial, trial.number in best, called) for trial in book.counted())])
    if (study.folder / "report.html").is_file():
        typer.echo(f"report: {study.folder / 'report.html'}")


def _starred(study: Study) -> str:
    return "is the best" if len(study.goals) == 1 else "are those no other beats in every goal"


def _row(study: Study, trial: FrozenTrial, best: bool, called: Mapping[str, str]) -> tuple[str, ...]:
    """A trial as a row: its settings in three digits, and why it failed."""
    from labwright.study.book import state_of
    from labwright.study.report_rows import number, said

    values = dict(zip((goal.metric for goal in study.goals), trial.values or (), strict=False))
    numbers = (number(values[goal.metric], 5) if goal.metric in values else "" for goal in study.goals)
    settings = (said(trial.params[name]) if name in trial.params else "" for name in called)
    reason = "" if trial.values else str(trial.user_attrs.get("reason", ""))
    return (f"{trial.number}{' *' if best else ''}", state_of(trial), *numbers, *settings, reason)


def _best(study: Study, book: Book, number: int | None, as_json: bool) -> None:
    import tomli_w

    trials = {one.number: one for one in book.counted()}
    if number is None:
        best = study.found(book).best
        if not best:
            raise LabwrightError(f"study {study.name!r} has no complete trial yet.")
        if len(best) > 1:
            numbers = ", ".join(str(one["number"]) for one in best)
            raise LabwrightError(
                f"study {study.name!r} has {len(best)} best trials, {numbers}: say which with --trial."
            )
        number = best[0]["number"]
    if number not in trials:
        raise LabwrightError(f"study {study.name!r} has no finished trial {number}; it has {len(trials)}.")
    recipe = study.recipe_of(trials[number])
    if as_json:
        print_json(recipe)
    else:
        typer.echo(tomli_w.dumps(recipe).rstrip())


def _export(study: Study, book: Book, as_json: bool) -> None:
    rows = [study.said(trial) | dict(trial.user_attrs) for trial in book.counted()]
    if as_json:
        print_json(rows)
        return
    paths = list(dict.fromkeys(one.path for one in study.space.dimensions))
    metrics = [goal.metric for goal in study.goals]
    writer = csv.writer(sys.stdout)
    writer.writerow(["number", "state", *metrics, *paths, "steps", "seconds", "reason"])
    for row in rows:
        values = [row["values"].get(metric, "") for metric in metrics]
        settings = [row["settings"].get(path, "") for path in paths]
        writer.writerow(
            [
                row["number"],
                row["state"],
                *values,
                *settings,
                *(row.get(one, "") for one in ("steps", "seconds", "reason")),
            ]
        )
