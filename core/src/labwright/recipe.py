"""Recipe files: reading TOML, finding the line of a key, and `field=value` overrides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labwright.errors import LabwrightError, nearest

TABLES = ("task", "model", "loss", "optimizer", "device", "train", "log", "stop", "search")


@dataclass(frozen=True)
class Source:
    """The text a recipe was read from, to say on which line a key stands; `overridden` came from elsewhere."""

    file: Path
    text: str
    overridden: tuple[tuple[str, ...], ...] = ()

    def with_overrides(self, overrides: Iterable[str]) -> Source:
        """The same text, where some of it no longer holds."""
        return replace(self, overridden=tuple(_keys(text.partition("=")[0]) for text in overrides))

    def place(self, path: Sequence[str]) -> str:
        """`file:line: ` of the innermost key of the path that stands in the text; nothing for an overridden one."""
        if any(tuple(path[: len(keys)]) == keys for keys in self.overridden):
            return ""
        for end in range(len(path), 0, -1):
            line = self._line(path[:end])
            if line:
                return f"{self.file}:{line}: "
        return f"{self.file}: "

    def _line(self, path: Sequence[str]) -> int | None:
        """The line a key stands on: of the first statement after which the text so far, read as TOML, holds it."""
        lines, begin = self.text.split("\n"), 0
        for end in range(1, len(lines) + 1):
            try:
                table = tomllib.loads("\n".join(lines[:end]))
            except tomllib.TOMLDecodeError:  # in the middle of a statement of several lines
                continue
            if _holds(table, path):
                key = re.compile(rf"(^|[\s{{,.\"'[]){re.escape(path[-1])}[\"']?\s*[=\]]")
                inner = (number for number in range(begin, end) if key.search(lines[number]))
                return next(inner, begin) + 1
            begin = end
        return None


def _holds(value: Any, path: Sequence[str]) -> bool:
    if isinstance(value, list):
        return any(_holds(one, path) for one in value)
    return not path or (isinstance(value, dict) and path[0] in value and _holds(value[path[0]], path[1:]))


def read_recipe(file: Path) -> tuple[dict[str, Any], Source]:
    """The tables of a recipe file. Raises LabwrightError if it isn't there or is no TOML."""
    try:
        text = file.read_text(encoding="utf-8")
        return tomllib.loads(text), Source(file, text)
    except FileNotFoundError as error:
        beside = [str(other) for other in file.parent.glob("*.toml")] if file.parent.is_dir() else []
        raise LabwrightError(
            f"there is no recipe file {str(file)!r}{nearest(str(file), beside)} An argument that ends in .toml is a "
            "file, any other a recipe's name: `labwright list recipes`."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise LabwrightError(f"{file} is no TOML: {error}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LabwrightError(f"the recipe file {file} can't be read: {error}.") from error


def changed(recipe: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with other values at dotted paths; what isn't a table or list, such as an object, is kept as it is."""
    result: dict[str, Any] = _copied(recipe)
    for path, value in values.items():
        keys = _keys(path)
        _set(_table_at(result, keys[:-1], path), keys, value)
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list | tuple) else value


def override(recipe: Mapping[str, Any], overrides: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The recipe with `field.path=value` overrides, and notes on the settings that fell away with a changed name.

    A value is read as TOML, else as text; none at all (`train.epochs=`) leaves the field out. Raises LabwrightError for
    an override that is no assignment or leads through something that is no table.
    """
    changed = deepcopy(dict(recipe))
    notes: list[str] = []
    for text in overrides:
        path, equals, value = text.partition("=")
        keys = _keys(path)
        if not equals or not all(keys):
            raise LabwrightError(f"override {text!r} is no assignment: write field=value, such as train.epochs=5.")
        if keys[0] not in TABLES:
            raise LabwrightError(
                f"override {text!r}: a recipe has no {keys[0]!r}{nearest(keys[0], TABLES)} It has {', '.join(TABLES)}."
            )
        given = parsed(value.strip())
        if keys[-1] == "name" and len(keys) > 1 and isinstance(given, str):  # model.name=x is model=x
            keys = keys[:-1]
        table = _table_at(changed, keys[:-1], text)
        if given == "":
            table.pop(keys[-1], None)
        else:
            notes += _set(table, keys, given)
    return changed, notes


def parsed(text: str) -> Any:
    """A value as TOML reads it, else the text itself: 3, 1e-3, true, [1, 2], cosine."""
    try:
        value = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    plain = len(value) == 1 and isinstance(value["value"], bool | int | float | str | list | dict)
    return value["value"] if plain else text


def _keys(path: str) -> tuple[str, ...]:
    """The keys of a dotted path; one with dots of its own stands in quotes: `optimizer.groups."*.bias".lr_factor`."""
    path = path.strip()
    keys = re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", path)
    return tuple(key.strip("\"'") for key in keys) if path and ".".join(keys) == path else ("",)


def _table_at(table: dict[str, Any], keys: Sequence[str], text: str) -> dict[str, Any]:
    """The table below a recipe's that an override leads to, made where there is none."""
    for depth, key in enumerate(keys, 1):
        below = table.setdefault(key, {})
        if isinstance(below, str | type):  # a component given by its name, or from Python its class, alone
            below = table[key] = {"name": below}
        if not isinstance(below, dict):
            raise LabwrightError(f"override {text!r}: {'.'.join(keys[:depth])} is {below!r}, which has no fields.")
        table = below
    return table


def _set(table: dict[str, Any], keys: Sequence[str], value: Any) -> list[str]:
    """Set the last of the keys. What stood in a table that is replaced, as by another name, falls away with a note."""
    before = table.get(keys[-1])
    if isinstance(before, dict) and before.get("name") == value:
        return []
    table[keys[-1]] = value
    if not isinstance(before, dict):
        return []
    fell = sorted(before.keys() - (value.keys() if isinstance(value, dict) else ()) - {"name"})
    of = f" of {before['name']!r}" if "name" in before else ""
    now = value.get("name", value) if isinstance(value, dict) else value
    return [f"{'.'.join(keys)} is now {now!r}; settings{of} dropped: {', '.join(fell)}"] if fell else []
