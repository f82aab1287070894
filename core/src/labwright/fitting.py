"""What fits a recipe's task, and what a component's settings are; for `list --for` and `show`."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from labwright.config import Chosen, signature
from labwright.errors import LabwrightError
from labwright.experiment import Experiment, contract_fault
from labwright.plugins import Plugins


def fitting_names(kind: str, recipe: str, plugins: Plugins) -> list[str]:
    """The names of a kind of component that go with a recipe's task: by ports for models, by contract for losses."""
    experiment = Experiment.from_recipe(recipe, plugins=plugins)
    task = experiment.task.build()
    inputs, outputs = task.port_types()
    names = []
    for name in plugins.names(kind):
        if kind not in ("model", "loss") or name.endswith("/*"):
            names.append(name)
            continue
        try:
            chosen = Chosen(kind, name, plugins.load(kind, name))
            given = chosen.given
        except LabwrightError:
            continue
        fits = issubclass(inputs, given.get("inputs", inputs)) and issubclass(outputs, given.get("outputs", outputs))
        if kind == "loss" and "loss" not in signature(chosen.target).settings:
            fits = fits and task.contract is not None and not contract_fault(chosen, task.contract)
        if fits:
            names.append(name)
    return names


def described_settings(kind: str, name: str, plugins: Plugins) -> list[dict[str, str]]:
    """A component's settings in words: name, type, default, where a study looks."""
    target = plugins.load(kind, name)
    found = signature(target)
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function, include_extras=True) if found.settings else {}
    return [
        {
            "name": key,
            "type": _words(hints[key]),
            "default": "required" if setting.required else "" if setting.default is None else repr(setting.default),
            "search": str(setting.mark or ""),
        }
        for key, setting in found.settings.items()
    ]


def _words(hint: Any) -> str:
    """`Annotated[int, Field(ge=1)]` as `int, ge=1`."""
    if typing.get_origin(hint) is typing.Annotated:
        bare, *extras = typing.get_args(hint)
        limits = [str(limit) for extra in extras for limit in getattr(extra, "metadata", ())]
        parts = [f"a {extra.kind}" for extra in extras if type(extra).__name__ == "Part"]
        return ", ".join([*(parts or [_words(bare)]), *(limit.partition("(")[2].rstrip(")") for limit in limits)])
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(str, typing.get_args(hint)))
    return hint.__name__ if inspect.isclass(hint) and not typing.get_args(hint) else str(hint).replace("typing.", "")
