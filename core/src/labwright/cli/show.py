"""`labwright show`: a recipe in full, or a component's settings."""

from __future__ import annotations

import shutil
import sys
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labwright.base.errors import LabwrightError, listed, nearest
from labwright.cli.shared import Json, echo, print_json, print_table, say
from labwright.config.recipe import override
from labwright.plugin.registry import Plugins

WIDTH, LEAD = 100, 40  # of what is shown at most, and of a setting with its default

if TYPE_CHECKING:
    from labwright.runs.experiment import Experiment


def verb(
    ctx: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="RECIPE | KIND", help="A recipe, or a kind of component and its name.")
    ],
    rest: Annotated[list[str] | None, typer.Argument(metavar="[NAME | FIELD=VALUE]...")] = None,
    start: Annotated[
        bool,
        typer.Option("--start", help="Build it, and list each tensor that its `start` gives the model or doesn't."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a recipe complete with every default, or the settings of one component.

    Examples: labwright show vision/digits · labwright show model vision/resnet · labwright show --start mine.toml
    """
    plugins: Plugins = ctx.obj.plugins
    if what in plugins.kinds:
        if not rest or len(rest) != 1:
            raise LabwrightError(f"`show {what}` takes one name: {listed(plugins.names(what), 40)}.")
        _component(plugins, what, rest[0], as_json)
        return
    if "/" not in what and ".toml" not in what and not any(what in plugins.names(kind) for kind in plugins.kinds):
        raise LabwrightError(
            f"{what!r} is neither a recipe nor a kind{nearest(what, [*plugins.kinds, *plugins.names('recipe')])} "
            f"Kinds are {', '.join(plugins.kinds)}; `labwright show RECIPE` has the tables of one."
        )
    experiment: Experiment = ctx.obj.experiment(what, rest)
    if start:
        _start(experiment, as_json)
    elif as_json:
        print_json(experiment.table())
    else:
        echo(_marked(experiment, rest or ()))


def _marked(experiment: Experiment, overrides: Sequence[str]) -> str:
    """The recipe; behind each setting of one that is laid on others, which of them it is from."""
    import tomli_w

    text, source = tomli_w.dumps(experiment.table()).rstrip(), experiment.source
    if source is None or source.under is None:
        return text
    whole, _ = override(source.whole, overrides)
    given = {"override": override({}, overrides)[0]} | {layer.role: layer.tables for layer in source.layers}
    lines, header = ["# " + ", ".join(f"{role} {name}" for role, name in source.origins.items())], ""
    for line in text.splitlines():
        key, equals, _ = line.partition(" = ")
        header = line if line.startswith("[") else header
        if equals and not line.startswith((" ", "[")):  # and not within a list
            at = tomllib.loads(f"{header}\n{key} = 0")
            said = next((role for role, tables in given.items() if _says(whole, at) and _says(tables, at)), "default")
            line = f"{line}  # {'this file' if said == 'file' else said}"
        lines.append(line)
    return "\n".join(lines)


def _says(value: Any, at: Any) -> bool:
    """Whether there is a value in tables at the place of the only one in others."""
    if not isinstance(at, dict) or isinstance(value, list):
        return True
    ((key, below),) = at.items()
    if isinstance(value, str):  # a component given by its name alone
        return key in ("name", "run")
    return isinstance(value, dict) and key in value and _says(value[key], below)


def _start(experiment: Experiment, as_json: bool) -> None:
    started = experiment.begun(experiment.build())
    if started is None:
        raise LabwrightError("the recipe starts from no other weights; start.run=FOLDER names a run, or safetensors.")
    say(started.line())
    if as_json:
        print_json(asdict(started))
        return
    left = [("", f"{name} (initial values)") for name in started.kept] + [(name, "not used") for name in started.unused]
    print_table([("there", "here"), *started.taken.items(), *left])


def _component(plugins: Plugins, kind: str, name: str, as_json: bool) -> None:
    component = plugins.find(kind, name)
    told = {"kind": kind, "name": name, "summary": component.summary}
    # a family as such, not one of its members
    if name == component.name and name.endswith("/*"):
        members = [name[:-1] + member for member in plugins.target(component)]
        if as_json:
            print_json(told | {"members": members})
        else:
            echo("\n".join([f"{kind} {name}: {component.summary}", *(f"  {member}" for member in members)]))
        return
    from labwright.config.compatibility import described

    found = described(kind, name, plugins)
    if as_json:
        print_json(told | found)
        return
    echo(f"{kind} {name}: {component.summary}")
    for key, says in (("inputs", "takes"), ("outputs", "returns")):
        if key in found["ports"]:
            echo(f"  {says} {found['ports'][key]}")
    echo("\n" + textwrap.indent(f"{found['documentation']}\n", "  "))
    _settings(found["settings"])


def _settings(settings: Sequence[Mapping[str, Any]]) -> None:
    """A line for each as a recipe has it, with its type and where a study searches; below it what it is."""
    leads = [f"  {one['name']} = {one['default']}" if one["default"] else f"  {one['name']}" for one in settings]
    width = 2 + max((len(lead) for lead in leads if len(lead) < LEAD), default=0)
    whole = min(WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDTH
    for lead, one in zip(leads, settings, strict=True):
        facts = one["type"] + ", needed" * one["needed"] + (f"; searched {one['search']}" if one["search"] else "")
        echo(textwrap.fill(facts, whole, initial_indent=lead.ljust(width - 2) + "  ", subsequent_indent=" " * width))
        if one["description"]:
            echo(textwrap.fill(one["description"], whole, initial_indent=" " * 6, subsequent_indent=" " * 6))
