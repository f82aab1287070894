"""What fits a recipe, and what a component's settings are; for `list --for` and `show`."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path
from typing import Any

from labwright.config import Chosen, Part, Where, choose, signature
from labwright.errors import LabwrightError, listed
from labwright.experiment import contract_fault
from labwright.interfaces import Task
from labwright.plugins import Plugins
from labwright.ports import Port
from labwright.recipe import read_recipe
from labwright.signature import unwrapped


def fitting_names(kind: str, recipe: str, plugins: Plugins) -> list[str]:
    """The names of a kind of component that go with a recipe's task: models by ports, losses by contract too.

    Only the recipe's task is looked at, so that a recipe whose model or loss doesn't fit can be put right. Data fits if
    it has the same ports. Kinds that any task takes are listed whole; what can't be loaded is left out.
    """
    table, source = read_recipe(Path(recipe) if recipe.endswith(".toml") else plugins.recipe(recipe).path)
    where = Where(("task",), source)
    if "task" not in table:
        raise LabwrightError(f"{where}: the recipe names no task; it is one of {listed(plugins.names('task'))}.")
    task: Task = choose("task", table["task"], plugins, where).build()
    return [name for name in plugins.names(kind) if _fits(kind, name, task, plugins)]


def _fits(kind: str, name: str, task: Task, plugins: Plugins) -> bool:
    if kind not in ("model", "loss", "data") or name.endswith("/*"):
        return True
    try:
        target = plugins.load(kind, name)
        found = signature(target)
    except LabwrightError:
        return False
    inputs, outputs = task.port_types()
    if kind == "data":
        return (target.item, target.target) == (inputs, outputs)
    if not issubclass(inputs, found.given.get("inputs", Port)) or not issubclass(
        outputs, found.given.get("outputs", Port)
    ):
        return False
    if kind == "model" or "loss" in found.settings:  # a loss around another fits as that one does
        return True
    return task.contract is not None and not contract_fault(Chosen(kind, name, target), task.contract)


def described(kind: str, name: str, plugins: Plugins) -> dict[str, Any]:
    """A component in words: its documentation, the ports it takes and returns, and its settings."""
    target = plugins.load(kind, name)
    found = signature(target)
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function, include_extras=True) if found.settings else {}
    ports = {key: " | ".join(one.__name__ for one in types) for key, types in found.given.items() if types}
    settings = [
        {
            "name": key,
            "type": _words(hints[key]),
            "default": "needed" if setting.required else "" if setting.default is None else repr(setting.default),
            "search": str(setting.mark or ""),
        }
        for key, setting in found.settings.items()
    ]
    formulas = r"\.\. math::\n(?:[ \t]*\n|[ \t]+.*\n)+"  # of a library; not to be read on a terminal
    documentation = re.sub(formulas, "", inspect.getdoc(target) or "")
    return {"documentation": documentation, "ports": ports, "settings": settings}


def _words(hint: Any) -> str:
    """`Annotated[int, Field(ge=1)] | None` as `int >= 1`; None is the field left out."""
    bare, extras, _ = unwrapped(hint)
    for extra in extras:
        if isinstance(extra, Part):
            return f"a {extra.kind}"
    limits = [f"{limit}".partition("(")[2].rstrip(")") for extra in extras for limit in getattr(extra, "metadata", ())]
    for short, sign in (("ge=", ">= "), ("le=", "<= "), ("gt=", "> "), ("lt=", "< ")):
        limits = [re.sub(f"^{short}", sign, limit) for limit in limits]
    return " ".join([_type(bare), ", ".join(limits)]).rstrip()


def _type(bare: Any) -> str:
    if typing.get_origin(bare) is typing.Literal:
        return " | ".join(map(str, typing.get_args(bare)))
    return bare.__name__ if inspect.isclass(bare) and not typing.get_args(bare) else re.sub(r"\w+\.", "", str(bare))
