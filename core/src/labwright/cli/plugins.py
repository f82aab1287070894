"""`labwright plugins`: what is installed, whether it is in use, and if not, why."""

from __future__ import annotations

import typer

from labwright.cli.shared import Json, print_json, print_table
from labwright.hookspecs import KINDS
from labwright.plugins import Plugin, plural

NAME = "plugins"
EXAMPLE = "Example: labwright --no-plugin vision plugins"


def verb(ctx: typer.Context, as_json: Json = False) -> None:
    """Show every plugin: distribution, version, the labwright it needs, its state and what it brings."""
    found: tuple[Plugin, ...] = ctx.obj.plugins.plugins
    if as_json:
        print_json([_json(plugin) for plugin in found])
        return
    print_table(
        [
            ("name", "distribution", "version", "needs labwright", "state", "brings"),
            *(
                (
                    one.name,
                    one.distribution,
                    one.version,
                    one.requires or "no range",
                    one.state,
                    one.reason or _brings(one),
                )
                for one in found
            ),
        ]
    )


def _brings(plugin: Plugin) -> str:
    counts = {plural(kind): sum(one.kind == kind for one in plugin.components) for kind in KINDS}
    counts["recipes"] = len(plugin.recipes)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _json(plugin: Plugin) -> dict[str, object]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "requires": plugin.requires,
        "state": plugin.state,
        "reason": plugin.reason,
        "components": [{"kind": one.kind, "name": one.name, "target": one.target} for one in plugin.components],
        "recipes": [one.name for one in plugin.recipes],
    }
