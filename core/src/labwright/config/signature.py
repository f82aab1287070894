"""What a constructor's signature says: its settings, with their types, defaults and marks, and what the core gives it.

The rules it holds to are in docs/reference/settings.md.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache, reduce
from math import isnan
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Union

import numpy as np
from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from torch import Tensor, nn

from labwright.base.errors import LabwrightError
from labwright.base.search import Choice, Integers, Mark, Part, PerTrial, Uniform, When
from labwright.data.ports import Port

MISSING = inspect.Parameter.empty
RESERVED = ("name", "object")
ARGUMENTS = re.compile(r"^Args:\n((?:    .*\n?|\n)*)", re.MULTILINE)  # of a docstring in Google's style
ARGUMENT = re.compile(r"^    (\w+(?:, \w+)*)(?: \(.*?\))?: (.*(?:\n {5,}.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """One keyword of a constructor: its type, its default, where to search, or which kind of component it is.

    `several` is (list,) or (dict,) for a setting that holds several components, (dict, list) for a table of lists.
    `per_trial` says that fused trials may differ in it. `description` is what `Args:` of the docstring says of it, or
    its `Field(description=...)`, and where it counts, which are its `conditions`.

    Example: `lw.signature(GPT).settings["width"].validated(128)`
    """

    name: str
    adapter: TypeAdapter[Any]
    default: Any
    mark: Mark | None
    part: Part | None
    per_trial: bool = False
    several: tuple[type, ...] = ()
    description: str = ""
    conditions: tuple[When, ...] = ()

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def validated(self, value: Any) -> Any:
        """The value in its Python type. Numbers, texts and truth values are never taken for one another.

        Raises ValueError for a value that is none of the setting's, TypeError for one that no recipe can hold.
        """
        try:
            given = plain(value)
        except RecursionError:
            raise TypeError("it is nested without an end") from None
        # through JSON in strict mode: lists become tuples, and a text is never taken for a number
        result = self.adapter.validate_json(json.dumps(given), strict=True)
        if type(self.written(result)) is int and type(given) is not int:  # pydantic's Literal[1] takes true and 1.0
            raise ValueError("it should be a whole number")
        return result

    @staticmethod
    def written(value: Any) -> Any:
        """The value as TOML and JSON have it."""
        return plain(value)


@dataclass(frozen=True)
class Signature:
    """What a constructor asks for: its settings, and the parameters that the core gives (ports, parameters)."""

    target: Any
    settings: Mapping[str, Setting]
    given: Mapping[str, tuple[type, ...]]


@cache
def signature(target: Any) -> Signature:
    """The settings of a class or a function that makes one, by name, and what the core gives it, such as ports.

    Raises LabwrightError naming what can't be a setting.

    Example: `lw.signature(GPT).settings["width"].default`
    """
    function = target.__init__ if inspect.isclass(target) else target
    # a class without a constructor has no settings; torch's own takes *args
    if function in (object.__init__, nn.Module.__init__):
        return Signature(target, {}, {})
    hints = hints_of(target)
    said = arguments(target)
    settings: dict[str, Setting] = {}
    given: dict[str, tuple[type, ...]] = {}
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters[1:] if inspect.isclass(target) else parameters:
        name, where = parameter.name, f"{label_of(target)}, parameter {parameter.name!r}"
        fault = _fault(parameter, hints)
        if fault:
            raise LabwrightError(f"{where}: {fault}")
        ports = _port_types(hints[name])
        if ports or name == "parameters":
            given[name] = ports
        else:
            settings[name] = _setting(where, parameter, hints[name], said.get(name, ""))
    return Signature(target, settings, given)


def arguments(target: Any) -> dict[str, str]:
    """What `Args:` says of each parameter in the docstrings of a function, or of a class and those it derives from.

    One line may be of several: `height, width: of a picture, in pixels.`
    """
    documented = [*reversed(inspect.getmro(target)), target.__init__] if inspect.isclass(target) else [target]
    texts = [ARGUMENTS.search(inspect.cleandoc(one.__doc__ or "")) for one in documented]
    entries = [entry for text in texts if text for entry in ARGUMENT.findall(text[1])]
    return {name: " ".join(said.split()) for names, said in entries for name in names.split(", ")}


def _fault(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> str:
    """Why a parameter can be no setting; "" if it can, or if it is a port."""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return "*args and **kwargs can't be checked; take `options: dict[str, Any]` instead."
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return "settings are given by name; a parameter before / has none."
    if parameter.name not in hints:
        return "it has no annotation, so that its values can't be checked."
    if _port_types(hints[parameter.name]) and parameter.name not in ("inputs", "outputs"):
        return "a port is called `inputs` or `outputs`."
    return "the name is reserved; call it otherwise." if parameter.name in RESERVED else ""


def hints_of(target: Any) -> dict[str, Any]:
    """The annotations of a constructor's parameters, resolved. Raises LabwrightError for one that can't be."""
    label, function = label_of(target), inspect.unwrap(target.__init__ if inspect.isclass(target) else target)
    # a dataclass has fields of its bases, as they were written in other modules
    bases = inspect.getmro(target) if inspect.isclass(target) and is_dataclass(target) else ()
    known = ChainMap(getattr(function, "__globals__", {}), *(vars(sys.modules[base.__module__]) for base in bases))
    hints: dict[str, Any] = {}
    # one after the other, to say which of them can't be resolved
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints |= typing.get_type_hints(alone, {}, known, include_extras=True)
        except Exception as error:
            raise LabwrightError(
                f"{label}, parameter {name!r}: its annotation {annotation!r} can't be resolved ({error}); import "
                "what it names at module level, not under TYPE_CHECKING."
            ) from error
    return {name: hint.type if isinstance(hint, InitVar) else hint for name, hint in hints.items()}


def _setting(where: str, parameter: inspect.Parameter, hint: Any, said: str) -> Setting:
    bare, extras, optional = unwrapped(hint)
    conditions = tuple(extra for extra in extras if isinstance(extra, When))
    several: list[type] = []
    within = bare
    while typing.get_origin(within) in (list, dict):
        several.append(typing.get_origin(within))
        within, inner, _ = unwrapped(typing.get_args(within)[-1])
        if any(isinstance(extra, Part) for extra in inner):
            extras = inner
            break
    else:
        several = []
    part = next((extra for extra in extras if isinstance(extra, Part)), None)
    mark = next((extra for extra in extras if isinstance(extra, Uniform | Integers | Choice)), None)
    try:  # `| None`: pydantic takes a configuration for anything but a dataclass itself
        strict = ConfigDict(extra="forbid", allow_inf_nan=False)
        adapter: TypeAdapter[Any] = TypeAdapter(Any if part else hint | None, config=strict)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise LabwrightError(
            f"{where}: {hint!r} can't be a setting. Settings are numbers, text, lists, tables, paths; a component is "
            "`Annotated[T, Part(kind)]`."
        ) from error
    default = parameter.default
    per_trial = any(isinstance(extra, PerTrial) for extra in extras)
    said = said or next((text for extra in extras if (text := getattr(extra, "description", None))), "")
    said += f" It counts where {' and '.join(map(str, conditions))}." if said and conditions else ""
    setting = Setting(parameter.name, adapter, default, mark, part, per_trial, tuple(several), said, conditions)
    fault = ""
    # TOML has no null, so that such a None could never be written in a recipe
    if optional and default is not None:
        fault = "None is the field left out, so a field that can be None has None as its default."
    elif part and default is not MISSING and not isinstance(default, types.NoneType if several else str | None):
        allowed = "None" if several else f"the name of a {part.kind}"
        fault = f"the default of a part is {allowed}, given {default!r}."
    # a default that its own annotation refuses would be written into a recipe that can't be read
    elif not part and default is not MISSING and default is not None:
        try:
            setting.validated(setting.written(default))
        except (ValueError, TypeError) as error:
            reason = str(error).replace("\n", " ")
            fault = f"its default {default!r} isn't what its annotation allows: {reason}"
    if fault:
        raise LabwrightError(f"{where}: {fault}")
    return setting


def unwrapped(hint: Any) -> tuple[Any, list[Any], bool]:
    """A type without Annotated and None around it, what stood in Annotated, and whether it can be None."""
    if typing.get_origin(hint) is Annotated:
        hint, *extras = typing.get_args(hint)
        bare, inner, optional = unwrapped(hint)
        return bare, [*extras, *inner], optional
    if typing.get_origin(hint) in (Union, types.UnionType) and types.NoneType in typing.get_args(hint):
        bare, inner, _ = unwrapped(reduce(or_, (one for one in typing.get_args(hint) if one is not types.NoneType)))
        return bare, inner, True
    return hint, [], False


def _port_types(hint: Any) -> tuple[type, ...]:
    bare, _, _ = unwrapped(hint)
    options = typing.get_args(bare) if typing.get_origin(bare) in (Union, types.UnionType) else (bare,)
    return options if all(inspect.isclass(option) and issubclass(option, Port) for option in options) else ()


def label_of(target: Any) -> str:
    """Where a class or function stands: `package.module.Name`. Raises LabwrightError for anything else."""
    if not inspect.isclass(target) and not inspect.isroutine(target):
        raise LabwrightError(f"{target!r} is neither class nor function.")
    return f"{target.__module__}.{target.__qualname__}"


def plain(value: Any) -> Any:
    """A value as TOML holds it; None in a table is the field left out. Raises TypeError for what no recipe can hold."""
    # numbers that a loop over numpy's arrays gives, as in a notebook
    if isinstance(value, np.generic) and not isinstance(like := value.item(), np.generic):
        return plain(like)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(element) for element in value]
    if is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Path):
        return plain(str(value))
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        if re.search("[\ud800-\udfff]", value):  # as a file's name that is no UTF-8
            raise TypeError("it is no Unicode text")
        return str(value)
    # TOML promises no more to other programs
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise TypeError("a whole number has 64 bits at most")
    if isinstance(value, float) and isnan(value):
        raise TypeError("nan is no number")
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, np.ndarray | Tensor):
        raise TypeError(f"a {type(value).__name__} is no plain value; give its .tolist()")
    raise TypeError(f"{type(value).__name__} is neither number, text, list nor table")
