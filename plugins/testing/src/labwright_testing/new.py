"""Beginnings: a whole plugin, or one more component in a plugin, written from templates/ under names of their own.

templates/plugin is a working distribution called labwright-geometry, templates/task what differs in one with a task of
its own, and templates/parts holds a component of each kind called Sample; new ones are copies in which these names are
replaced.
"""

from __future__ import annotations

import ast
import json
import keyword
import os
import re
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from labwright import LabwrightError, Plugins, listed, nearest

GROUP, PYPROJECT = "labwright", "pyproject.toml"
WIDTH = 120  # of a line that is written into a plugin's module
TEMPLATES = Path(__file__).parent / "templates"
PLUGINS = {"data": ("plugin",), "task": ("plugin", "task")}  # folders; a file of the last counts
SUMMARIES = {  # of the components in templates/parts
    "model": "one hidden layer",
    "task": "classification under noise",
    "loss": "focal cross-entropy",
    "metric": "mean probability of the true class",
    "optimizer": "signs of a momentum",
    "device": "the processor",
    "data": "two clouds of points",
    "logger": "a line for each evaluation",
    "stop": "end when the goal is reached",
    "sampler": "independent random points",
    "verb": "the largest parameters of a model",
}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_NEXT = "Go into a plugin's folder, or make one with `labwright new plugin NAME`."


# ----------------------------------------------------------------------------------------------------------- a plugin


def new_plugin(name: str, template: str = "data") -> list[Path]:
    """Write a distribution into the folder labwright-NAME, below the working folder; the files, in order.

    `template` says what it begins with: data and a model, or a task with a batch of its own as well. Raises
    LabwrightError if there is no such template, the name can't be used or is taken, the folder isn't empty, or lies
    within a plugin.
    """
    if template not in PLUGINS:
        known = f"{nearest(template, PLUGINS)} It begins with {listed(PLUGINS)}."
        raise LabwrightError(f"--template: no plugin begins with {template!r}{known}")
    name = _checked("plugin", name.removeprefix("labwright-"))
    there = (plugin for plugin in Plugins.discover().plugins if plugin.file is None)
    used = {GROUP: GROUP} | {plugin.name: plugin.distribution for plugin in there}
    if name in used:
        raise LabwrightError(f"a plugin called {name!r} is installed, of {used[name]}: choose another name.")
    if (around := _pyproject()) and _plugins_of(around):
        raise LabwrightError(f"{around.parent} is a plugin itself: go into another folder to make one.")
    folder = Path(f"labwright-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LabwrightError(f"{folder} is there already: choose another name, or another working folder.")
    package = f"labwright_{name.replace('-', '_')}"
    written = []
    folders = [TEMPLATES / part for part in PLUGINS[template]]
    files = {file.relative_to(part): file for part in folders for file in part.rglob("*") if file.is_file()}
    for relative, file in sorted(files.items()):
        if "__pycache__" in file.parts:
            continue
        place = folder / str(relative).replace("labwright_geometry", package)
        text = file.read_text(encoding="utf-8").replace("labwright_geometry", package).replace("geometry", name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.replace(">=0.2,<0.3", fitting_range(metadata.version(GROUP))), encoding="utf-8")
        written.append(place)
    return written


def fitting_range(version: str) -> str:
    """The versions of labwright that what works with this one works with: below the next minor, from 1 on major one."""
    major, minor = (int(part) for part in re.findall(r"\d+", version)[:2])
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"


def _checked(kind: str, name: str) -> str:
    if keyword.iskeyword(name):
        raise LabwrightError(f"{_a(kind)} can't be called {name!r}: that is a word of Python's.")
    if not _NAME.fullmatch(name):
        words = "a name is lower-case letters and digits, a letter first, with '-' between words, such as graph-pool"
        raise LabwrightError(f"{_a(kind)} can't be called {name!r}: {words}.")
    return name


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


# -------------------------------------------------------------------------------------------------------- a component


@dataclass(frozen=True)
class _Home:
    """The plugin a component is added to: its name, which is the domain of what it brings, its module and package."""

    name: str
    file: Path
    package: str


def new_component(kind: str, name: str, summary: str = "") -> list[Path]:
    """Write a component into the plugin in the working folder or above, and declare it there; the files, changed last.

    `kind` may be `verb`, too. `summary` is what `labwright list` or `--help` says of it; by default what the template
    is. A task comes with a recipe: the plugin's first, with the new task. Raises LabwrightError, before anything is
    written, if there is no plugin, if the name can't be used or is taken, or if the plugin's module has no place for
    the line.
    """
    home = _home()
    name = name.removeprefix(f"{home.name}/")
    if "/" in name:
        raise LabwrightError(f"{_a(kind)} of this plugin is called {home.name}/NAME; given {name!r}.")
    name = _checked(kind, name)
    if len(summary) > 80 or "\n" in summary:
        raise LabwrightError(f"a summary is one line of 80 characters at most, given {len(summary)}: {summary!r}.")
    said = json.dumps(summary or SUMMARIES[kind], ensure_ascii=False)
    module, label = name.replace("-", "_"), f"{home.name}/{name}"
    class_ = "".join(word.capitalize() for word in name.split("-"))
    template = (TEMPLATES / "parts" / f"{kind}.py").read_text(encoding="utf-8")
    text = re.sub(r"\bSample\b", class_, template).replace("labwright sample", f"labwright {name}")
    files = {home.file.parent / f"{module}.py": text}
    names = [name] if kind == "verb" else [kind, label]
    target = f"{home.package}.{module}:{'verb' if kind == 'verb' else class_}"
    quoted = [f'"{text}"' for text in (*names, target)]
    menu = home.file.read_text(encoding="utf-8")
    menu = _extended(menu, home.file, "Verb" if kind == "verb" else "Component", *quoted, said)
    recipe = _recipe_of_task(home, label) if kind == "task" else None
    if recipe:
        place = f'Path(__file__).parent / "recipes" / "{name}.toml"'
        menu = _extended(menu, home.file, "Recipe", f'"{label}"', place, said)
        files[home.file.parent / "recipes" / f"{name}.toml"] = recipe
    if there := next(filter(Path.exists, files), None):
        raise LabwrightError(f"{there} is there already: choose another name for the {kind}.")
    files[home.file] = menu
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)


def _home() -> _Home:
    file = _pyproject()
    if file is None:
        raise LabwrightError(f"there is no {PYPROJECT} here or above. {_NEXT}")
    entries = _plugins_of(file)
    if not entries:
        raise LabwrightError(f"{file} has no [project.entry-points.labwright]. {_NEXT}")
    if len(entries) > 1:
        raise LabwrightError(f"{file} has several plugins, {listed(entries)}; this command adds to a single one.")
    ((name, module),) = entries.items()
    path = Path(*module.split(".")).with_suffix(".py")
    places = [file.parent / "src" / path, file.parent / path]
    for place in places:
        if place.is_file():
            return _Home(name, place, module.rpartition(".")[0])
    raise LabwrightError(f"{file}: the plugin's module {module} is neither {places[0]} nor {places[1]}.")


def _plugins_of(file: Path) -> dict[str, str]:
    """The plugins of a pyproject.toml: name -> module."""
    found: Any = _table(file)
    for key in ("project", "entry-points", GROUP):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) and all(isinstance(one, str) for one in found.values()) else {}


def _pyproject() -> Path | None:
    """The nearest pyproject.toml, in the working folder or above."""
    here = Path.cwd()
    files = (folder / PYPROJECT for folder in (here, *here.parents))
    return next((file for file in files if os.path.isfile(file)), None)  # noqa: PTH113 - Path's raises where it may not look


def _table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise LabwrightError(f"{file} can't be read: {getattr(error, 'strerror', None) or error}.") from error


def _recipe_of_task(home: _Home, label: str) -> str | None:
    """The first of the plugin's recipes with another task on the same data; None if there is none."""
    import tomli_w

    for file in sorted((home.file.parent / "recipes").glob("*.toml")):
        recipe = _table(file)
        task = recipe.get("task")
        if isinstance(task, dict) and "data" in task:
            return tomli_w.dumps(recipe | {"task": {"name": label, "data": task["data"]}})
    return None


def _extended(text: str, file: Path, what: str, *arguments: str) -> str:
    """The source of a plugin's module whose hook for `what` (Component, Recipe, Verb) yields one more, at its end.

    Raises LabwrightError if the module declares it already, or has no place for it.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise LabwrightError(f"{file}:{error.lineno}: {error.msg}.") from error
    names = ", ".join(arguments[: 2 if what == "Component" else 1])
    if f"{what}({names}," in re.sub(r"\(\s+", "(", text).replace("'", '"'):
        raise LabwrightError(f"{file} declares lw.{what}({names}, ...) already: choose another name.")
    hook, whole = f"labwright_{what.lower()}s", ", ".join(arguments)
    line = f"yield lw.{what}({whole})"
    imports = (one for one in ast.walk(tree) if isinstance(one, ast.Import | ast.ImportFrom))
    function = next((one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == hook), None)
    needed = {"lw", *(["Path"] if "Path(" in line else []), *(["Iterator"] if function is None else [])}
    missing = needed - {name.asname or name.name for one in imports for name in one.names}
    last = function.body[-1] if function else None
    if missing or (last and not (isinstance(last, ast.Expr) and isinstance(last.value, ast.Yield))):
        where = f"import of {listed(missing)}" if missing else f"{hook} that ends with a yield"
        raise LabwrightError(f"{file} has no {where}, so that this is for you to put there:\n  {line}")
    indent = " " * (last.col_offset if last else 4)
    if len(indent + line) > WIDTH:
        line = f"yield lw.{what}(\n{indent}    {whole}\n{indent})"
    if last is None:
        return f"{text.rstrip()}\n\n\n@lw.hookimpl\ndef {hook}() -> Iterator[lw.{what}]:\n{indent}{line}\n"
    lines = text.splitlines(keepends=True)
    return "".join([*lines[: last.end_lineno], f"{indent}{line}\n", *lines[last.end_lineno :]])
