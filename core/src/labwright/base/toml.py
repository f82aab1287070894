"""TOML that people write: files with or without a byte order mark, of a size and depth that settings have."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

from labwright.base.errors import LabwrightError

MOST_BYTES = 1_000_000
MOST_DEEP = 50


def read(file: Path) -> tuple[dict[str, Any], str]:
    """The table a file holds, and its text. Raises LabwrightError for what can't be opened, and for what is no TOML."""
    try:
        text = _text(file)
        return loads(text), text
    except (OSError, ValueError) as error:
        raise LabwrightError(f"{file} can't be read: {getattr(error, 'strerror', None) or error}.") from error


def _text(file: Path) -> str:
    mode = file.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError("it is a pipe or a device")
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes, which is too much to be settings")
    try:  # some shells write UTF-16 where output is redirected, which fails at its first byte
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is no UTF-8, byte {content[error.start]:#04x}; save it as UTF-8") from error


def loads(text: str) -> dict[str, Any]:
    """The table a text holds. Raises ValueError for what is no TOML, is nested too deep, or has too long a number."""
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_DEEP} deep") from None
    check(table)
    return table


def table_at(table: Any, *keys: str) -> Any:
    """What stands below tables of these names; an empty table where there are none."""
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table


def check(table: Any) -> None:
    """Raises ValueError for tables and lists in one another beyond MOST_DEEP, and whole numbers beyond 64 bits."""
    # a stack of our own, as what is checked may be nested deeper than Python calls
    waiting = [(table, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MOST_DEEP:
            raise ValueError(f"it is nested more than {MOST_DEEP} deep")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"it has a whole number of {value.bit_length()} bits; 64 are the most")
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += ((element, depth + 1) for element in inner)
