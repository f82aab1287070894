"""labwright.lock: which plugins a project was run with, down to their files, to notice when they are others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from labwright.base import toml
from labwright.base.errors import LabwrightError
from labwright.plugin.discovery import Plugin
from labwright.plugin.project_config import nearby

FILE = "labwright.lock"
HEAD = (
    "# The plugins of this project, by `labwright plugins lock`: distribution, version, hash of the installed files.\n"
)


@dataclass(frozen=True)
class Entry:
    """One plugin as it is locked."""

    distribution: str
    version: str
    sha256: str


def lock(plugins: tuple[Plugin, ...], file: Path) -> None:
    """Write down the plugins that are in use."""
    import tomli_w  # here: every command would pay for it

    table = {plugin.name: vars(_entry(plugin)) for plugin in plugins}
    file.write_text(HEAD + tomli_w.dumps(table), encoding="utf-8")


def read() -> tuple[Path, dict[str, Entry]] | None:
    """The nearest lock, in the working folder or above. Raises LabwrightError if it can't be read."""
    file = nearby(FILE)
    if file is None:
        return None
    try:
        table, _ = toml.read(file)
        return file, {name: Entry(**entry) for name, entry in table.items()}
    except (OSError, ValueError, TypeError) as error:
        raise LabwrightError(f"{file} can't be read: {error}. `labwright plugins lock` writes it anew.") from error


def differences(plugins: tuple[Plugin, ...], locked: Mapping[str, Entry]) -> list[str]:
    """What is other than it was locked: a line for each plugin."""
    here = {plugin.name: _entry(plugin) for plugin in plugins}
    names = [name for name in {**locked, **here} if locked.get(name) != here.get(name)]
    return [_difference(name, locked.get(name), here.get(name)) for name in names]


def check(plugins: tuple[Plugin, ...], *, refuse: bool) -> str:
    """What a run says of plugins that aren't those of the lock, "" if they are or nothing is locked.

    With `refuse` it is raised as a LabwrightError, and so is that there is no lock.
    """
    there = read()
    if there is None:
        if refuse:
            raise LabwrightError(f"--locked: there is no {FILE} here or above. `labwright plugins lock` writes one.")
        return ""
    file, locked = there
    differing = differences(plugins, locked)
    if not differing:
        return ""
    said = (
        f"the plugins aren't those of {file}: {'; '.join(differing)}. `labwright plugins lock` takes them as they are."
    )
    if refuse:
        raise LabwrightError(said)
    return said


def _difference(name: str, locked: Entry | None, here: Entry | None) -> str:
    if here is None:
        return f"{name} is not in use"
    if locked is None:
        return f"{name} was not in use"
    if (locked.distribution, locked.version) != (here.distribution, here.version):
        was, now = (" ".join(astuple(entry)[:2]).strip() for entry in (locked, here))
        return f"{name} was {was} and is {now}"
    return f"the files of {name} have changed"


def _entry(plugin: Plugin) -> Entry:
    return Entry(plugin.distribution, plugin.version, _hash(plugin))


def _hash(plugin: Plugin) -> str:
    """Over the names and contents of a plugin's package, or of its file."""
    whole = sha256()
    for name, file in _files(plugin):
        content = sha256(file.read_bytes()).hexdigest()
        whole.update(f"{name} {content}\n".encode())
    return whole.hexdigest()


def _files(plugin: Plugin) -> Iterator[tuple[str, Path]]:
    """The files of the package that a plugin's module lies in, with their names in it, in the order of these."""
    if plugin.file is not None:
        yield plugin.file.name, plugin.file
        return
    spec = find_spec(plugin.target.partition(":")[0].partition(".")[0])
    assert spec is not None
    if spec.submodule_search_locations is None and spec.origin is not None:
        yield Path(spec.origin).name, Path(spec.origin)
    for folder in map(Path, spec.submodule_search_locations or ()):
        files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
        yield from sorted((str(file.relative_to(folder).as_posix()), file) for file in files)
