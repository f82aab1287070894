"""`labwright study`: list studies, look at one, take its best recipe, or delete it."""

from __future__ import annotations

import csv
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from labwright import LabwrightError, listed, nearest
from labwright.cli.shared import Json, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.trial import FrozenTrial

    from labwright_study.study import Study
    from labwright_study.trial_store import TrialStore

ACTIONS = ("list", "show", "best", "export", "delete")


def verb(
    ctx: typer.Context,
    action: Annotated[str, typer.Argument(metavar="|".join(ACTIONS))],
    name: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="The study's name; for `list` a folder of studies, studies/ if left out."),
    ] = "",
    storage: Annotated[str, typer.Option(help="The URL that `tune` was given; a journal's by default.")] = "",
    trial: Annotated[int | None, typer.Option(help="For `best`: this trial instead of the best one.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="For `delete`: don't ask.")] = False,
    as_json: Json = False,
) -> None:
    """List studies, show one's trials, print a recipe, export all trials as CSV, or delete a study with its folder.

    `list` takes a folder of studies. `best` prints a complete recipe, which `labwright run` takes. `export` prints a
    row for each trial.

    Examples: labwright study show vision-digits · labwright study best vision-digits > best.toml
    """
    if action not in ACTIONS:
        raise LabwrightError(f"a study has no {action!r}{nearest(action, ACTIONS)} It has {', '.join(ACTIONS)}.")
    if action == "list":
        _list(Path(name or "studies"), as_json)
        return
    if not name:
        raise LabwrightError(f"`study {action}` takes a study's name; `labwright study list` shows those in studies/.")
    if action == "delete":
        _delete(name, storage, yes)
        return
    from labwright_study.joining import recalled
    from labwright_study.storage import reached

    study = recalled(name, storage, ctx.obj.plugins)
    with reached(study.url):
        store = study.opened()
        if action == "show":
            _show(study, store, as_json)
        elif action == "best":
            _best(study, store, trial, as_json)
        else:
            _export(study, store, as_json)


def _list(folder: Path, as_json: bool) -> None:
    """A line for each study of a folder: its trials, its goals and the best values, and who runs it."""
    from labwright_study.report.rows import number
    from labwright_study.shelf import shelved_in

    studies = list(shelved_in(folder))
    if as_json:
        print_json([study.json() for study in studies])
        return
    rows = []
    for study in studies:
        best = ", ".join(f"{metric} {number(value, 5)}" for metric, value in study.best.items())
        best = best or (f"{study.front} that no other beats" if study.front else "")
        trials = "" if study.trials is None else f"{study.trials} of {study.of}"
        states = ", ".join(f"{count} {state}" for state, count in study.states.items())
        told = study.fault or (f"run by {study.at}" if study.at else "")
        rows.append((study.name, trials, states, " and ".join(study.goals), best, told))
    print_table([("study", "trials", "", "goal", "best", ""), *rows])
    if not rows:
        say(f"note: there is no study in {folder}")


def _delete(name: str, storage: str, yes: bool) -> None:
    """Delete a study, and what labwright wrote into its folder. Raises LabwrightError if somebody runs it."""
    from labwright_study.folder import JOURNAL, cleared, marker_of
    from labwright_study.joining import stored, url_of
    from labwright_study.storage import LEASE, Lease, alone, reached

    folder = Path("studies") / name
    with reached(url_of(name, storage)):
        where, study, kept = stored(name, storage)
        study_id = study._study_id
        own = url_of(name, storage) == f"journal:{folder / JOURNAL}"
        marker = marker_of(folder)
        its = own if marker is None else marker.id == kept.get("id")
        trials = len(study.get_trials(deepcopy=False))
        if not yes and sys.stdin.isatty():
            what = f"study {name} with {trials} trials{f' and its folder {folder}' if its else ''}"
            typer.confirm(f"Delete {what}?", abort=True, err=True)
        other, _ = Lease().watched(lambda: where.get_study_system_attrs(study_id).get(LEASE), say)
        if other:
            raise LabwrightError(f"study {name!r} is being run by {other}. Wait for it, or end it.")
        with alone(folder) if its and folder.is_dir() else nullcontext():
            where.delete_study(study_id)
            rest = cleared(folder) if its else []
    say(f"study {name} is deleted")
    if rest:
        say(f"note: {folder} stays, because labwright didn't write {listed(rest)}")
    elif folder.exists() and not its:
        say(f"note: {folder} stays, because it isn't this study's")


def _show(study: Study, store: TrialStore, as_json: bool) -> None:
    from labwright_study.folder import untold

    findings = study.findings(store)
    ended = store.ended()
    over = [trial for trial in store.trials() if trial.state.is_finished()]
    if lost := untold(study.folder, (trial.number for trial in (*over, *ended))):
        of = f"trial{'s' * (len(lost) > 1)} {', '.join(map(str, lost))}"
        say(f"note: the storage doesn't have the end of {of}, which {study.folder / 'trials'} has")
    if as_json:
        print_json(findings.json() | {"of": study.count, "all": [study.summary_of(trial) for trial in ended]})
        return
    from labwright_study.report.rows import names

    say(*(f"note: {note}" for note in findings.notes))
    goals = study.described().goals_in_words()
    typer.echo(f"study {study.name}: {findings.trials} of {study.count} trials, {goals}")
    typer.echo(f"{findings.counts()}; * {_starred(study)}")
    best = {trial["number"] for trial in findings.best}
    called = names(study.space.dimensions, short=True)
    header = ("trial", "state", *(goal.metric for goal in study.goals), *called.values(), "")
    print_table([header, *(_row(study, trial, trial.number in best, called) for trial in ended)])
    if (study.folder / "report.html").is_file():
        typer.echo(f"report: {study.folder / 'report.html'}")


def _starred(study: Study) -> str:
    return "is the best" if len(study.goals) == 1 else "are those no other beats in every goal"


def _row(study: Study, trial: FrozenTrial, best: bool, called: Mapping[str, str]) -> tuple[str, ...]:
    """A trial as a row: its settings in three digits, and why it failed."""
    from labwright_study.report.rows import number, setting
    from labwright_study.trial_store import state_of

    values = dict(zip((goal.metric for goal in study.goals), trial.values or (), strict=False))
    numbers = (number(values[goal.metric], 5) if goal.metric in values else "" for goal in study.goals)
    settings = (setting(trial.params[name]) if name in trial.params else "" for name in called)
    reason = "" if trial.values else str(trial.user_attrs.get("reason", ""))
    return (f"{trial.number}{' *' if best else ''}", state_of(trial), *numbers, *settings, reason)


def _best(study: Study, store: TrialStore, number: int | None, as_json: bool) -> None:
    import tomli_w

    trials = {trial.number: trial for trial in store.ended()}
    if number is None:
        best = study.findings(store).best
        if not best:
            raise LabwrightError(f"study {study.name!r} has no complete trial yet.")
        if len(best) > 1:
            numbers = ", ".join(str(trial["number"]) for trial in best)
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


def _export(study: Study, store: TrialStore, as_json: bool) -> None:
    rows = [study.summary_of(trial) | dict(trial.user_attrs) for trial in store.ended()]
    if as_json:
        print_json(rows)
        return
    paths = list(dict.fromkeys(dimension.path for dimension in study.space.dimensions))
    metrics = [goal.metric for goal in study.goals]
    writer = csv.writer(sys.stdout)
    writer.writerow(["number", "state", *metrics, *paths, "steps", "seconds", "reason"])
    for row in rows:
        values = [row["values"].get(metric, "") for metric in metrics]
        settings = [row["settings"].get(path, "") for path in paths]
        rest = (row.get(key, "") for key in ("steps", "seconds", "reason"))
        writer.writerow([row["number"], row["state"], *values, *settings, *rest])
