"""`labwright sample`: what a recipe's model is made of."""

from __future__ import annotations

from typing import Annotated

import typer
from labwright.cli.shared import Json, Overrides, RecipeName, print_json, print_table, say


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    most: Annotated[int, typer.Option(min=1, help="How many parameters to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Show the largest parameters of a recipe's model, and how many numbers each has.

    Example: labwright sample DOMAIN/RECIPE model.width=128
    """
    import labwright as lw  # here, as what stands above is imported for `--help` too

    experiment = lw.Experiment.from_recipe(recipe, overrides or (), plugins=ctx.obj.plugins)
    say(*(f"note: {note}" for note in experiment.notes))
    model = experiment.build().model
    sizes = sorted(((one.numel(), name) for name, one in model.named_parameters()), reverse=True)[:most]
    if as_json:
        print_json({name: size for size, name in sizes})
    else:
        print_table([("parameter", "numbers"), *((name, f"{size:,}") for size, name in sizes)])
