"""A constructor's signature is its settings: read, validated, completed, and written out again.

`signature` reads what a component asks for; `choose` turns a name or a table of a recipe into a `Chosen` component with
validated settings; `Chosen.build` makes the object. The ten rules this holds to are in docs/reference/settings.md.
"""

from __future__ import annotations

import functools
import inspect
import json
import types
import typing
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from torch import nn

from labwright.errors import LabwrightError, listed, nearest
from labwright.plugins import Plugins
from labwright.ports import Port
from labwright.recipe import Source
from labwright.search import Choice, Integers, Mark, Uniform

MISSING = inspect.Parameter.empty
RESERVED = ("name", "object")


@dataclass(frozen=True)
class Part:
    """Marks a setting that is itself a component: `data: Annotated[Data, Part("data")]`."""

    kind: str


@dataclass(frozen=True)
class Setting:
    """One keyword of a constructor: its type, its default, where to search, or which kind of component it is."""

    name: str
    adapter: TypeAdapter[Any]
    default: Any
    mark: Mark | None
    part: Part | None

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def validated(self, value: Any) -> Any:
        """The value in its Python type. Numbers, texts and truth values are never taken for one another."""
        return self.adapter.validate_json(json.dumps(value, default=_plain), strict=True)

    def written(self, value: Any) -> Any:
        """The value as TOML and JSON have it."""
        return _without_none(self.adapter.dump_python(value, mode="json"))


@dataclass(frozen=True)
class Signature:
    """What a constructor asks for: its settings, and the parameters that the core gives (ports, parameters)."""

    target: Any
    settings: Mapping[str, Setting]
    given: Mapping[str, tuple[type, ...]]


@functools.cache
def signature(target: Any) -> Signature:
    """Read a class's or factory function's signature. Raises LabwrightError naming what can't be a setting."""
    label = _label(target)
    function = target.__init__ if inspect.isclass(target) else target
    if function in (object.__init__, nn.Module.__init__):
        return Signature(target, {}, {})
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise LabwrightError(
            f"{label}: its constructor's annotations can't be resolved ({error}); import that name at module level."
        ) from error
    settings: dict[str, Setting] = {}
    given: dict[str, tuple[type, ...]] = {}
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters[1:] if inspect.isclass(target) else parameters:
        where = f"{label}, parameter {parameter.name!r}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise LabwrightError(
                f"{where}: *args and **kwargs can't be checked; take `options: dict[str, Any]` instead."
            )
        if parameter.name not in hints:
            raise LabwrightError(f"{where}: it has no annotation, so that its values can't be checked.")
        ports = _port_types(hints[parameter.name])
        if ports:
            if parameter.name not in ("inputs", "outputs"):
                raise LabwrightError(f"{where}: a port is called `inputs` or `outputs`.")
            given[parameter.name] = ports
        elif parameter.name == "parameters":
            given["parameters"] = ()
        elif parameter.name in RESERVED:
            raise LabwrightError(f"{where}: the name is reserved; call it otherwise.")
        else:
            settings[parameter.name] = _setting(where, parameter, hints[parameter.name])
    return Signature(target, settings, given)


def _setting(where: str, parameter: inspect.Parameter, hint: Any) -> Setting:
    extras = typing.get_args(hint)[1:] if typing.get_origin(hint) is Annotated else ()
    part = next((extra for extra in extras if isinstance(extra, Part)), None)
    mark = next((extra for extra in extras if isinstance(extra, Uniform | Integers | Choice)), None)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(Any if part else hint)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise LabwrightError(
            f"{where}: {hint!r} can't be a setting. Settings are numbers, text, lists, tables, paths; a component is "
            "`Annotated[T, Part(kind)]`."
        ) from error
    setting = Setting(parameter.name, adapter, parameter.default, mark, part)
    if not part and parameter.default not in (None, MISSING) and _takes_none(hint):
        raise LabwrightError(
            f"{where}: None is the field left out, so a field that can be None has None as its default."
        )
    return setting


def _takes_none(hint: Any) -> bool:
    bare = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    if typing.get_origin(bare) in (Union, types.UnionType):
        return type(None) in typing.get_args(bare)
    return False


def _port_types(hint: Any) -> tuple[type, ...]:
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    options = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    return options if all(inspect.isclass(option) and issubclass(option, Port) for option in options) else ()


@dataclass(frozen=True)
class Chosen:
    """A component with its settings: by name from a recipe, or a class or an object given from Python.

    `settings` holds validated values, and a Chosen where the setting is a part.
    """

    kind: str
    name: str
    target: Any
    settings: dict[str, Any] = field(default_factory=dict)
    thing: Any = None

    @property
    def given(self) -> Mapping[str, tuple[type, ...]]:
        return {} if self.thing is not None else signature(self.target).given

    def build(self, **given: Any) -> Any:
        """The object. `given` is what the core has for it: ports, parameters."""
        if self.thing is not None:
            return deepcopy(self.thing) if isinstance(self.thing, nn.Module) else self.thing  # what is given stays as it is
        parts = {key: _built_part(value) for key, value in self.settings.items() if isinstance(value, Chosen)}
        mine = {key: given[key] for key in self.given}
        return self.target(**mine, **(self.settings | parts))

    def table(self) -> dict[str, Any]:
        """The complete table of a recipe, defaults included; None is left out."""
        if self.thing is not None:
            return {"object": _label(type(self.thing))}
        table: dict[str, Any] = {"name": self.name} if self.name else {"object": _label(self.target)}
        for key, setting in signature(self.target).settings.items():
            value = self.settings.get(key, setting.default)
            if isinstance(value, Chosen):
                table[key] = value.table()
            elif value is not None:
                table[key] = setting.written(value)
        return table

    def marks(self) -> dict[str, Mark]:
        """The search marks of this component and its parts, by dotted path."""
        found: dict[str, Mark] = {}
        if self.thing is not None:
            return found
        for key, setting in signature(self.target).settings.items():
            if isinstance(part := self.settings.get(key), Chosen):
                found |= {f"{key}.{path}": mark for path, mark in part.marks().items()}
            elif setting.mark is not None:
                found[key] = setting.mark
        return found


def _built_part(part: Chosen) -> Any:
    """A part that needs ports arrives as a callable awaiting them."""
    if part.given:
        return part.build
    return part.build()


@dataclass(frozen=True)
class Where:
    """A place in a recipe, for messages: `recipe.toml:3: task.data`."""

    path: tuple[str, ...] = ()
    source: Source | None = None

    def __truediv__(self, key: str) -> Where:
        return Where((*self.path, key), self.source)

    def __str__(self) -> str:
        place = self.source.place(self.path) + ": " if self.source else ""
        return place + ".".join(self.path)


def choose(kind: str, value: Any, plugins: Plugins, where: Where) -> Chosen:
    """The component that a recipe's value asks for: a name, a table with a name, or a class or object from Python.

    Raises LabwrightError for a name that isn't there and for settings that don't fit.
    """
    if isinstance(value, str) or inspect.isclass(value):
        value = {"name": value}
    if not isinstance(value, Mapping):
        if value is None or isinstance(value, bool | int | float | list | tuple):
            raise LabwrightError(f"{where}: given {value!r}; a {kind} is a name or a table with a name.")
        return Chosen(kind, "", None, thing=value)
    if "object" in value:
        raise LabwrightError(
            f"{where}: this {kind} was an object given from Python ({value['object']}); only the process that made it "
            "can use it. Register it in a plugin to name it in recipes."
        )
    name = value.get("name")
    table = {key: one for key, one in value.items() if key != "name"}
    if inspect.isclass(name):
        return Chosen(kind, "", name, validated(name, table, f"{kind} {name.__name__!r}", plugins, where))
    if not isinstance(name, str):
        given = f"the name {name!r}" if "name" in value else f"a table without a name ({listed(value)})"
        raise LabwrightError(f"{where}: given {given}; a {kind} has one: {listed(plugins.names(kind))}.")
    try:
        target = plugins.load(kind, name)
    except LabwrightError as error:
        raise LabwrightError(f"{where}: {error}") from error
    return Chosen(kind, name, target, validated(target, table, f"{kind} {name!r}", plugins, where))


def validated(target: Any, table: Mapping[str, Any], label: str, plugins: Plugins, where: Where) -> dict[str, Any]:
    """The settings of a constructor from a table. Raises LabwrightError with place, value and what is allowed."""
    settings = signature(target).settings
    for key in table:
        if key not in settings:
            raise LabwrightError(
                f"{where / key}: {label} has no setting {key!r}{nearest(key, settings)}. "
                f"It takes {listed(settings, 40)}."
            )
    result: dict[str, Any] = {}
    for key, setting in settings.items():
        value = table.get(key)
        if value is None and setting.part and isinstance(setting.default, str):
            value = setting.default
        if value is None:
            if setting.required:
                kind = f"; a {setting.part.kind}: {listed(plugins.names(setting.part.kind))}" if setting.part else ""
                raise LabwrightError(f"{where / key}: {label} needs this setting{kind}.")
            if key in table and setting.default is not None:
                raise LabwrightError(
                    f"{where / key}: given None, which means left out; its default is {setting.default!r}."
                )
        elif setting.part:
            result[key] = choose(setting.part.kind, value, plugins, where / key)
        else:
            result[key] = _checked(setting, value, where / key, label)
    return result


def _checked(setting: Setting, value: Any, where: Where, label: str) -> Any:
    try:
        return setting.validated(value)
    except ValidationError as error:
        first = error.errors()[0]
        for step in first["loc"]:
            if isinstance(step, str) and isinstance(value, Mapping) and step in value:
                where, value = where / step, value[step]
        allowed = str(first.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")
        said = first["msg"].replace("Input should", "it should")
        said = said[0].lower() + said[1:] + nearest(str(value), [word.strip("'") for word in allowed])
        raise LabwrightError(f"{where}: given {value!r}; {said} ({label}).") from error
    except TypeError as error:
        raise LabwrightError(f"{where}: {label} is given {value!r}, which no recipe can hold: {error}.") from error


def _label(target: Any) -> str:
    return f"{target.__module__}.{target.__qualname__}"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is neither number, text, list nor table")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value
