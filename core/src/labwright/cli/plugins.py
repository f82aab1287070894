"""`labwright plugins`: what is installed, whether it is in use, and if not, why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from labwright.base.errors import LabwrightError, listed, nearest
from labwright.cli.shared import Json, print_findings, print_json, print_table, say
from labwright.plugin import lockfile as locking
from labwright.plugin.discovery import Plugin, kind_of
from labwright.plugin.registry import Plugins

ACTIONS = ("check", "lock")


def verb(
    ctx: typer.Context,
    action: Annotated[str, typer.Argument(metavar="[check|lock]")] = "",
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="For `check`: a plugin or its distribution.")] = "",
    as_json: Json = False,
) -> None:
    """Show every plugin: distribution, version, the labwright it needs, its state and what it brings.

    `check` loads every target and looks at what can be told without data and training: settings, defaults, search
    marks, documentation. `labwright check NAME` trains, too: it comes with labwright-testing.

    `lock` writes labwright.lock: distribution, version and hash of the files of each plugin in use. Where it lies, what
    trains or evaluates warns if they are others; `labwright --locked VERB` refuses.

    Examples: labwright plugins · labwright --no-plugin vision plugins · labwright plugins check nlp
    """
    if action not in ("", *ACTIONS):
        raise LabwrightError(f"plugins have no {action!r}{nearest(action, ACTIONS)} There are {listed(ACTIONS)}.")
    if name and action != "check":
        raise LabwrightError(f"`labwright plugins {action}` takes no name, given {name!r}: it is about all plugins.")
    found: tuple[Plugin, ...] = ctx.obj.plugins.plugins
    if action == "check":
        from labwright.runs.quick_checks import quick_findings

        print_findings(quick_findings(ctx.obj.plugins, name), as_json)
        return
    if action == "lock":
        file = Path.cwd() / locking.FILE
        locking.lock(ctx.obj.plugins.loaded, file)
        say(f"{file}: {len(ctx.obj.plugins.loaded)} plugins are locked")
        return
    if as_json:
        print_json([_json(plugin) for plugin in found])
        return
    heads = ("name", "distribution", "version", "needs labwright", "state", "brings")
    print_table([heads, *(_row(plugin, ctx.obj.plugins) for plugin in found)])


def _row(one: Plugin, plugins: Plugins) -> tuple[str, ...]:
    brings = one.reason or _brings(one, plugins)
    return one.name, one.distribution, one.version, one.requires or "no range", one.state, brings


def _brings(plugin: Plugin, plugins: Plugins) -> str:
    counts = Counter(map(kind_of, plugin.brings))
    return ", ".join(f"{count} {kind if count == 1 else plugins.heading(kind)}" for kind, count in counts.items())


def _json(plugin: Plugin) -> dict[str, object]:
    # `from` is the file that was imported, to see which of two checkouts is in use
    known = ("name", "distribution", "version", "requires", "state", "reason")
    return {
        **{field: getattr(plugin, field) for field in known},
        "from": getattr(plugin.module, "__file__", None),
        "components": [{"kind": one.kind, "name": one.name, "target": one.target} for one in plugin.components],
        **{what: [one.name for one in getattr(plugin, what)] for what in ("recipes", "verbs", "kinds")},
    }
