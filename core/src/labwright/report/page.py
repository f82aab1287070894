"""A report's page and the pieces it is put together from: `page.section(...)` and the like are macros of parts.html.

Each gives markup; every text that is no markup is escaped there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from labwright.base.files import write_text


def write(folder: Path, title: str, body: Iterable[str]) -> None:
    """Write report.html into a folder, whole or not at all; `body` are the parts of the page.

    An error while it is made or written ends in a warning: what is reported on isn't lost for its report.
    """
    try:
        made = f"labwright {metadata.version('labwright')}, {datetime.now().astimezone():%d %B %Y, %H:%M %Z}"
        write_text(folder / "report.html", _parts().document(title, body, made))
    except Exception as error:  # noqa: BLE001 - whatever a part's maker raises
        warn(f"{folder}: report.html could not be written", error)


def warn(what: str, error: Exception) -> None:
    """Log what a report lacks, and why."""
    logging.getLogger(__name__).warning("%s: %s: %s", what, type(error).__name__, error)


def __getattr__(name: str) -> Callable[..., Markup]:
    macro: Callable[..., Markup] = getattr(_parts(), name)
    return macro


@cache
def _parts() -> Any:
    """The macros of parts.html."""
    environment = Environment(loader=PackageLoader("labwright.report"), autoescape=True, finalize=visible)
    environment.filters |= {"cell": _cell, "numeric": _numeric, "contents": _contents}
    return environment.get_template("parts.html").module


def visible(value: Any) -> Any:
    """A text with its control characters written out, as they would be invisible."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda match: ascii(match[0])[1:-1], value)


def _contents(parts: Iterable[str]) -> list[tuple[str, str]]:
    """Of each section its address within the page and its title, as markup."""
    return re.findall(r'^<section id="([^"]*)">\n<h2>(.*)</h2>$', "\n".join(parts), re.MULTILINE)


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
