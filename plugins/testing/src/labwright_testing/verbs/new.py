"""`labwright new`: a plugin to begin with, or one more component in the plugin of the working folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from labwright import LabwrightError, listed, nearest
from labwright.cli.shared import Json, echo, print_json, say

from labwright_testing.new import SUMMARIES, new_component, new_plugin


def verb(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="|".join(("plugin", *SUMMARIES)))],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case words, such as proteins or graph-pool.")],
    summary: Annotated[str, typer.Option(help="What `labwright list` says of a component, a line.")] = "",
    template: Annotated[
        str, typer.Option(metavar="data|task", help="A plugin with data and a model, or with a task of its own, too.")
    ] = "data",
    as_json: Json = False,
) -> None:
    """Write a new plugin, or a new component or verb into the plugin that the working folder belongs to.

    A plugin is a complete distribution in a folder labwright-NAME: it installs, its recipe runs, its tests pass. A
    component, or a verb of the command line, is a module of its own that works, and a line in the plugin's module. All
    are meant to be changed.

    Examples: labwright new plugin proteins --template task · labwright new model graph-pool --summary 'pooling'
    """
    if what not in ("plugin", *SUMMARIES):
        known = ("plugin", *SUMMARIES)
        raise LabwrightError(f"`labwright new` makes no {what!r}{nearest(what, known)} It makes {listed(known)}.")
    if what == "plugin" and summary:
        raise LabwrightError("--summary is for a component; what a plugin is stands in its pyproject.toml.")
    if what != "plugin" and template != "data":
        raise LabwrightError(f"--template is for a plugin; a {what} begins as it does.")
    taken = ctx.obj.plugins.owners("verb", name) if what == "verb" else []
    if taken:
        raise LabwrightError(f"a verb called {name!r} is brought by {taken[0][0].origin}: choose another name.")
    files = new_plugin(name, template) if what == "plugin" else new_component(what, name, summary)
    if as_json:
        print_json([str(file) for file in files])
        return
    here = Path.cwd()
    for file in files:
        echo(str(file.relative_to(here) if file.is_relative_to(here) else file))
    if what == "plugin":
        say(f"Next: pip install -e '{files[0].parts[0]}[test]' && pytest {files[0].parts[0]}")
    else:
        say("Next: pytest, which tries it as it is; then make it yours.")
