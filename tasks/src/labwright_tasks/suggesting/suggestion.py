"""A recipe that is suggested, with its reasons, and how it is written."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

_WIDE = 120


@dataclass(frozen=True)
class Suggestion:
    """What some data is, and a recipe for it.

    `what` is the data in words: "pictures of 3 classes". `reasons` say why, by the recipe's table that they are of.
    `oddities` are sentences about what a person should look at first. `fit`, 0 to 1, is how much speaks for it beside
    other ways to read the same files.
    """

    what: str
    recipe: Mapping[str, Any]
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    oddities: tuple[str, ...] = ()
    fit: float = 0.5

    def toml(self) -> str:
        """The recipe as a file, each table on a line below its reasons."""
        lines = _comments(f"{self.what[:1].upper()}{self.what[1:]}.", *self.oddities)
        for table, value in self.recipe.items():
            lines += ["", *_comments(*self.reasons.get(table, ())), f"{table} = {_inline(value)}"]
        return "\n".join(lines) + "\n"


def _comments(*sentences: str) -> list[str]:
    return [f"# {line}" for one in sentences for line in textwrap.wrap(one, _WIDE - 2, break_long_words=False)]


class Suggester(Protocol):
    """Whatever looks at a file or a folder and knows its kind: a component of the kind `suggester`.

    It gives None for what is none of its own. Raises LabwrightError for what is of its kind and can't be used.
    """

    def __call__(self, path: Path) -> Suggestion | None: ...


def _inline(value: Any) -> str:
    """A value as TOML has it on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return (
        json.dumps(value, ensure_ascii=False) if isinstance(value, bool | int | float | str) else json.dumps(str(value))
    )
