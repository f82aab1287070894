"""`labwright run`: train a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labwright.base.elsewhere import brought
from labwright.base.errors import LabwrightError
from labwright.cli.resume import go_on
from labwright.cli.shared import Json, Overrides, Processes, RecipeName, join_or_start, print_outcome, say


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    variant: Annotated[str, typer.Option(help="One of the recipe's variants; RECIPE:VARIANT is the same.")] = "",
    folder: Annotated[Path | None, typer.Option(help="The run folder; by default runs/RECIPE-001 and so on.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Take some steps, say time, memory and disk.")] = False,
    or_resume: Annotated[bool, typer.Option("--or-resume", help="Go on with what --folder has begun.")] = False,
    folds: Annotated[int | None, typer.Option(min=2, help="A run of each: see `labwright cross-validate`.")] = None,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Train a recipe: evaluate, save, log and report into a run folder.

    Example: labwright run vision/digits model.width=48 train.epochs=5
    """
    join_or_start(processes)
    recipe = f"{recipe}:{variant}" if variant else recipe
    if folds is not None:
        if dry_run or or_resume:
            raise LabwrightError("--folds makes runs of its own; it goes neither with --dry-run nor --or-resume.")
        cross_validate = ctx.obj.plugins.target(ctx.obj.plugins.verb("cross-validate"))
        cross_validate(ctx, recipe, overrides, folds=folds, folder=folder, as_json=as_json)
        return
    experiment = ctx.obj.experiment(recipe, overrides)
    if or_resume:
        from labwright.runs.resume import begun

        if folder is None:
            raise LabwrightError("--or-resume needs --folder: it says which run is gone on with.")
        if begun(folder, experiment, say):
            go_on(folder, ctx.obj.plugins, as_json)
            return
    if dry_run:
        brought("instruments", "tell_dry_run", "--dry-run")(experiment, as_json)
        return
    outcome = experiment.run(folder).outcome
    assert outcome is not None
    print_outcome(outcome, as_json, experiment.notes)
