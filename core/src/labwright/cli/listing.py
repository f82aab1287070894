"""`labwright list`: what is installed, by kind; without importing any of it unless `--for` asks what fits."""

from __future__ import annotations

from typing import Annotated

import typer

from labwright.base.errors import LabwrightError, nearest
from labwright.cli.shared import Json, did_not_load, print_json, print_table, say
from labwright.plugin.hookspecs import KINDS
from labwright.plugin.registry import Plugins, plural

WHAT = {"recipes": "recipe"} | {plural(kind): kind for kind in KINDS}


def verb(
    ctx: typer.Context,
    what: Annotated[str | None, typer.Argument(help=", ".join(WHAT) + "; everything if left out.")] = None,
    fitting: Annotated[
        str | None, typer.Option("--for", metavar="RECIPE", help="Only what fits the recipe's task.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List recipes and components with what they are.

    Example: labwright list models --for vision/digits
    """
    if what is not None and what not in WHAT:
        raise LabwrightError(f"there is no list of {what!r}{nearest(what, WHAT)} There are {', '.join(WHAT)}.")
    plugins: Plugins = ctx.obj.plugins
    rows = []
    for kind in [WHAT[what]] if what else WHAT.values():
        names = plugins.names(kind)
        if fitting is not None:
            if kind == "recipe":
                continue
            from labwright.config.compatibility import fitting_names

            names = fitting_names(kind, fitting, plugins)
        rows += [_row(plugins, kind, name) for name in names]
    if as_json:
        print_json(rows)
    else:
        for kind in dict.fromkeys(row["kind"] for row in rows):
            typer.echo(typer.style(plural(kind), bold=True))
            mine = [row for row in rows if row["kind"] == kind]
            print_table([(row["name"], row["summary"], f"[{row['plugin']}]") for row in mine], indent="  ")
    say(*(did_not_load(one) for one in plugins.plugins if one.state == "quarantined"))


def _row(plugins: Plugins, kind: str, name: str) -> dict[str, str]:
    owners = plugins.owners(kind, name)
    brought = " and ".join(plugin.name for plugin, _ in owners)
    return {"kind": kind, "name": name, "summary": owners[0][1].summary, "plugin": brought}
