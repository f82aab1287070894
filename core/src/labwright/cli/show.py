"""`labwright show`: a recipe in full, a component's settings, or the search space."""

from __future__ import annotations

from typing import Annotated

import typer

from labwright.cli.shared import Json, print_json, print_table, say
from labwright.errors import LabwrightError, listed, nearest
from labwright.hookspecs import KINDS

NAME = "show"
EXAMPLE = (
    "Examples: labwright show vision/digits · labwright show model vision/resnet · labwright show --space vision/digits"
)


def verb(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="RECIPE | KIND", help="A recipe, or a kind of component and its name.")
    ],
    rest: Annotated[list[str] | None, typer.Argument(metavar="[NAME | FIELD=VALUE]...")] = None,
    space: Annotated[bool, typer.Option("--space", help="Where a study would look, instead of the settings.")] = False,
    as_json: Json = False,
) -> None:
    """Show a recipe complete with every default, or the settings of one component."""
    rest = rest or []
    if what in KINDS:
        if len(rest) != 1:
            raise LabwrightError(f"`show {what}` takes one name: {listed(ctx.obj.plugins.names(what))}.")
        _component(ctx, what, rest[0], as_json)
        return
    if "/" not in what and not what.endswith(".toml"):
        raise LabwrightError(
            f"{what!r} is neither a recipe nor a kind{nearest(what, KINDS)}. Kinds are {', '.join(KINDS)}."
        )
    if not what.endswith(".toml"):
        ctx.obj.plugins.recipe(what)
    import tomli_w

    from labwright.experiment import Experiment

    experiment = Experiment.from_recipe(what, rest, plugins=ctx.obj.plugins)
    say(*(f"note: {note}" for note in experiment.notes))
    if space:
        marks = experiment.space()
        if as_json:
            print_json({path: str(mark) for path, mark in marks.items()})
        else:
            print_table([(path, str(mark)) for path, mark in marks.items()])
    elif as_json:
        print_json(experiment.table())
    else:
        typer.echo(tomli_w.dumps(experiment.table()).rstrip())


def _component(ctx: typer.Context, kind: str, name: str, as_json: bool) -> None:
    component = ctx.obj.plugins.find(kind, name)
    from labwright.fitting import described_settings

    settings = described_settings(kind, name, ctx.obj.plugins)
    if as_json:
        print_json({"kind": kind, "name": name, "summary": component.summary, "settings": settings})
        return
    typer.echo(f"{kind} {name}: {component.summary}")
    print_table([(one["name"], one["type"], one["default"], one["search"]) for one in settings], indent="  ")
