"""`labwright schema`: JSON Schema of recipes, for editors."""

from __future__ import annotations

import typer
from labwright.cli.shared import Json, print_json


def verb(ctx: typer.Context, _as_json: Json = False) -> None:
    """Print the JSON Schema of recipes for the plugins installed here.

    Example: labwright schema > recipe.schema.json, then `#:schema ./recipe.schema.json` atop a recipe
    """
    from labwright_tasks.schemas.recipes import recipe_schema

    print_json(recipe_schema(ctx.obj.plugins))
