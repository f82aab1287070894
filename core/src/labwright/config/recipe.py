"""Recipe files: reading TOML, finding the line of a key, and `field=value` overrides."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labwright.base import toml
from labwright.base.errors import LabwrightError, nearest, shown
from labwright.base.files import json_text

TABLES = ("task", "model", "loss", "optimizer", "device", "train", "start", "log", "stop", "search")


@dataclass(frozen=True)
class Source:
    """The text a recipe was read from, to say on which line a key stands; `overridden` are fields with other values."""

    file: Path
    text: str
    overridden: tuple[tuple[tuple[str, ...], str], ...] = ()

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
        line = self._line(tuple(path))
        return f"{self.file}:{line}: " if line else f"{self.file}: "

    def _line(self, path: tuple[str, ...]) -> int | None:
        """The line of the first statement that holds the path, or as much of it as stands in the text."""
        lines = self.text.split("\n")
        header: tuple[str, ...] = ()
        found, line = 0, None
        for begin, end in toml.statements(self.text):
            table: dict[str, Any] | None = tomllib.loads("\n".join(lines[begin:end]))
            if lines[begin].lstrip().startswith("["):
                header, table = _header(table), None
            # the longest part of the path wins: a missing key is shown at the table it belongs in
            for size in range(len(path), found, -1):
                if _stands(path[:size], header, table):
                    found, line = size, _inner(path[size - 1], lines, begin, end)
                    break
            if found == len(path):
                break
        return line


def _stands(path: tuple[str, ...], header: tuple[str, ...], table: Any) -> bool:
    """Whether a path stands in a statement below a header, or, without a table, in the header itself."""
    if table is None:
        return header[: len(path)] == path
    return path[: len(header)] == header and _holds(table, path[len(header) :])


def _header(table: Any) -> tuple[str, ...]:
    """The keys of a line such as `[optimizer.groups]`, read as TOML."""
    keys = []
    while table:
        if isinstance(table, list):
            (table,) = table
            continue
        ((key, table),) = table.items()
        keys.append(key)
    return tuple(keys)


def _inner(key: str, lines: Sequence[str], begin: int, end: int) -> int:
    """The line of a key in a statement of several lines."""
    sought = re.compile(rf"(^|[\s{{,.\"'[]){re.escape(key)}[\"']?\s*[=\]]")
    return next((number for number in range(begin, end) if sought.search(lines[number])), begin) + 1


def _holds(value: Any, path: Sequence[str]) -> bool:
    if isinstance(value, list):
        return any(_holds(one, path) for one in value)
    return not path or (isinstance(value, dict) and path[0] in value and _holds(value[path[0]], path[1:]))


def read_recipe(file: Path) -> tuple[dict[str, Any], Source]:
    """The tables of a recipe file. Raises LabwrightError if it isn't there or is no TOML."""
    try:
        table, text = toml.read(file)
    except FileNotFoundError as error:
        beside = [str(other) for other in file.parent.glob("*.toml")] if file.parent.is_dir() else []
        raise LabwrightError(
            f"there is no recipe file {str(file)!r}{nearest(str(file), beside)} An argument that ends in .toml is a "
            "file, any other a recipe's name: `labwright list recipes`."
        ) from error
    except OSError as error:
        raise LabwrightError(f"the recipe file {file} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise LabwrightError(f"{file} is no TOML: {error}.") from error
    return table, Source(file, text)


def changed(recipe: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with other values at dotted paths; what isn't a table or list, such as an object, is kept as it is.

    Raises LabwrightError for a path that leads to no field of a recipe.
    """
    result: dict[str, Any] = _copied(recipe)
    for path, value in values.items():
        keys = _keys(path)
        _check_keys(keys, f"path {shown(path)}")
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
            raise LabwrightError(f"override {shown(text)} is no assignment: write field=value, such as train.epochs=5.")
        _check_keys(keys, f"override {shown(text)}")
        given = parsed(value.strip())
        if keys[-1] == "name" and len(keys) > 1 and isinstance(given, str):  # model.name=x is model=x
            keys = keys[:-1]
        table = _table_at(changed, keys[:-1], text)
        # `train.epochs=` without a value
        if given == "":
            table.pop(keys[-1], None)
        else:
            notes += _set(table, keys, given)
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
    keys = re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", path)
    return tuple(key.strip("\"'") for key in keys) if path and ".".join(keys) == path else ("",)


def _check_keys(keys: tuple[str, ...], given: str) -> None:
    if keys[0] not in TABLES:
        raise LabwrightError(
            f"{given}: a recipe has no {keys[0]!r}{nearest(keys[0], TABLES)} It has {', '.join(TABLES)}."
        )
    if len(keys) > toml.MOST_DEEP:
        raise LabwrightError(f"{given}: it leads {len(keys)} tables deep; a recipe has {toml.MOST_DEEP} at most.")


def _table_at(table: dict[str, Any], keys: Sequence[str], text: str) -> dict[str, Any]:
    """The table below a recipe's that an override leads to, made where there is none."""
    for depth, key in enumerate(keys, 1):
        below = table.setdefault(key, {})
        if isinstance(below, str | type):  # a component given by its name, or from Python its class, alone
            below = table[key] = {"run" if keys[0] == "start" else "name": below}
        if not isinstance(below, dict):
            raise LabwrightError(
                f"override {shown(text)}: {'.'.join(keys[:depth])} is {shown(below)}, which has no fields."
            )
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


def plain(recipe: Mapping[str, Any]) -> Any:
    """A recipe's tables as a checkpoint keeps them: as JSON gives them back."""
    return json.loads(json_text(recipe, default=str))


def changes(before: Any, recipe: Mapping[str, Any], where: Iterable[str] = ()) -> list[str]:
    """What a recipe says otherwise than one that `plain` gave, as `path from VALUE to VALUE`; what only watches is left
    out. `where` are the paths that matter, all if there are none.
    """
    was, now = dict(_leaves(before)), dict(_leaves(plain(recipe)))
    matter = tuple(where)
    return [
        f"{path} from {_said(was, path)} to {_said(now, path)}"
        for path in dict.fromkeys([*was, *now])
        if was.get(path, ...) != now.get(path, ...)
        and path.partition(".")[0] not in ("log", "search")
        and (not matter or any(f"{path}.".startswith(f"{one}.") for one in matter))
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or path):
        for key, one in value.items():
            yield from _leaves(one, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _said(values: Mapping[str, Any], path: str) -> str:
    return json_text(values[path]) if path in values else "nothing"
