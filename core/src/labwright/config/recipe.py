"""Recipe files: reading TOML, finding the line of a key, what is laid on what, and `field=value` overrides."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from labwright.base import toml
from labwright.base.errors import LabwrightError, listed, nearest, shown
from labwright.base.files import json_text
from labwright.plugin.registry import Plugins, parted

TABLES = ("task", "model", "loss", "optimizer", "method", "device", "train", "start", "log", "stop", "search")
FIELDS = (*TABLES, "base", "variants")  # of a file: what its tables are laid on, and what may be laid on them, too
_LENGTHS: dict[tuple[str, ...], str] = {("train", "epochs"): "steps", ("train", "steps"): "epochs"}


@dataclass(frozen=True)
class Source:
    """The text a recipe was read from, to say on which line a key stands; `overridden` are fields with other values.

    Of a recipe that is laid on another text, `under` is that one, `tables` are its own, and `whole` came of both.
    `role` says what a text is to the recipe, its `base`, the `file` itself or a `variant` in it, and `name` which.
    """

    file: Path
    text: str
    overridden: tuple[tuple[tuple[str, ...], str], ...] = ()
    under: Source | None = None
    tables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    whole: Mapping[str, Any] = field(default_factory=dict, repr=False)
    role: str = "file"
    name: str = ""

    @property
    def layers(self) -> list[Source]:
        """This and what it is laid on, the last first."""
        return [self, *(self.under.layers if self.under else ())]

    @property
    def origins(self) -> dict[str, str]:
        """The texts by what they are to the recipe, the lowest first."""
        return {layer.role: layer.name for layer in reversed(self.layers)}

    def with_overrides(self, overrides: Iterable[str]) -> Source:
        """The same text, where some of it no longer holds."""
        parts = [text.partition("=") for text in overrides]
        return replace(self, overridden=tuple((_keys(path), value.strip()) for path, _, value in parts))

    def typed(self, path: Sequence[str]) -> str | None:
        """What an override said, as it was typed, for exactly this field."""
        return dict(self.overridden).get(tuple(path))

    def place(self, path: Sequence[str]) -> str:
        """`file:line: ` of the innermost key of the path that stands in the text; nothing for an overridden one."""
        if any(tuple(path[: len(keys)]) == keys for keys, _ in self.overridden):
            return ""
        layer = self
        if self.under:
            path = path[: _depth(self.whole, path)]  # without what fell away, which a text may still have
            layer = max(self.layers, key=lambda one: _depth(one.tables, path))
        within = ("variants", layer.name) if layer.role == "variant" and path else ()
        line = layer._line((*within, *path))
        return f"{layer.file}:{line}: " if line else f"{layer.file}: "

    def _line(self, path: tuple[str, ...]) -> int | None:
        """The line of the first statement that holds the path, or as much of it as stands in the text."""
        lines = self.text.split("\n")
        header, begin, most, line = "", 0, 0, None
        for end in range(1, len(lines) + 1):
            statement = "\n".join(lines[begin:end])
            try:
                table = tomllib.loads(f"{header}\n{statement}")
            except tomllib.TOMLDecodeError:  # it goes on in the next line
                continue
            if statement.lstrip().startswith("["):
                header = statement
            # the longest part of the path wins: a missing key is shown at the table it belongs in
            if (depth := _depth(table, path)) > most:
                most, line = depth, _inner(path[depth - 1], lines, begin, end)
            begin = end
        return line


def _depth(value: Any, path: Sequence[str]) -> int:
    """How many keys of a path, from its first on, stand in a table; in a list of tables, in any of them."""
    if isinstance(value, list):
        return max((_depth(element, path) for element in value), default=0)
    if not path or not isinstance(value, dict) or path[0] not in value:
        return 0
    return 1 + _depth(value[path[0]], path[1:])


def _inner(key: str, lines: Sequence[str], begin: int, end: int) -> int:
    """The line of a key in a statement of several lines."""
    sought = re.compile(rf"(^|[\s{{,.\"'[]){re.escape(key)}[\"']?\s*[=\]]")
    return next((number for number in range(begin, end) if sought.search(lines[number])), begin) + 1


def read_recipe(file: Path) -> tuple[dict[str, Any], Source]:
    """The tables of a recipe file. Raises LabwrightError if it isn't there or is no TOML."""
    try:
        table, text = toml.read(file)
    except LabwrightError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        beside = [str(other) for other in file.parent.glob("*.toml")] if file.parent.is_dir() else []
        raise LabwrightError(
            f"there is no recipe file {str(file)!r}{nearest(str(file), beside)} What ends in .toml is a file, anything "
            "else a recipe's name: `labwright list recipes`."
        ) from error
    return table, Source(file, text)


def whole_recipe(recipe: str, plugins: Plugins) -> tuple[dict[str, Any], Source, list[str]]:
    """The tables of a recipe, laid on those of its base; and notes on what fell away.

    Args:
        recipe: a name, or a file that ends in .toml; `:VARIANT` behind it lays one of its variants on the whole.
        plugins: that bring the names of recipes.

    Raises:
        LabwrightError: for what isn't there or can't be read, and a base that has one itself.
    """
    table, own = read_recipe(plugins.recipe_file(recipe))
    base, variants = table.pop("base", None), table.pop("variants", {})
    layers = [replace(own, tables=table, name=str(own.file))]
    if base is not None:
        layers.insert(0, _base(base, own, plugins))
    if not isinstance(variants, dict) or not all(isinstance(one, dict) and one for one in variants.values()):
        given = f"{own.place(('variants',))}variants: given {shown(variants)}"
        raise LabwrightError(f"{given}; each is a table of what it changes, such as wide = {{ model.width = 512 }}.")
    if name := parted(recipe)[1]:
        if name not in variants:
            known = f"{nearest(name, variants)} It has {listed(variants)}."
            raise LabwrightError(f"{own.file}: no variant is called {name!r}{known}")
        layers.append(replace(own, tables=variants[name], role="variant", name=name))
    whole, notes = dict(layers[0].tables), list[str]()
    source = replace(layers[0], whole=whole)
    for layer in layers[1:]:
        whole, fell = laid(whole, layer.tables)
        notes += [f"{layer.role} {layer.name}: {note}" for note in fell]
        source = replace(layer, under=source, whole=whole)
    return whole, source, notes


def _base(base: Any, own: Source, plugins: Plugins) -> Source:
    """What a recipe is laid on. Raises LabwrightError if there is no such recipe, or if that is laid on another."""
    where = f"{own.place(('base',))}base"
    if not isinstance(base, str):
        raise LabwrightError(f"{where}: given {shown(base)}; it is a recipe's name, or a file that ends in .toml.")
    try:
        table, source = read_recipe(own.file.parent / base if base.endswith(".toml") else plugins.recipe(base).path)
    except LabwrightError as error:
        raise LabwrightError(f"{where}: {error}") from error
    if "base" in table:
        raise LabwrightError(
            f"{where}: {base!r} has a base itself, {shown(table['base'])}, and one level is all there is: name that "
            f"one, and write here what {base!r} changes of it."
        )
    table.pop("variants", None)
    return replace(source, tables=table, role="base", name=base)


def laid(under: Mapping[str, Any], over: Mapping[str, Any], *path: str) -> tuple[dict[str, Any], list[str]]:
    """Tables laid on others, and notes on what fell away.

    Tables are merged key by key, anything else takes the place of what was there, lists too. Settings belong to the
    component that they are of: under another `name` none of them stays. An empty text leaves out what was there, and
    of `train.epochs` and `train.steps` one replaces the other, as in an override.
    """
    result, notes = dict(under), list[str]()
    for key, value in over.items():
        here = (*path, key)
        before: Any = result.get(key)
        if isinstance(value, Mapping) and isinstance(before, str):
            before = {"run" if here == ("start",) else "name": before}
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        if value == "" and before is not None:
            del result[key]
        elif both and value.get("name", before.get("name")) == before.get("name"):
            result[key], fell = laid(before, value, *here)
            notes += fell
        else:
            notes += _set(result, here, value)
        other = _LENGTHS.get(here, "")
        if other in result and other not in over and key not in under:
            notes.append(f"train.{other}={result.pop(other)} is left out: train.{key}={value} says how long.")
    return result, notes


def changed(recipe: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with other values at dotted paths; what isn't a table or list, such as an object, is kept as it is.

    Raises LabwrightError for a path that leads to no field of a recipe.
    """
    result: dict[str, Any] = _copied(recipe)
    for path, value in values.items():
        keys, given = _keys(path), f"path {shown(path)}"
        _set(_table_of(result, keys, given), keys, _copied(value))
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list | tuple) else value


def override(recipe: Mapping[str, Any], overrides: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The recipe with `field.path=value` overrides, and notes on the settings that fell away with a changed name.

    A value is read as TOML, else as text; none at all (`train.epochs=`) leaves the field out. Of `train.epochs` and
    `train.steps` an override replaces the other one, if only that is in the recipe. Raises LabwrightError for an
    override that is no assignment or leads through something that is no table.
    """
    changed: dict[str, Any] = _copied(recipe)
    notes: list[str] = []
    overrides = list(overrides)
    overridden = {_keys(text.partition("=")[0]) for text in overrides}
    for text in overrides:
        path, equals, value = text.partition("=")
        keys, given = _keys(path), f"override {shown(text)}"
        if not equals or not all(keys):
            raise LabwrightError(f"{given} is no assignment: write field=value without spaces, such as train.epochs=5.")
        new = parsed(value.strip())
        if keys[-1] == "name" and len(keys) > 1 and isinstance(new, str):  # model.name=x is model=x
            keys = keys[:-1]
        table = _table_of(changed, keys, given)
        # `train.epochs=` without a value
        if new == "":
            table.pop(keys[-1], None)
        else:
            notes += _set(table, keys, new)
            other = _LENGTHS.get(keys, "")
            if other in table and ("train", other) not in overridden and keys[-1] not in recipe.get("train", {}):
                notes.append(f"train.{other}={table.pop(other)} is left out: {'.'.join(keys)}={new} says how long.")
    return changed, notes


def parsed(text: str) -> Any:
    """A value as TOML reads it, else the text itself: 3, 1e-3, true, [1, 2], cosine."""
    try:
        value = toml.loads(f"value = {text}")
    except ValueError:
        return text
    plain = len(value) == 1 and isinstance(value["value"], bool | int | float | str | list | dict)
    return value["value"] if plain else text


def _keys(path: str) -> tuple[str, ...]:
    """The keys of a dotted path; one with dots of its own stands in quotes: `optimizer.groups."*.bias".lr_factor`."""
    path = path.strip()
    # what the pattern leaves out, such as a second dot, is missing when the keys are put together again
    keys = re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", path)
    return tuple(key.strip("\"'") for key in keys) if path and ".".join(keys) == path else ("",)


def _table_of(recipe: dict[str, Any], keys: Sequence[str], given: str) -> dict[str, Any]:
    """The table of a recipe that the last of the keys stands in, made where there is none."""
    if keys[0] not in TABLES:
        within = [name for name, part in recipe.items() if isinstance(part, dict) and keys[0] in part]
        hint = f"; did you mean {within[0]}.{'.'.join(keys)}?" if within else nearest(keys[0], TABLES)
        raise LabwrightError(f"{given}: a recipe has no {keys[0]!r}{hint} It has {', '.join(TABLES)}.")
    if len(keys) > toml.MOST_DEEP:
        raise LabwrightError(f"{given}: it leads {len(keys)} tables deep; a recipe has {toml.MOST_DEEP} at most.")
    table = recipe
    for depth, key in enumerate(keys[:-1], 1):
        below = table.setdefault(key, {})
        if isinstance(below, str | type):  # a component given by its name, or from Python its class, alone
            below = table[key] = {"run" if keys[0] == "start" else "name": below}
        if not isinstance(below, dict):
            raise LabwrightError(f"{given}: {'.'.join(keys[:depth])} is {shown(below)}, which has no fields.")
        table = below
    return table


def _set(table: dict[str, Any], keys: Sequence[str], value: Any) -> list[str]:
    """Set the last of the keys. What stood in a table that is replaced, as by another name, falls away with a note."""
    before = table.get(keys[-1])
    # the name it has already: its settings stay
    if isinstance(before, dict) and before.get("name") == value:
        return []
    table[keys[-1]] = value
    if not isinstance(before, dict):
        return []
    fell = sorted(before.keys() - (value.keys() if isinstance(value, dict) else ()) - {"name"})
    of = f"{'.'.join(keys)} {before['name']!r}" if "name" in before else ".".join(keys)
    return [f"settings of {of} dropped: {', '.join(fell)}"] if fell else []


def plain(recipe: Mapping[str, Any]) -> Any:
    """A recipe's tables as a checkpoint keeps them: as JSON gives them back."""
    return json.loads(json_text(recipe, default=str))


def changes(before: Any, recipe: Mapping[str, Any], where: Iterable[str] = ()) -> list[str]:
    """What a recipe says otherwise than one that `plain` gave, as `path VALUE -> VALUE`; what only watches is left out.
    `where` are the paths that matter, all if there are none.
    """
    was, now = ({path: json_text(value) for path, value in leaves(table)} for table in (before, plain(recipe)))
    matter = tuple(where)
    return [
        f"{path} {was.get(path, 'unset')} -> {now.get(path, 'unset')}"
        for path in dict.fromkeys([*was, *now])
        if was.get(path) != now.get(path)
        and path.partition(".")[0] not in ("log", "search")
        and (not matter or any(f"{path}.".startswith(f"{one}.") for one in matter))
    ]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What stands in tables, by dotted path; a list is one value."""
    if isinstance(value, Mapping) and (value or path):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
