"""`labwright survey`: a statistic of the targets that a recipe's task is to predict."""

from __future__ import annotations

from typing import Annotated

import typer
from labwright.cli.shared import Json, Overrides, RecipeName, print_json, print_table, say


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    by: Annotated[str, typer.Option(metavar="STATISTIC", help="One of `labwright list statistics`.")] = "survey/middle",
    as_json: Json = False,
) -> None:
    """Say a statistic of the targets in each part of a recipe's data.

    Example: labwright survey survey/plane --by survey/spread
    """
    import labwright as lw
    import torch

    statistic = ctx.obj.plugins.load("statistic", by)()
    experiment = lw.Experiment.from_recipe(recipe, overrides or (), plugins=ctx.obj.plugins)
    say(*(f"note: {note}" for note in experiment.notes))
    data = experiment.prepared().data
    parts = {name: data.split(name) for name in ("train", "valid", "test")}
    said = {
        name: statistic.of(part.fetch(torch.arange(len(part)), 0, 0).targets.flatten().float())
        for name, part in parts.items()
        if part is not None
    }
    if as_json:
        print_json({"statistic": by, "parts": said})
    else:
        print_table([(name, f"{value:.4f}") for name, value in said.items()])
