"""What a project says about plugins: the nearest labwright.toml, or `[tool.labwright]` of the nearest pyproject.toml.

Both hold for the folder they lie in and for those below. Where both lie, labwright.toml is read alone.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labwright.errors import LabwrightError, listed, nearest

FILE, PYPROJECT, TABLE = "labwright.toml", "pyproject.toml", "[tool.labwright]"
MEANING = {
    "allow": 'a list of plugin names, such as ["nlp"]',
    "disable": 'a list of plugin names, such as ["nlp"]',
    "local": 'a list of Python files, such as ["labwright_local.py"]',
}


@dataclass(frozen=True)
class Settings:
    """`disable` are plugins that are left out; of `allow`, if it is there, no others are used; `local` are files.

    `origin` says where it stands.
    """

    origin: str = ""
    disable: tuple[str, ...] = ()
    allow: tuple[str, ...] | None = None
    local: tuple[Path, ...] = ()


def read() -> Settings:
    """The settings that hold in the working folder. Raises LabwrightError for those that can't be read."""
    file = nearby(FILE, PYPROJECT)
    if file is None:
        return Settings()
    in_table = file.name == PYPROJECT
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        about = f" for {TABLE}" if in_table else ""
        raise LabwrightError(f"{file} can't be read{about}: {error}") from error
    if in_table:
        table = table.get("tool", {}).get("labwright", {})
    origin = f"{TABLE} in {file}" if in_table else str(file)
    lists = {key: _checked(key, value, origin) for key, value in _entries(table, origin)}
    local = tuple(file.parent / Path(one).expanduser() for one in lists.get("local", ()))
    return Settings(origin, lists.get("disable", ()), lists.get("allow"), local)


def nearby(*names: str) -> Path | None:
    """The nearest file of one of these names, in the working folder or above; the first name first in a folder."""
    here = Path.cwd()
    found = (folder / name for folder in (here, *here.parents) for name in names)
    return next((file for file in found if file.is_file()), None)


def _entries(table: Any, origin: str) -> list[tuple[str, Any]]:
    if not isinstance(table, dict):
        raise LabwrightError(f"{origin}: it is a table with {listed(MEANING)}, not {table!r}.")
    for key in table:
        if key not in MEANING:
            raise LabwrightError(f"{origin}: no setting {key!r}{nearest(key, MEANING)} It has {listed(MEANING)}.")
    return list(table.items())


def _checked(key: str, value: Any, origin: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise LabwrightError(f"{origin}: {key} is {MEANING[key]}, not {value!r}.")
    return tuple(value)
