"""labwright.lock: which plugins a project was run with, down to their files, to notice when they are others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from labwright.base import toml
from labwright.base.errors import LabwrightError
from labwright.plugin.discovery import Plugin
from labwright.plugin.project_config import nearby

FILE = "labwright.lock"
HEAD = (
    "# The plugins of this project, by `labwright plugins lock`: distribution, version, hash of the installed files.\n"
)


class Entry(NamedTuple):
    """One plugin as it is locked."""

    distribution: str
    version: str
    sha256: str


def lock(plugins: tuple[Plugin, ...], file: Path) -> None:
    """Write down the plugins that are in use."""
    import tomli_w  # here: every command would pay for it

    table = {plugin.name: _entry(plugin)._asdict() for plugin in plugins}
    file.write_text(HEAD + tomli_w.dumps(table), encoding="utf-8")


def read() -> tuple[Path, dict[str, Entry]] | None:
    """The nearest lock, in the working folder or above. Raises LabwrightError if it can't be read."""
    file = nearby(FILE)
    if file is None:
        return None
    try:
        return file, {name: Entry(**entry) for name, entry in toml.read(file)[0].items()}
    except (LabwrightError, TypeError) as error:
        reason = error.__cause__ or error
        raise LabwrightError(f"{file} can't be read: {reason}. `labwright plugins lock` writes it anew.") from error


def differences(plugins: tuple[Plugin, ...], locked: Mapping[str, Entry]) -> list[str]:
    """What is other than it was locked: a line for each plugin."""
    here = {plugin.name: _entry(plugin) for plugin in plugins}
    lines = []
    for name in {**locked, **here}:
        was, now = locked.get(name), here.get(name)
        # the version first: that the files differ goes without saying then
        if now is None:
            lines.append(f"{name} is not in use")
        elif was is None:
            lines.append(f"{name} was not in use")
        elif was[:2] != now[:2]:
            lines.append(f"{name} was {' '.join(was[:2]).strip()} and is {' '.join(now[:2]).strip()}")
        elif was != now:
            lines.append(f"the files of {name} have changed")
    return lines


def check(plugins: tuple[Plugin, ...], *, refuse: bool) -> str:
    """What a run says of plugins that aren't those of the lock, "" if they are or nothing is locked.

    With `refuse` it is raised as a LabwrightError, and so is that there is no lock.
    """
    there = read()
    said = ""
    if there is None and refuse:
        said = f"--locked: there is no {FILE} here or above. `labwright plugins lock` writes one."
    elif there is not None and (lines := differences(plugins, there[1])):
        others = "; ".join(lines)
        said = f"the plugins aren't those of {there[0]}: {others}. `labwright plugins lock` takes them as they are."
    if said and refuse:
        raise LabwrightError(said)
    return said


def _entry(plugin: Plugin) -> Entry:
    """A plugin with a hash over the names and contents of its package, or of its file."""
    whole = sha256()
    for name, file in _files(plugin):
        whole.update(f"{name} {sha256(file.read_bytes()).hexdigest()}\n".encode())
    return Entry(plugin.distribution, plugin.version, whole.hexdigest())


def _files(plugin: Plugin) -> Iterator[tuple[str, Path]]:
    """The files of the package that a plugin's module lies in, with their names in it, in the order of these."""
    # the whole package and not the module alone, which only lists what the others hold
    spec = None if plugin.file else find_spec(plugin.target.partition(":")[0].partition(".")[0])
    places: Sequence[Path | str | None] = (spec.submodule_search_locations or [spec.origin]) if spec else [plugin.file]
    for place in (Path(place) for place in places if place):
        if place.is_file():
            yield place.name, place
        files = (file for file in place.rglob("*") if file.is_file() and file.suffix != ".pyc")
        yield from sorted((file.relative_to(place).as_posix(), file) for file in files)
