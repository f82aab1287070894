"""What is installed, as completion needs it: found out once, and kept until something is installed or changed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

VERSION = 2  # of what is kept
PATIENCE = 120.0  # seconds after which nobody is taken to be filling it any more


@dataclass(frozen=True)
class Menu:
    """Verbs with their parameters, recipes with their files, kinds with the names and targets of their components.

    A parameter has its `flags`, none if it is an argument, whether it takes `several` or is a switch that takes no
    `value`, its `metavar`, its `help`, and whether it is a `path`.

    Members of libraries' families, such as `torch/SGD`, are among the names once it is `whole`: to list them imports
    the libraries, which `fill_later` has another process do.
    """

    verbs: dict[str, dict[str, Any]]
    recipes: dict[str, dict[str, str]]
    kinds: dict[str, dict[str, Any]]
    plugins: list[str]
    whole: bool = False

    @classmethod
    def kept(cls) -> Menu:
        """What was kept, if that is still how things are; else what is there now, which is kept.

        The plugins that a project's own settings name aren't looked at: to complete a word runs no code of a folder.
        """
        file = _file()
        with suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["state"] == _state(kept["files"]):
                return cls(**kept["menu"])
        here = Path.cwd()
        os.chdir(here.anchor)  # where no project's settings are
        try:
            menu, files = _found()
        finally:
            os.chdir(here)
        _keep({"state": _state(files), "files": files, "menu": asdict(menu)})
        return menu

    def lacks(self, words: Iterable[str]) -> bool:
        """Whether words speak of a family whose members it doesn't have."""
        families = [name[:-1] for one in self.kinds.values() for name in one["names"] if name.endswith("/*")]
        return not self.whole and any(family in word for word in words for family in families)

    def fill_later(self) -> None:
        """Have another process add the members of families, unless one does already; this one doesn't wait."""
        import subprocess

        lock = _file().with_suffix(".lock")
        with suppress(OSError):
            if time.time() - lock.stat().st_mtime > PATIENCE:  # whoever made it was killed
                lock.unlink()
        with suppress(OSError):
            lock.open("x").close()
            words = [sys.executable, "-P", "-m", "labwright_instruments.completion", "members"]
            nowhere = subprocess.DEVNULL
            subprocess.Popen(words, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)


def fill() -> None:
    """Add the members of families to the menu that is kept; their libraries are imported."""
    here = Path.cwd()
    os.chdir(here.anchor)  # where no project's settings are
    try:
        Menu.kept()
        kept = json.loads(_file().read_text(encoding="utf-8"))
        _add_members(kept["menu"]["kinds"])
        kept["menu"]["whole"] = True
        _keep(kept)  # with the state of before, so that what changed meanwhile is found
    finally:
        os.chdir(here)
        _file().with_suffix(".lock").unlink(missing_ok=True)


def _keep(kept: dict[str, Any]) -> None:
    file = _file()
    with suppress(OSError):  # a cache that can't be written is none
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(kept), encoding="utf-8")
        part.replace(file)


def _add_members(kinds: dict[str, dict[str, Any]]) -> None:
    """Add the members of families, whose settings are those of one class, or of each its own."""
    from labwright import Family, Plugins

    plugins = Plugins.discover()
    for kind, one in kinds.items():
        for name in [name for name in one["names"] if name.endswith("/*")]:
            with suppress(Exception):  # of a library that isn't there, or breaks
                family = plugins.target(plugins.find(kind, name))
                for member in family:
                    made = family.member if isinstance(family, Family) else family[member]
                    target = f"{made.__module__}:{made.__qualname__}"
                    one["names"][name[:-1] + member] = {"target": target, "about": "", "family": name}


def _file() -> Path:
    """Where the menu of this environment is kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "labwright"
    key = sha256("\0".join([sys.prefix, *sys.path]).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return folder / f"completion-{key}.json"


def _state(files: list[str]) -> str:
    """What changes with what is installed, with the modules that say what a plugin brings, and with the settings."""
    times = []
    for file in (*sys.path, *files):
        with suppress(OSError):
            times.append((file, os.stat(file).st_mtime_ns))  # noqa: PTH116 - a hundred of them at each press of a key
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("LABWRIGHT"))
    return sha256(repr((VERSION, times, settings)).encode("utf-8", "surrogateescape")).hexdigest()


def _found() -> tuple[Menu, list[str]]:
    """What is installed, and the files and folders that say so."""
    from labwright import LabwrightError, Plugins

    plugins = Plugins.discover()
    files = {str(Path(str(one.module.__file__))) for one in plugins.loaded if getattr(one.module, "__file__", None)}
    verbs: dict[str, dict[str, Any]] = {}
    for name in plugins.names("verb"):
        declared = plugins.owners("verb", name)[0][1]
        verbs[name] = {"about": getattr(declared, "summary", ""), "parameters": []}
        with suppress(LabwrightError):
            function = plugins.target(plugins.verb(name))
            files.add(str(sys.modules[function.__module__].__file__))
            verbs[name]["parameters"] = list(_parameters(function))
    recipes = {}
    for name in plugins.names("recipe"):
        with suppress(LabwrightError):
            recipe = plugins.recipe(name)
            files.add(str(recipe.path.parent))
            recipes[name] = {"file": str(recipe.path), "about": recipe.summary}
    kinds: dict[str, dict[str, Any]] = {}
    for kind in plugins.kinds:
        named = {}
        for name in plugins.names(kind):
            with suppress(LabwrightError):
                component = plugins.find(kind, name)
                named[name] = {"target": component.target, "about": component.summary}
        kinds[kind] = {"heading": plugins.heading(kind), "names": named}
    return Menu(verbs, recipes, kinds, [plugin.name for plugin in plugins.plugins]), sorted(files)


def _parameters(function: Any) -> Iterator[dict[str, Any]]:
    import inspect

    import typer

    app = typer.Typer(add_completion=False)
    app.command()(function)
    hints = {name: str(one.annotation) for name, one in inspect.signature(function).parameters.items()}
    for one in typer.main.get_command(app).params:
        yield {
            "flags": list(one.opts) if one.param_type_name == "option" else [],
            "several": one.nargs != 1 or getattr(one, "multiple", False),
            "value": not getattr(one, "is_flag", False),
            "metavar": str(one.metavar or ""),
            "help": str(getattr(one, "help", None) or ""),
            "path": "Path" in hints.get(str(one.name), ""),
        }
