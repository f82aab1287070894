"""`labwright plugins`: what is installed, whether it is in use, and if not, why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from labwright.base.errors import LabwrightError, nearest
from labwright.cli.shared import Json, print_json, print_table, say
from labwright.plugin import lockfile as locking
from labwright.plugin.discovery import Plugin, kind_of
from labwright.plugin.registry import Plugins


def verb(
    ctx: typer.Context,
    actions: Annotated[list[str] | None, typer.Argument(metavar="[lock]")] = None,
    as_json: Json = False,
) -> None:
    """Show every plugin: distribution, version, the labwright it needs, its state and what it brings.

    `lock` writes labwright.lock: distribution, version and hash of the files of each plugin in use. Where it lies, what
    trains or evaluates warns if they are others; `labwright --locked VERB` refuses.

    Examples: labwright plugins · labwright --no-plugin vision plugins · labwright plugins lock
    """
    action = " ".join(actions or ())
    if action == "lock":
        file = Path.cwd() / locking.FILE
        locking.lock(ctx.obj.plugins.loaded, file)
        say(f"{file}: {len(ctx.obj.plugins.loaded)} plugins are locked")
        return
    if action:
        moved = "; that is `labwright check --quick` since 0.2." if action.startswith("check") else ""
        hint = moved or nearest(action, ["lock"])
        raise LabwrightError(f"`labwright plugins` takes `lock` or nothing, given {action!r}{hint}")
    installed: tuple[Plugin, ...] = ctx.obj.plugins.plugins
    if as_json:
        print_json([_json(plugin) for plugin in installed])
        return
    heads = ("name", "distribution", "version", "needs labwright", "state", "brings")
    print_table([heads, *(_row(plugin, ctx.obj.plugins) for plugin in installed)])


def _row(plugin: Plugin, plugins: Plugins) -> tuple[str, ...]:
    counts = Counter(map(kind_of, plugin.brings))
    brings = [f"{count} {kind if count == 1 else plugins.heading(kind)}" for kind, count in counts.items()]
    needs = plugin.requires or "no range"
    return plugin.name, plugin.distribution, plugin.version, needs, plugin.state, plugin.reason or ", ".join(brings)


def _json(plugin: Plugin) -> dict[str, object]:
    # `from` is the file that was imported, to see which of two checkouts is in use
    known = ("name", "distribution", "version", "requires", "state", "reason")
    return {
        **{field: getattr(plugin, field) for field in known},
        "from": getattr(plugin.module, "__file__", None),
        "components": [{"kind": one.kind, "name": one.name, "target": one.target} for one in plugin.components],
        **{what: [one.name for one in getattr(plugin, what)] for what in ("recipes", "verbs", "kinds")},
    }
