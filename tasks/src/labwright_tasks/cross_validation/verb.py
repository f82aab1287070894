"""`labwright cross-validate`: train a recipe on each fold of its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from labwright.cli.shared import Json, Overrides, RecipeName, echo, print_json, print_table, say

if TYPE_CHECKING:
    from labwright_tasks.cross_validation.running import CrossValidation


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    folds: Annotated[int, typer.Option(min=2, help="How many.")] = 5,
    by: Annotated[
        Literal["class", "group", "time", "nothing"] | None,
        typer.Option(help="How samples are dealt out, instead of by what the data knows of them."),
    ] = None,
    valid: Annotated[
        float | None,
        typer.Option(min=0, max=0.9, help="Held out of what a fold learns from; the data's own valid, or 0.1."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of how samples are dealt out.")] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="runs/RECIPE-folds-001 and so on; one that is there is gone on with.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a recipe on each fold of its data; the mean of what they are measured at, and how sure it is.

    Folds are of what the recipe learns from and validates on; its test part isn't seen. Each fold is a run of its own,
    in fold-1 and so on, to be evaluated, asked and resumed like any other.

    Example: labwright cross-validate vision/digits --folds 5 train.epochs=10
    """
    from labwright import Outcome, ranks

    from labwright_tasks.cross_validation.running import cross_validate, folded

    ranks.join()
    experiment = ctx.obj.experiment(recipe, overrides)
    experiments, notes = folded(experiment, folds, by=by, valid=valid, seed=seed)
    say(*(f"note: {note}" for note in notes))
    result = cross_validate(experiments, folder, notes=notes, say=say)
    if isinstance(result, Outcome):
        say(f"{result.reason}; saved. The same command with --folder {result.folder.parent} goes on.")
        raise typer.Exit(130)
    if as_json:
        print_json(result.json())
    else:
        _tell(result)


def _tell(result: CrossValidation) -> None:
    from labwright_tasks.cross_validation.running import LEVEL

    rows = [("", "mean", f"{LEVEL:.0%} interval", "folds")]
    shown = {name: scores for name, scores in result.scores.items() if name.count("/") < 2 or name == result.goal}
    shown |= {f"{result.goal} of {rule}": scores for rule, scores in result.floors.items()}
    for name, scores in shown.items():
        interval = "no value" if scores.interval is None else "{:.5g} to {:.5g}".format(*scores.interval)
        rows.append((name, f"{scores.mean:.5g}", interval, " ".join(f"{value:.5g}" for value in scores.values)))
    print_table(rows)
    echo(f"the interval is Nadeau and Bengio's for folds that share samples; each fold's run is in {result.folder}")
