"""A constructor's signature is its settings: read, validated, completed, and written out again.

`signature` reads what a component asks for; `choose` turns a name or a table of a recipe into a `Chosen` component with
validated settings; `Chosen.build` makes the object. The ten rules this holds to are in docs/reference/settings.md.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError
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
        """The value in its Python type. Numbers, texts and truth values are never taken for one another.

        Raises ValueError for a value that is none of the setting's, TypeError for one that no recipe can hold.
        """
        plain = _plain(value)
        result = self.adapter.validate_json(json.dumps(plain), strict=True)
        if isinstance(plain, bool | float) and type(self.written(result)) is int:  # pydantic's Literal[1] takes both
            raise ValueError("it should be a whole number")
        return result

    def written(self, value: Any) -> Any:
        """The value as TOML and JSON have it."""
        return _plain(self.adapter.dump_python(value, mode="json", warnings=False))


@dataclass(frozen=True)
class Signature:
    """What a constructor asks for: its settings, and the parameters that the core gives (ports, parameters)."""

    target: Any
    settings: Mapping[str, Setting]
    given: Mapping[str, tuple[type, ...]]


@cache
def signature(target: Any) -> Signature:
    """Read a class's or factory function's signature. Raises LabwrightError naming what can't be a setting."""
    function = target.__init__ if inspect.isclass(target) else target
    if function in (object.__init__, nn.Module.__init__):
        return Signature(target, {}, {})
    hints = _hints(function, _label(target))
    settings: dict[str, Setting] = {}
    given: dict[str, tuple[type, ...]] = {}
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters[1:] if inspect.isclass(target) else parameters:
        name, where = parameter.name, f"{_label(target)}, parameter {parameter.name!r}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise LabwrightError(
                f"{where}: *args and **kwargs can't be checked; take `options: dict[str, Any]` instead."
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise LabwrightError(f"{where}: settings are given by name; a parameter before / has none.")
        if name not in hints:
            raise LabwrightError(f"{where}: it has no annotation, so that its values can't be checked.")
        ports = _port_types(hints[name])
        if ports:
            if name not in ("inputs", "outputs"):
                raise LabwrightError(f"{where}: a port is called `inputs` or `outputs`.")
            given[name] = ports
        elif name == "parameters":
            given[name] = ()
        elif name in RESERVED:
            raise LabwrightError(f"{where}: the name is reserved; call it otherwise.")
        else:
            settings[name] = _setting(where, parameter, hints[name])
    return Signature(target, settings, given)


def _hints(function: Any, label: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        for name, annotation in function.__annotations__.items():
            alone = types.SimpleNamespace(__annotations__={name: annotation})
            try:
                typing.get_type_hints(alone, function.__globals__, include_extras=True)
            except Exception as fault:
                raise LabwrightError(
                    f"{label}, parameter {name!r}: its annotation {annotation!r} can't be resolved ({fault}); import "
                    "what it names at module level, not under TYPE_CHECKING."
                ) from fault
        raise LabwrightError(f"{label}: its annotations can't be resolved ({error}).") from error


def _setting(where: str, parameter: inspect.Parameter, hint: Any) -> Setting:
    _, extras, optional = _unwrapped(hint)
    part = next((extra for extra in extras if isinstance(extra, Part)), None)
    mark = next((extra for extra in extras if isinstance(extra, Uniform | Integers | Choice)), None)
    try:  # `| None`: pydantic takes a configuration for anything but a dataclass itself
        adapter: TypeAdapter[Any] = TypeAdapter(Any if part else hint | None, config=ConfigDict(extra="forbid"))
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise LabwrightError(
            f"{where}: {hint!r} can't be a setting. Settings are numbers, text, lists, tables, paths; a component is "
            "`Annotated[T, Part(kind)]`."
        ) from error
    default = parameter.default
    setting = Setting(parameter.name, adapter, default, mark, part)
    if optional and default is not None:
        raise LabwrightError(
            f"{where}: None is the field left out, so a field that can be None has None as its default."
        )
    if part and default is not MISSING and not isinstance(default, str | None):
        raise LabwrightError(f"{where}: the default of a part is the name of a {part.kind}, given {default!r}.")
    if not part and default is not MISSING and default is not None:
        try:
            setting.validated(setting.written(default))
        except (ValueError, TypeError) as error:
            said = str(error).replace("\n", " ")
            raise LabwrightError(
                f"{where}: its default {default!r} isn't what its annotation allows: {said}"
            ) from error
    return setting


def _unwrapped(hint: Any) -> tuple[Any, list[Any], bool]:
    """A type without Annotated and None around it, what stood in Annotated, and whether it can be None."""
    if typing.get_origin(hint) is Annotated:
        hint, *extras = typing.get_args(hint)
        bare, inner, optional = _unwrapped(hint)
        return bare, [*extras, *inner], optional
    if typing.get_origin(hint) in (Union, types.UnionType) and types.NoneType in typing.get_args(hint):
        bare, inner, _ = _unwrapped(reduce(or_, (one for one in typing.get_args(hint) if one is not types.NoneType)))
        return bare, inner, True
    return hint, [], False


def _port_types(hint: Any) -> tuple[type, ...]:
    bare, _, _ = _unwrapped(hint)
    options = typing.get_args(bare) if typing.get_origin(bare) in (Union, types.UnionType) else (bare,)
    return options if all(inspect.isclass(option) and issubclass(option, Port) for option in options) else ()


@dataclass(frozen=True)
class Where:
    """A place in a recipe, for messages: `recipe.toml:3: task.data`."""

    path: tuple[str, ...] = ()
    source: Source | None = None

    def __truediv__(self, key: str | int) -> Where:
        return Where((*self.path, f"[{key}]" if isinstance(key, int) else key), self.source)

    def __str__(self) -> str:
        keys = [key if re.fullmatch(r"[\w-]+|\[\d+\]", key) else f'"{key}"' for key in self.path]
        return (self.source.place(self.path) if self.source else "") + ".".join(keys).replace(".[", "[")


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
    where: Where = field(default=Where(), compare=False)

    @property
    def given(self) -> Mapping[str, tuple[type, ...]]:
        return {} if self.thing is not None else signature(self.target).given

    def build(self, **given: Any) -> Any:
        """The object. `given` is what the core has for it: ports, parameters."""
        if self.thing is not None:
            return deepcopy(self.thing) if isinstance(self.thing, nn.Module) else self.thing  # what is given is kept
        parts = {key: _built_part(value) for key, value in self.settings.items() if isinstance(value, Chosen)}
        mine = {key: given[key] for key in self.given}
        try:
            return self.target(**mine, **(self.settings | parts))
        except (ValueError, TypeError) as error:
            label = self.name or self.target.__name__
            raise LabwrightError(f"{self.where}: {self.kind} {label!r} can't be built: {error}") from error

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


def choose(kind: str, value: Any, plugins: Plugins, where: Where) -> Chosen:
    """The component that a recipe's value asks for: a name, a table with a name, or a class or object from Python.

    Raises LabwrightError for a name that isn't there and for settings that don't fit.
    """
    if isinstance(value, str) or inspect.isclass(value):
        value = {"name": value}
    if not isinstance(value, Mapping):
        return _given_object(kind, value, where)
    if "object" in value:
        raise LabwrightError(
            f"{where}: this {kind} was an object given from Python ({value['object']}); only the process that made it "
            "can use it. Register it in a plugin to name it in recipes."
        )
    if "name" not in value:
        has = f"a table without a name ({listed(value)})" if value else "an empty table"
        raise LabwrightError(f"{where}: given {has}; a {kind} has one: {listed(plugins.names(kind))}.")
    name = value["name"]
    if inspect.isclass(name):
        name, target = "", _of_kind(kind, name, where)
    elif isinstance(name, str):
        target = _loaded(kind, name, plugins, where / "name" if len(value) > 1 else where)
    else:
        raise LabwrightError(f"{where / 'name'}: given {name!r}; a {kind} is one of {listed(plugins.names(kind))}.")
    label = f"{kind} {name or target.__name__!r}"
    settings = {key: one for key, one in value.items() if key != "name"}
    asks = sorted(set(signature(target).given) - _GIVEN.get(kind, set()))
    if asks:
        raise LabwrightError(f"{where}: {label} asks for {' and '.join(asks)} in its constructor, which no {kind} is given.")
    return Chosen(kind, name, target, validated(target, settings, label, plugins, where), where=where)


def _loaded(kind: str, name: str, plugins: Plugins, where: Where) -> Any:
    try:
        return plugins.load(kind, name)
    except LabwrightError as error:
        raise LabwrightError(f"{where}: {error}") from error


def _given_object(kind: str, thing: Any, where: Where) -> Chosen:
    if kind == "optimizer":
        raise LabwrightError(f"{where}: given {_short(thing)}; an optimizer is built over parameters: give its name or class.")
    if thing is None or isinstance(thing, bool | int | float | list | tuple):
        raise LabwrightError(f"{where}: given {thing!r}; a {kind} is a name or a table with a name.")
    _of_kind(kind, type(thing), where)
    return Chosen(kind, "", None, thing=thing, where=where)


def _of_kind(kind: str, given: type, where: Where) -> type:
    base = _BASES.get(kind, object)
    if not issubclass(given, base):
        raise LabwrightError(f"{where}: given a {_label(given)}, which is no {_label(base)}; a {kind} is one, or a name.")
    return given


def validated(target: Any, table: Mapping[str, Any], label: str, plugins: Plugins, where: Where) -> dict[str, Any]:
    """The settings of a constructor from a table. Raises LabwrightError with place, value and what is allowed."""
    settings = signature(target).settings
    for key in table:
        if key not in settings:
            takes = f"It takes {listed(settings, 40)}." if settings else "It has no settings."
            raise LabwrightError(f"{where / key}: {label} has no setting {key!r}{nearest(key, settings)}. {takes}")
    result: dict[str, Any] = {}
    for key, setting in settings.items():
        value, here = table.get(key), where / key
        if value is None:
            if setting.required:
                parts = f": a {setting.part.kind}, one of {listed(plugins.names(setting.part.kind))}" if setting.part else ""
                raise LabwrightError(f"{here}: {label} needs this setting{parts}.")
            if key in table and setting.default is not None:
                raise LabwrightError(f"{here}: given None, which means left out; its default is {setting.default!r}.")
            if setting.part and setting.default:
                result[key] = choose(setting.part.kind, setting.default, plugins, here)
        elif setting.part:
            result[key] = choose(setting.part.kind, value, plugins, here)
        else:
            result[key] = _checked(setting, value, here, label)
    return result


def _checked(setting: Setting, value: Any, where: Where, label: str) -> Any:
    try:
        return setting.validated(value)
    except ValidationError as error:
        raise LabwrightError(_complaint(setting, error, value, where, label)) from error
    except ValueError as error:
        raise LabwrightError(f"{where}: given {value!r}; {error} ({label}).") from error
    except TypeError as error:
        raise LabwrightError(f"{where}: {label} is given {value!r}, which no recipe can hold: {error}.") from error


def _complaint(setting: Setting, error: ValidationError, value: Any, where: Where, label: str) -> str:
    """What pydantic found, in the words of a recipe: place, value, what is allowed, how to write it."""
    found = error.errors()
    for step in found[0]["loc"]:
        if isinstance(value, Mapping) and step in value or isinstance(value, Sequence) and isinstance(step, int) and step < len(value):
            where, value = where / step, value[step]
    first = found[0]
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        takes = {key for one in _definitions(setting) for key in one.get("properties", {})}
        return f"{where}: {label} has no such field{nearest(where.path[-1], takes)}. There are {listed(takes, 40)}."
    same = [one for one in found if len(one["loc"]) == len(first["loc"])]
    said = " or ".join(dict.fromkeys(_SHOULD.get(one["type"], _words(one["msg"])) for one in same))
    return f"{where}: given {value!r}; it should {said}{_advice(setting, first, value)} ({label})."
