"""`labwright space`: where a study of a recipe would look."""

from __future__ import annotations

import typer
from labwright.cli.shared import Json, Overrides, RecipeName, print_json, print_table


def verb(ctx: typer.Context, recipe: RecipeName, overrides: Overrides = None, as_json: Json = False) -> None:
    """Show where a study of a recipe would look: each setting that is searched, its range, and when it applies.

    Example: labwright space vision/digits model.depth=3
    """
    experiment = ctx.obj.experiment(recipe, overrides)
    from labwright_study.space import Space

    space = Space.of(experiment).json()
    if as_json:
        print_json(space)
    else:
        conditions = {name: f"if {place['if']}" if "if" in place else "" for name, place in space.items()}
        print_table([(name, place["searched"], conditions[name]) for name, place in space.items()])
