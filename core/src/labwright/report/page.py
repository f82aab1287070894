"""The pieces a report's page is put together from: `page.section(...)` and the like are the macros of parts.html.

Each gives markup; every text that is no markup is escaped there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup


def __getattr__(name: str) -> Callable[..., Markup]:
    macro: Callable[..., Markup] = getattr(_parts(), name)
    return macro


@cache
def _parts() -> Any:
    """The macros of parts.html."""
    environment = Environment(loader=PackageLoader("labwright.report"), autoescape=True, finalize=visible)
    environment.filters |= {"cell": _cell, "numeric": _numeric}
    return environment.get_template("parts.html").module


def visible(value: Any) -> Any:
    """A text with its control characters written out, as they would be invisible."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda one: ascii(one[0])[1:-1], value)


def _cell(value: object) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if whole else str(value)


def _numeric(rows: Sequence[Sequence[object]], columns: int) -> list[bool]:
    """For each column whether all it holds are numbers."""
    return [column > 0 and all(_is_number(row[column]) for row in rows) for column in range(columns)]


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value in ("", "-") or value.replace(".", "", 1).replace("%", "", 1).lstrip("-+").isdigit()
    return isinstance(value, int | float) and not isinstance(value, bool)
