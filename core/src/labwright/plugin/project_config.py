"""What a project says about plugins: the nearest labwright.toml, or `[tool.labwright]` of the nearest pyproject.toml.

Both hold for the folder they lie in and for those below. Where both lie, labwright.toml is read alone.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labwright.base import toml
from labwright.base.errors import LabwrightError, listed, nearest, path_fault, shown

FILE, PYPROJECT, TABLE = "labwright.toml", "pyproject.toml", "[tool.labwright]"
MEANING = {
    "allow": 'a list of plugin names, such as ["nlp"]',
    "disable": 'a list of plugin names, such as ["nlp"]',
    "local": 'a list of Python files, such as ["labwright_local.py"]',
}


@dataclass(frozen=True)
class ProjectConfig:
    """`disable` are plugins that are left out; of `allow`, if it is there, no others are used; `local` are files.

    `origin` says where it stands, `file` in which file.
    """

    origin: str = ""
    file: Path | None = None
    disable: tuple[str, ...] = ()
    allow: tuple[str, ...] | None = None
    local: tuple[Path, ...] = ()


def read() -> ProjectConfig:
    """The settings that hold in the working folder. Raises LabwrightError for those that can't be read."""
    file = nearby(FILE, PYPROJECT)
    if file is None:
        return ProjectConfig()
    in_table = file.name == PYPROJECT
    table, _ = toml.read(file)
    settings = toml.table_at(table, "tool", "labwright") if in_table else table
    origin = f"{TABLE} in {file}" if in_table else str(file)
    _check(settings, origin)
    lists = {key: tuple(value) for key, value in settings.items()}
    local = tuple(file.parent / Path(name).expanduser() for name in lists.get("local", ()))
    return ProjectConfig(origin, file, lists.get("disable", ()), lists.get("allow"), local)


def nearby(*names: str) -> Path | None:
    """The nearest file of one of these names, in the working folder or above; the first name first in a folder.

    Raises LabwrightError if the working folder was removed.
    """
    here = working_folder()
    found = (folder / name for folder in (here, *here.parents) for name in names)
    return next((file for file in found if os.path.exists(file)), None)  # noqa: PTH110 - Path's raises where it may not look


def working_folder() -> Path:
    """The working folder. Raises LabwrightError if it was removed."""
    try:
        return Path.cwd()
    except OSError as error:
        raise LabwrightError("the working folder is gone: it was deleted or moved. Go to another one.") from error


def distrusted(file: Path | None) -> str:
    """Why a file could say what somebody else wants: it or its folder isn't the user's own alone. "" if they are.

    What belongs to the machine's administrator is as good as one's own.
    """
    for path in (file, file.parent) if file else ():
        try:
            status = path.stat()
        except OSError:
            return ""  # whoever reads it says why it can't be read
        # the folder too: who may write there can put another file in its place
        if status.st_uid not in (os.geteuid(), 0):
            return f"{path} belongs to another user, {status.st_uid}"
        if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _own(status.st_gid)):
            return f"others may write to {path}"
    return ""


def _own(gid: int) -> bool:
    """Whether a group is the one that many systems give each user alone: of the user's name, with nobody else in it."""
    try:
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}


def _check(settings: Any, origin: str) -> None:
    """Raises LabwrightError for settings that aren't what MEANING says."""
    if not isinstance(settings, dict):
        raise LabwrightError(f"{origin}: it is a table with {listed(MEANING)}, not {shown(settings)}.")
    for key, value in settings.items():
        if key not in MEANING:
            raise LabwrightError(f"{origin}: no setting {key!r}{nearest(key, MEANING)} It has {listed(MEANING)}.")
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise LabwrightError(f"{origin}: {key} is {MEANING[key]}, not {shown(value)}.")
        for name in value if key == "local" else ():
            if fault := path_fault(Path(name)):
                raise LabwrightError(f"{origin}: local has {shown(name)}; {fault}.")
