"""Recipe files: reading TOML, finding the line of a key, and `field=value` overrides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labwright.errors import LabwrightError, nearest

TABLES = ("task", "model", "loss", "optimizer", "device", "train", "log", "stop", "search")


@dataclass(frozen=True)
class Source:
    """The text a recipe was read from, to say on which line a key stands."""

    file: Path
    text: str

    def place(self, path: tuple[str, ...]) -> str:
        """`file:line` of the innermost key of the path that stands in the text; the file alone if none does."""
        for end in range(len(path), 0, -1):
            line = self._line(path[:end])
            if line:
                return f"{self.file}:{line}"
        return str(self.file)

    def _line(self, path: tuple[str, ...]) -> int | None:
        header: tuple[str, ...] = ()
        for number, line in enumerate(self.text.splitlines(), 1):
            if table := re.match(r"\s*\[+([^\]]+)\]+", line):
                header = tuple(part.strip().strip("\"'") for part in table[1].split("."))
                if header == path:
                    return number
            elif path[: len(header)] == header and len(path) > len(header) and _assigns(line, path[len(header) :]):
                return number
        return None


def _assigns(line: str, keys: tuple[str, ...]) -> bool:
    """Whether a line sets a key, given as `a = ...`, `a.b = ...` or inside inline tables."""
    first = re.match(r"\s*([\w.\"'-]+)\s*=", line)
    if not first:
        return False
    begun = tuple(part.strip("\"'") for part in first[1].split("."))
    if keys[: len(begun)] != begun:
        return False
    rest = line[first.end() :]
    for key in keys[len(begun) :]:
        inner = re.search(rf"[{{,]\s*[\"']?{re.escape(key)}[\"']?\s*=", rest)
        if not inner:
            return False
        rest = rest[inner.end() :]
    return True


def read_recipe(file: Path) -> tuple[dict[str, Any], Source]:
    """The tables of a recipe file. Raises LabwrightError if it isn't there or is no TOML."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        beside = [str(other) for other in file.parent.glob("*.toml")] if file.parent.is_dir() else []
        raise LabwrightError(
            f"there is no recipe file {str(file)!r}{nearest(str(file), beside)}. An argument that ends in .toml is a "
            "file, any other a recipe's name: `labwright list recipes`."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LabwrightError(f"the recipe file {file} can't be read: {error}.") from error
    try:
        return tomllib.loads(text), Source(file, text)
    except tomllib.TOMLDecodeError as error:
        raise LabwrightError(f"{file} is no TOML: {error}.") from error


def override(recipe: Mapping[str, Any], overrides: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The recipe with `field.path=value` overrides, and notes on the settings that fell away with a changed name.

    Raises LabwrightError for an override that is no assignment or leads through something that is no table.
    """
    changed = deepcopy(dict(recipe))
    notes: list[str] = []
    for text in overrides:
        path, equals, value = text.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise LabwrightError(f"override {text!r} is no assignment: write field=value, such as train.epochs=5.")
        if keys[0] not in TABLES:
            raise LabwrightError(
                f"override {text!r}: a recipe has no {keys[0]!r}{nearest(keys[0], TABLES)}. It has {', '.join(TABLES)}."
            )
        _set(changed, keys, parsed(value.strip()), text, notes)
    return changed, notes


def parsed(text: str) -> Any:
    """A value as TOML reads it, else the text itself: 3, 1e-3, true, [1, 2], cosine."""
    try:
        value = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    plain = len(value) == 1 and isinstance(value["value"], bool | int | float | str | list | dict)
    return value["value"] if plain else text


def _set(recipe: dict[str, Any], keys: list[str], value: Any, text: str, notes: list[str]) -> None:
    table = recipe
    for depth, key in enumerate(keys[:-1], 1):
        below = table.setdefault(key, {})
        if isinstance(below, str):  # a component given by its name alone
            below = table[key] = {"name": below}
        if not isinstance(below, dict):
            raise LabwrightError(f"override {text!r}: {'.'.join(keys[:depth])} is {below!r}, which has no fields.")
        table = below
    last = keys[-1]
    before = table.get(last)
    if isinstance(value, str) and isinstance(before, dict) and "name" in before:
        table, keys, last = before, [*keys, "name"], "name"
    if last == "name" and "name" in table and table["name"] != value and len(keys) > 1:
        fell = sorted(key for key in table if key != "name")
        if fell:
            component = ".".join(keys[:-1])
            notes.append(f"{component} is now {value!r}; settings of {table['name']!r} dropped: {', '.join(fell)}")
        table.clear()
    table[last] = value
