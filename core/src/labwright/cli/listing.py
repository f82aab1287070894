"""`labwright list`: what is installed, by kind; without importing any of it unless `--for` asks what fits."""

from __future__ import annotations

from typing import Annotated

import typer

from labwright.base.errors import LabwrightError, nearest
from labwright.cli.shared import Json, did_not_load, print_json, print_table, say
from labwright.plugin.hookspecs import Kind
from labwright.plugin.registry import Plugins


def verb(
    ctx: typer.Context,
    what: Annotated[
        str | None, typer.Argument(help="recipes, tasks, models and so on; everything if left out.")
    ] = None,
    fitting: Annotated[
        str | None, typer.Option("--for", metavar="RECIPE", help="Only what fits the recipe's task.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List recipes and components with what they are.

    Example: labwright list models --for vision/digits
    """
    plugins: Plugins = ctx.obj.plugins
    kinds = {"recipes": "recipe"} | {kind.heading: kind.name for kind in plugins.kinds.values()}
    if what is not None and what not in kinds:
        raise LabwrightError(f"there is no list of {what!r}{nearest(what, kinds)} There are {', '.join(kinds)}.")
    rows = []
    for kind in [kinds[what]] if what else kinds.values():
        names = plugins.names(kind)
        if fitting is not None:
            # here: it imports torch, which a list without --for does without
            from labwright.config.compatibility import fitting_names

            names = [] if kind == "recipe" else fitting_names(kind, fitting, plugins)
        rows += [_row(plugins, kind, name) for name in names]
    if as_json:
        print_json(rows)
    else:
        for kind in dict.fromkeys(row["kind"] for row in rows):
            typer.echo(typer.style(plugins.heading(kind), bold=True))
            mine = [row for row in rows if row["kind"] == kind]
            # the plugin, unless the name says it
            tags = [f"[{row['plugin']}]" * (row["name"].partition("/")[0] != row["plugin"]) for row in mine]
            print_table([(row["name"], row["summary"], tag) for row, tag in zip(mine, tags, strict=True)], indent="  ")
    say(*(did_not_load(one) for one in plugins.plugins if one.state == "quarantined"))


def _row(plugins: Plugins, kind: str, name: str) -> dict[str, str]:
    owners = plugins.owners(kind, name)
    brought = " and ".join(plugin.name for plugin, _ in owners)
    declared = owners[0][1]
    assert not isinstance(declared, Kind), "kinds aren't listed"
    return {"kind": kind, "name": name, "summary": declared.summary, "plugin": brought}
