"""`labwright plugins`: what is installed, whether it is in use, and if not, why."""

from __future__ import annotations

from collections import Counter

import typer

from labwright.cli.shared import Json, print_json, print_table
from labwright.discovery import Plugin
from labwright.plugins import plural

NAME = "plugins"
EXAMPLE = "Example: labwright --no-plugin vision plugins"


def verb(ctx: typer.Context, as_json: Json = False) -> None:
    """Show every plugin: distribution, version, the labwright it needs, its state and what it brings."""
    found: tuple[Plugin, ...] = ctx.obj.plugins.plugins
    if as_json:
        print_json([_json(plugin) for plugin in found])
        return
    heads = ("name", "distribution", "version", "needs labwright", "state", "brings")
    print_table([heads, *(_row(plugin) for plugin in found)])


def _row(one: Plugin) -> tuple[str, ...]:
    brings = one.reason or _brings(one)
    return one.name, one.distribution, one.version, one.requires or "no range", one.state, brings


def _brings(plugin: Plugin) -> str:
    kinds = Counter(["recipe"] * len(plugin.recipes) + [one.kind for one in plugin.components])
    return ", ".join(f"{count} {kind if count == 1 else plural(kind)}" for kind, count in kinds.items())


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
