"""From a recipe's tables to components: names looked up, settings validated, objects built, and written out again.

`resolve` turns a name or a table of a recipe into a `ComponentSpec` with validated settings; its `build` makes the
object. A constructor's signature is its settings: see signature.py. The rules are in docs/reference/settings.md.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from torch import Tensor, nn

from labwright.base.errors import LabwrightError, a, listed, nearest, path_fault, sentence, shown
from labwright.base.memory import Room, out_of_memory
from labwright.base.search import Mark, Part, When
from labwright.config.recipe import Source, parsed
from labwright.config.signature import Setting, label_of, plain, signature
from labwright.plugin.registry import Plugins

_GIVEN = {"optimizer": {"parameters"}} | {kind: {"inputs", "outputs"} for kind in ("model", "loss", "metric")}
_SHOULD = {
    "int_type": "be a whole number",
    "float_type": "be a number",
    "bool_type": "be true or false",
    "string_type": "be text",
    "list_type": "be a list",
    "tuple_type": "be a list",
    "dict_type": "be a table",
    "dataclass_type": "be a table",
}


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


class Idle(LabwrightError):
    """A setting that was given where it doesn't count: its `path`, and the one that it depends on."""

    def __init__(self, where: Where, given: Any, when: When, beside: Any, label: str) -> None:
        self.path, other = str(Where(where.path)), Where((*where.path[:-1], when.setting))
        self.why = f"it counts where {when}, and here {When(when.setting, getattr(beside, 'name', beside))}"
        super().__init__(
            f"{where}: given {shown(given)}, which has no effect: {self.why} ({label}). Leave it out, as an override "
            f"`{self.path}=`, or set {other}."
        )


@dataclass(frozen=True)
class ComponentSpec:
    """A component with its settings: by name from a recipe, or a class or an object given from Python.

    `settings` holds validated values, and where the setting is a part a ComponentSpec, or a list or table of them.
    """

    kind: str
    name: str
    target: Any
    settings: dict[str, Any] = field(default_factory=dict)
    thing: Any = None
    where: Where = field(default=Where(), compare=False)

    @property
    def label(self) -> str:
        """Its name for messages, or that of its class."""
        return self.name or (type(self.thing).__name__ if self.target is None else str(self.target.__name__))

    @property
    def given(self) -> Mapping[str, tuple[type, ...]]:
        return {} if self.thing is not None else signature(self.target).given

    def is_a(self, base: type) -> bool:
        """Whether what it builds is of that class, as far as can be told before it is built."""
        if self.target is None:
            return isinstance(self.thing, base)
        return inspect.isclass(self.target) and issubclass(self.target, base)

    def build(self, **given: Any) -> Any:
        """The object. `given` is what the core has for it: ports, parameters.

        Raises LabwrightError with its place for a constructor's ValueError, and for more memory than there is.
        """
        if self.thing is not None:
            return _copied(self.thing) if isinstance(self.thing, nn.Module) else self.thing  # what is given is kept
        built = {key: _mapped(_built_part, self.settings[key]) for key in self._parts()}
        asked = {key: given[key] for key in self.given}
        for key, types in self.given.items():  # a part's ports are known no earlier
            if types and not isinstance(asked[key], types):
                asks = f"{'takes' if key == 'inputs' else 'returns'} {' or '.join(type_.__name__ for type_ in types)}"
                raise LabwrightError(
                    f"{self.where}: {self.kind} {self.label!r} {asks}; here it is given {type(asked[key]).__name__}."
                )
        try:
            with Room() if self.kind == "model" else nullcontext():
                return self.target(**asked, **(self.settings | built))
        except (ValueError, RuntimeError, MemoryError) as error:
            if not out_of_memory(error) and not isinstance(error, ValueError):
                raise
            reason = error if isinstance(error, ValueError) else "it needs more memory than there is; make it smaller"
            raise LabwrightError(f"{self.where}: {self.kind} {self.label!r} can't be built: {reason}") from error

    def __call__(self, **given: Any) -> Any:
        """What a part awaits: see `_built_part`."""
        return self.build(**given)

    def table(self, *, bare: bool = False) -> dict[str, Any]:
        """The complete table of a recipe, defaults included; None is left out. `bare`: with every default there is."""
        if self.thing is not None:
            return {"object": label_of(type(self.thing))}
        table: dict[str, Any] = {"name": self.name} if self.name else {"object": label_of(self.target)}
        for key, setting in signature(self.target).settings.items():
            own = setting.part or setting.required or not bare
            value = self.settings.get(key, setting.default) if own else setting.default
            if setting.part and value is not None:
                part = _mapped(lambda part: part.table(bare=bare), value)
                # of what has a usual one, such as a schedule, and no settings, the name is enough
                table[key] = part["name"] if isinstance(setting.default, str) and part.keys() == {"name"} else part
            elif value is not None:
                table[key] = setting.written(value)
        return table

    def parts(self) -> dict[str, ComponentSpec]:
        """The components within it by dotted path, such as `data`, `losses.class`, `metrics.0`."""
        found: dict[str, ComponentSpec] = {}
        for key in self._parts():
            found |= _placed(key, self.settings[key])
        return found

    def _parts(self) -> list[str]:
        """The settings that hold a component or several."""
        known = {} if self.thing is not None else signature(self.target).settings
        return [key for key, value in self.settings.items() if key in known and known[key].part and value]

    def marks(self) -> dict[str, Mark]:
        """The search marks of this component and its parts, by dotted path."""
        marks: dict[str, Mark] = {}
        # in the order of the constructor, which is that of a study's dimensions
        for key, setting in ({} if self.thing is not None else signature(self.target).settings).items():
            if setting.mark is not None:
                marks[key] = setting.mark
            for place, part in _placed(key, self.settings.get(key) or {}).items() if setting.part else ():
                marks |= {f"{place}.{path}": mark for path, mark in part.marks().items()}
        return marks


def _copied(module: nn.Module) -> nn.Module:
    """A copy; tensors that were computed, such as a weight that is normalised, are copied by value."""
    values = (value for part in module.modules() for value in vars(part).values())
    tensors = [value for value in values if isinstance(value, Tensor) and not value.is_leaf]
    computed = {id(tensor): tensor.detach().clone() for tensor in tensors}
    memo: dict[int, Any] = dict(computed)
    return deepcopy(module, memo)


def _mapped(change: Callable[[ComponentSpec], Any], value: Any) -> Any:
    """A component changed, or each of a list's or table's."""
    if isinstance(value, Mapping):
        return {key: _mapped(change, part) for key, part in value.items()}
    return [_mapped(change, part) for part in value] if isinstance(value, list) else change(value)


def _placed(place: str, value: Any) -> dict[str, ComponentSpec]:
    """A component by its place, or each of a list's or table's by its own."""
    if isinstance(value, ComponentSpec):
        return {place: value}
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {path: part for key, within in parts for path, part in _placed(f"{place}.{key}", within).items()}


def _built_part(part: ComponentSpec) -> Any:
    """A part that needs ports arrives as a callable awaiting them; a metric always, as each evaluation has its own."""
    return part if part.given or part.kind == "metric" else part.build()


def resolve(kind: str, value: Any, plugins: Plugins, where: Where) -> ComponentSpec:
    """The component that a recipe's value asks for.

    Args:
        kind: task, data, model, loss, optimizer, device, or one that a plugin adds.
        value: a name, a table with a name, or a class or object from Python.
        plugins: that bring the names.
        where: the value's place in a recipe, for messages.

    Raises:
        LabwrightError: for a name that isn't there and for settings that don't fit.
    """
    named = where / "name" if isinstance(value, Mapping) else where
    if isinstance(value, str) or inspect.isclass(value):
        value = {"name": value}
    if not isinstance(value, Mapping):
        return _given_object(kind, value, plugins, where)
    # the mark that `table` leaves for what was given from Python
    if "object" in value:
        raise LabwrightError(
            f"{where}: this {kind} was an object given from Python ({value['object']}); only the process that made it "
            "can use it. Register it in a plugin to name it in recipes."
        )
    if "name" not in value:
        has = f"a table without a name ({listed(value)})" if value else "an empty table"
        raise LabwrightError(f"{where}: given {has}; {a(kind)} has one: {listed(plugins.names(kind))}.")
    name = value["name"]
    target: Any
    if inspect.isclass(name):
        target = _of_kind(kind, name, plugins, where)
        name = ""
    elif isinstance(name, str):
        try:
            target = plugins.load(kind, name)
        except LabwrightError as error:
            raise LabwrightError(f"{named}: {error}") from error
    else:
        raise LabwrightError(f"{named}: given {shown(name)}; {a(kind)} is one of {listed(plugins.names(kind))}.")
    label = f"{kind} {name or target.__name__!r}"
    settings = {key: one for key, one in value.items() if key != "name"}
    # said here, where the name is, and not as a TypeError when it is built
    asks = sorted(set(signature(target).given) - _GIVEN.get(kind, set()))
    if asks:
        raise LabwrightError(
            f"{where}: {label} asks for {' and '.join(asks)} in its constructor, which no {kind} is given."
        )
    return ComponentSpec(kind, name, target, validated(target, settings, label, plugins, where), where=where)


def _given_object(kind: str, thing: Any, plugins: Plugins, where: Where) -> ComponentSpec:
    if thing is None or isinstance(thing, bool | int | float | list | tuple):
        raise LabwrightError(f"{where}: given {shown(thing)}; {a(kind)} is a name or a table with a name.")
    if kind == "optimizer":
        name = type(thing).__name__
        raise LabwrightError(
            f"{where}: given a {label_of(type(thing))}; an optimizer is built over the parameters of a run's own "
            f'model: give the class {name}, or {{"name": {name}, "lr": 0.1}}, instead of an object.'
        )
    _of_kind(kind, type(thing), plugins, where)
    return ComponentSpec(kind, "", None, thing=thing, where=where)


def _of_kind(kind: str, given: type, plugins: Plugins, where: Where) -> type:
    base = plugins.base(kind)
    if not issubclass(given, base):
        raise LabwrightError(
            f"{where}: given a {label_of(given)}, which is no {label_of(base)}; {a(kind)} is one, or a name."
        )
    return given


def validated(target: Any, table: Mapping[str, Any], label: str, plugins: Plugins, where: Where) -> dict[str, Any]:
    """The settings of a constructor from a table.

    Args:
        target: the class or function.
        table: keyword -> value, as a recipe has them.
        label: what the message calls the target, such as `model 'vision/cnn'`.
        plugins: that bring the names of its parts.
        where: the table's place in a recipe.

    Raises:
        LabwrightError: with place, value and what is allowed; for a setting of before, what the class attribute
            `moved` says to write now; for one that doesn't count beside the others, under which it would (Idle).
    """
    settings = signature(target).settings
    for key in table:
        if key not in settings:
            if key in (moved := getattr(target, "moved", {})):
                raise LabwrightError(f"{where / key}: {label} has no setting {key!r} any more: {moved[key]}")
            takes = f"It takes {listed(settings, 40)}." if settings else "It has no settings."
            raise LabwrightError(f"{where / key}: {label} has no setting {key!r}{nearest(key, settings)} {takes}")
    result: dict[str, Any] = {}
    for key, setting in settings.items():
        value, here = table.get(key), where / key
        if value is None and setting.required:
            kind = setting.part.kind if setting.part else ""
            hint = f": {a(kind)}, one of {listed(plugins.names(kind))}" if kind else ""
            raise LabwrightError(f"{here}: {label} needs this setting{hint}.")
        if value is None and key in table and setting.default is not None:
            raise LabwrightError(f"{here}: given None, which means left out; its default is {setting.default!r}.")
        if setting.part:
            part = setting.default if value is None else with_default(value, setting.default)
            if part is not None:
                result[key] = _resolved_part(setting.part, setting.several, part, plugins, here)
        elif value is not None:
            result[key] = checked(setting, value, here, label)
    for key, value in result.items():
        # a default says nothing: a run's own recipe has them all
        for when in settings[key].conditions if value != settings[key].default else ():
            beside = result.get(when.setting, settings[when.setting].default)
            if not when.holds(beside):
                raise Idle(where / key, value, when, beside, label)
    return result


def _resolved_part(part: Part, several: Sequence[type], value: Any, plugins: Plugins, where: Where) -> Any:
    """The component of a setting that is one, or those of a list's or table's."""
    if not several:
        return resolve(part.kind, value, plugins, where)
    heading = plugins.heading(part.kind)
    if several[0] is dict:
        if not isinstance(value, Mapping) or isinstance(value.get("name"), str):
            raise LabwrightError(f"{where}: given {shown(value)}; it is a table of {heading}, each under its own name.")
        places = {str(name): given for name, given in value.items()}
        return {name: _resolved_part(part, several[1:], given, plugins, where / name) for name, given in places.items()}
    if not isinstance(value, list | tuple):
        such = json.dumps(plugins.names(part.kind)[:1])
        raise LabwrightError(f"{where}: given {shown(value)}; it is a list of {heading}, such as {such}.")
    return [_resolved_part(part, several[1:], given, plugins, where / place) for place, given in enumerate(value)]


def check_containers(given: Mapping[str, Any], where: Where) -> None:
    """Raises LabwrightError for fields of a recipe that are no list or no table and should be one."""
    for key, such in (("log", "progress"), ("stop", "early")):
        if not isinstance(value := given[key], list | tuple):
            such = value if isinstance(value, str) and value[:1].isalpha() else such
            raise LabwrightError(f'{where / key}: given {shown(value)}; it is a list, such as ["{such}"].')
    for key in ("train", "search"):
        if not isinstance(given[key], Mapping):
            raise LabwrightError(f"{where / key}: given {shown(given[key])}; it is a table, such as {{ epochs = 5 }}.")


def plain_table(value: Mapping[str, Any], where: Where) -> dict[str, Any]:
    """A table as a recipe holds it. Raises LabwrightError for one that none can hold."""
    try:
        return dict(plain(value))
    except RecursionError:
        raise LabwrightError(f"{where}: it is nested without an end.") from None
    except TypeError as error:
        raise LabwrightError(f"{where}: it has what no recipe can hold: {error}.") from error


def with_default(value: Any, name: Any) -> Any:
    """A table without a name is one of the default component, if there is one."""
    # device = { precision = "bf16" } is the default device, otherwise set
    return {"name": name, **value} if isinstance(value, Mapping) and isinstance(name, str) else value


def checked(setting: Setting, value: Any, where: Where, label: str) -> Any:
    """The value in its Python type. Raises LabwrightError with place, value and what is allowed."""
    of = f" ({label})" if " " in label else ""  # `train` says where it is
    typed = where.source.typed(where.path) if where.source else None
    # TOML reads an override that looks like a number as one; the person typed a text
    if typed is not None and isinstance(value, bool | int | float) and not _is_valid(setting, value):
        value = typed if _is_valid(setting, typed) else value  # a folder called 12e4
    try:
        result = setting.validated(value)
    except ValidationError as error:
        raise LabwrightError(_complaint(setting, error, value, where, of)) from error
    except ValueError as error:
        raise LabwrightError(f"{where}: given {shown(value)}; {error}{of}.") from error
    except TypeError as error:
        raise LabwrightError(f"{where}: {label} is given {shown(value)}, which no recipe can hold: {error}.") from error
    if isinstance(result, Path) and (fault := path_fault(result)):
        raise LabwrightError(f"{where}: given {shown(value)}; {fault}{of}.")
    return result


def _complaint(setting: Setting, error: ValidationError, value: Any, where: Where, of: str) -> str:
    """What pydantic found, in the words of a recipe: place, value, what is allowed, how to write it."""
    faults = error.errors()
    first, path = faults[0], faults[0]["loc"]
    for step in path:
        with suppress(KeyError, IndexError, TypeError):  # a step may be the name of a type, of those that were tried
            value, where = value[step], where / step
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        tables = setting.adapter.json_schema().get("$defs", {}).values()
        takes = {key for table in tables for key in table.get("properties", ())}
        return f"{where}: there is no such field{nearest(str(path[-1]), takes)} It takes {listed(takes, 40)}{of}."
    if first["type"].startswith("missing"):
        return f"{where / str(path[-1])}: this field is needed{of}."
    # pydantic reports each member of a union; those at the same depth are alternatives
    alike = [fault for fault in faults if len(fault["loc"]) == len(path)]  # one for each type of a union
    should = " or ".join(dict.fromkeys(_SHOULD.get(fault["type"]) or _should(fault["msg"]) for fault in alike))
    advice = _advice(setting, first, value)
    is_ = f" {setting.name}: {sentence(setting.description)}" if setting.description and "did you" not in advice else ""
    return sentence(f"{where}: given {shown(value)}; it should {should}{advice}{of}") + is_


def _should(message: str) -> str:
    """Pydantic's "Tuple should have at most 2 items after validation, not 3" without its first and its inner words."""
    said = message.partition(" should ")[2].replace(" after validation", "")
    return said or f"be otherwise: {message}"


def _advice(setting: Setting, fault: ErrorDetails, value: Any) -> str:
    """How what was probably meant is written."""
    kind = fault["type"]
    such = f", such as {setting.default!r}" if isinstance(setting.default, str) else ""
    if kind in ("literal_error", "enum"):
        return nearest(str(value), re.findall(r"'([^']*)'", fault["ctx"]["expected"]), "")
    if kind == "string_type" and isinstance(value, bool | int | float):
        text = json.dumps(value)
        return f'; as text it is written "{text}", in quotes' if _is_valid(setting, text) else such
    if kind not in ("int_type", "float_type", "bool_type"):
        return ""
    text = value.strip() if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else ""
    if text.lower() in ("none", "null", "") and isinstance(value, str) and setting.default is None:
        return "; for none, leave the field out"
    for bare in (text, text.lower(), f"0{text}", f"{text}0"):  # "64" or 64.0, "True", ".5", "5."
        if text and _is_valid(setting, parsed(bare)):
            return f"; write {bare}" + (", without quotes" if bare == value else "")
    return ""


def _is_valid(setting: Setting, value: Any) -> bool:
    try:
        setting.validated(value)
    except (ValueError, TypeError):
        return False
    return True
