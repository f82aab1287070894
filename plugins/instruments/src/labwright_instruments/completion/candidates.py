"""What the word under the cursor may become, by the words before it."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from labwright_instruments.completion.menu import Menu
from labwright_instruments.completion.sources import Written, declared, settings

GLOBAL = {
    "--plugin": "Use a Python file as a plugin; may be given repeatedly.",
    "--no-plugin": "Leave a plugin out; may be given repeatedly.",
    "--locked": "Refuse plugins that labwright.lock doesn't have.",
    "--version": "Show it.",
    "--help": "Show what there is.",
}
OF_VALUES = ("--plugin", "--no-plugin")
TABLES = {"train": "labwright.train.settings:Train", "start": "labwright.runs.start:Start"}
PARTS = {"task": "", "model": "", "loss": "", "optimizer": "", "method": "descent", "device": "auto"}
LISTS = {"log": "loggers", "stop": "rules that end a run", "search": "where a study looks"}
SETTINGS = ("labwright.toml", "pyproject.toml")  # which are no recipes
CHOICES = {"--split": ("train", "valid", "test"), "--checkpoint": ("final", "last", "best")}

Candidate = tuple[str, str]  # and what it is


def candidates(menu: Menu, words: Sequence[str], current: str) -> list[Candidate]:
    """What `current` may become after the words that follow `labwright`. One that ends in `=`, `.` or `/` goes on."""
    asked = _Asked(menu, words, current)
    found = dict[str, str]()
    for candidate, about in asked.found():
        if candidate.startswith(current):
            found.setdefault(candidate, about)
    return list(found.items())


class _Asked:
    """A word to complete: of which verb, after which arguments."""

    def __init__(self, menu: Menu, words: Sequence[str], current: str) -> None:
        self.menu, self.words, self.current = menu, list(words), current
        self.verb, self.given = "", list[str]()
        self.own: dict[str, dict[str, dict[str, Any]]] = {}  # components of plugins that are files
        rest = iter(self.words)
        for word in rest:
            if word in OF_VALUES and not self.verb:
                self._take(word, next(rest, ""))
            elif not self.verb and not word.startswith("-"):
                self.verb = word
            elif self.verb and word.startswith("-"):
                if "=" not in word and self._option(word).get("value"):
                    next(rest, "")
            elif self.verb:
                self.given.append(word)

        for file in local_files():
            self._take("--plugin", str(file))

    def _take(self, option: str, file: str) -> None:
        """The components that a plugin's file declares: it is read, and not run."""
        if option == "--plugin" and file:
            for kind, name, target, summary in declared(Path(file).expanduser().absolute()):
                self.own.setdefault(kind, {})[name] = {"target": target, "about": summary}

    def _known(self, kind: str) -> dict[str, dict[str, Any]]:
        """The components of a kind by name."""
        known: dict[str, dict[str, Any]] = self.menu.kinds.get(kind, {"names": {}})["names"]
        return known | self.own.get(kind, {})

    def found(self) -> Iterable[Candidate]:
        before = self.words[-1] if self.words else ""
        if not self.verb:
            if before == "--plugin":
                return files(self.current, lambda name: name.endswith(".py"))
            if before == "--no-plugin":
                return [(name, "") for name in self.menu.plugins]
            return self._verbs()
        option = self._option(before)
        if option.get("value"):
            return self._of_parameter(option)
        name, equals, _ = self.current.partition("=")
        if equals and self._option(name).get("value"):
            whole, self.current = self.current, self.current[len(name) + 1 :]
            found = [(f"{name}={one}", about) for one, about in self._of_parameter(self._option(name))]
            self.current = whole
            return found
        if self.current.startswith("-"):
            return [(flag, one["help"]) for one in self._parameters() for flag in one["flags"]] + [("--help", "")]
        return self._of_argument()

    def _verbs(self) -> Iterator[Candidate]:
        if self.current.startswith("-"):
            yield from GLOBAL.items()
        yield from ((name, verb["about"]) for name, verb in self.menu.verbs.items())

    def _parameters(self) -> list[dict[str, Any]]:
        return list(self.menu.verbs.get(self.verb, {}).get("parameters", ()))

    def _option(self, flag: str) -> dict[str, Any]:
        return next((one for one in self._parameters() if flag in one["flags"]), {})

    def _of_argument(self) -> Iterable[Candidate]:
        arguments = [one for one in self._parameters() if not one["flags"]]
        if not arguments:
            return ()
        place = min(len(self.given), len(arguments) - 1)
        if place < len(self.given) and not arguments[place]["several"]:
            return ()
        return self._of_parameter(arguments[place])

    def _of_parameter(self, parameter: dict[str, Any]) -> Iterator[Candidate]:
        """By the words of its metavar, which say what is meant: `RECIPE`, `RUN`, `[FIELD=VALUE]...`."""
        flag, metavar = (parameter["flags"] or [""])[0], parameter["metavar"]
        kinds = self.menu.kinds
        for word in re.findall(r"[A-Za-z][\w=-]*", metavar):
            if word.islower():
                yield word, ""
            elif word == "RECIPE":
                yield from ((name, one["about"]) for name, one in self.menu.recipes.items())
                yield from files(self.current, lambda name: name.endswith(".toml") and name not in SETTINGS)
            elif word == "RUN":
                yield from run_folders(self.current)
            elif word == "STUDY":
                yield from studies()
            elif word in ("FIELD=VALUE", "FIELD") and not (self.verb == "show" and self.given[0] in kinds):
                yield from self._settings()
            elif word == "KIND":
                yield from ((kind, f"one of the {one['heading']}") for kind, one in kinds.items())
            elif word == "NAME" and self.verb == "show" and self.given[0] in kinds:
                yield from self._names(self.given[0])
            elif word == "NAME" and self.verb == "check":
                yield from ((name, "") for name in self.menu.plugins)
            elif word.lower() in kinds:
                yield from self._names(word.lower())
            elif word.startswith(("FILE", "FOLDER", "INPUTS")):
                yield from files(self.current)
            elif word == "CANDIDATE":
                yield from ((name, one["about"]) for name, one in self.menu.recipes.items())
                yield from run_folders(self.current)
        if self.verb == "list" and not flag:
            yield "recipes", ""
            yield from ((one["heading"], "") for one in kinds.values())
        elif flag.removeprefix("--") in kinds:
            yield from self._names(flag.removeprefix("--"))
        elif flag in ("--only", "--fix", "--search"):
            ends = "=" if flag == "--search" else ""
            searched = [one for one in self._settings() if self.current.count("=") == 0]
            yield from ((one.removesuffix("=") + ends if one.endswith("=") else one, about) for one, about in searched)
        yield from ((choice, "") for choice in CHOICES.get(flag, ()))
        if parameter["path"] and not re.search("RUN|RECIPE|FILE|FOLDER", metavar):
            yield from files(self.current)

    def _names(self, kind: str) -> Iterator[Candidate]:
        """The components of a kind; of a family what its members begin with, and them once that is typed."""
        known, typed = self._known(kind), self.current.rpartition("=")[2]
        families = {one["family"] for one in known.values() if "family" in one}
        for name, one in known.items():
            family = one.get("family", name)
            if family not in families or typed.startswith(family[:-1]) == (family != name):
                yield name.removesuffix("*"), one["about"]

    # ------------------------------------------------------------------------------------------------------ settings

    def _settings(self) -> Iterator[Candidate]:
        """Fields of the recipe or run that was named, and values of the field that is written."""
        recipe = self._recipe()
        path, equals, _ = self.current.partition("=")
        *above, name = path.split(".")
        if equals:
            yield from self._values(recipe, above, name)
            return
        at = ".".join([*above, ""]) if above else ""
        if not above:
            for kind in PARTS:
                yield f"{kind}=", f"one of the {self.menu.kinds.get(kind, {}).get('heading', '')}"
                yield f"{kind}.", "its settings"
            yield from ((f"{table}.", "its settings") for table in TABLES)
            yield from ((f"{key}=", about) for key, about in LISTS.items())
            return
        for one in self._at(recipe, above):
            yield f"{at}{one.name}=", one.line()
            if one.kind:
                yield f"{at}{one.name}.", "its settings"

    def _values(self, recipe: dict[str, Any], above: list[str], name: str) -> Iterator[Candidate]:
        path = ".".join([*above, name])
        if not above:
            yield from ((f"{path}={one}", about) for one, about in self._names(name))
            return
        one = next((one for one in self._at(recipe, above) if one.name == name), None)
        if one is None:
            return
        own = _within(recipe, [*above, name])
        if isinstance(own, str | int | float):
            yield f"{path}={json.dumps(own) if not isinstance(own, str) else own}", "in the recipe"
        if one.default:
            yield f"{path}={one.default}", "if left out"
        yield from ((f"{path}={value}", "") for value in one.values)
        if one.kind:
            yield from ((f"{path}={each}", about) for each, about in self._names(one.kind))
        if one.type.startswith("Path"):
            written = self.current.partition("=")[2]
            yield from ((f"{path}={file}", about) for file, about in files(written))

    def _at(self, recipe: dict[str, Any], keys: Sequence[str]) -> list[Written]:
        """The settings of the table that keys lead to."""
        if keys[0] in TABLES:
            return settings(TABLES[keys[0]]) if len(keys) == 1 else []
        kind, usual = keys[0], PARTS.get(keys[0], "")
        here = self._target(kind, recipe.get(kind), usual) if kind in PARTS else []
        for depth, key in enumerate(keys[1:], 2):
            part = next((one for one in here if one.name == key and one.kind), None)
            if part is None:
                return []
            here = self._target(part.kind, _within(recipe, keys[:depth]), part.default)
        return here

    def _target(self, kind: str, given: Any, usual: str) -> list[Written]:
        name = given.get("name", usual) if isinstance(given, dict) else given or usual
        one = self._known(kind).get(name)
        return settings(one["target"]) if one else []

    def _recipe(self) -> dict[str, Any]:
        """The tables of the first recipe or run among the arguments, with the overrides after it."""
        table: dict[str, Any] = {}
        for word in self.given:
            path = self.menu.recipes.get(word, {}).get("file", word)
            file = Path(path, "recipe.toml") if Path(path).is_dir() else Path(path)
            if file.suffix == ".toml" and file.is_file():
                with suppress(OSError, ValueError):
                    table = tomllib.loads(file.read_text(encoding="utf-8"))
                break
        for word in self.given:
            field, equals, value = word.partition("=")
            if equals:
                *above, last = field.split(".")
                within = table
                for key in above:
                    inner = within.get(key)
                    within[key] = inner if isinstance(inner, dict) else {"name": inner} if inner else {}
                    within = within[key]
                within[last] = value
        return table


def _within(table: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


# ------------------------------------------------------------------------------------------------ what lies there


def files(current: str, keep: Callable[[str], bool] = lambda _: True) -> Iterator[Candidate]:
    """Files and folders that begin like the word."""
    head, slash, tail = current.rpartition("/")
    with suppress(OSError):
        for entry in sorted(os.scandir(Path(head or slash or ".").expanduser()), key=lambda one: one.name):
            if entry.name.startswith(tail) and (tail.startswith(".") or not entry.name.startswith(".")):
                if entry.is_dir():
                    yield f"{head}{slash}{entry.name}/", ""
                elif keep(entry.name):
                    yield f"{head}{slash}{entry.name}", ""


def local_files() -> Iterator[Path]:
    """The plugins' files that the nearest labwright.toml names, or `[tool.labwright]` of the nearest pyproject.toml."""
    here = Path.cwd()
    places = (folder / name for folder in (here, *here.parents) for name in SETTINGS)
    file = next((place for place in places if place.is_file()), None)
    with suppress(OSError, ValueError, AttributeError, TypeError):
        table = tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
        if file and file.name != SETTINGS[0]:
            table = table.get("tool", {}).get("labwright", {})
        for name in table.get("local", ()):
            if file and isinstance(name, str):
                yield file.parent / Path(name).expanduser()


def run_folders(current: str) -> Iterator[Candidate]:
    """Run folders, those in runs/ first, and folders that lead to others."""
    for folder in sorted(Path("runs").glob("*/recipe.toml")):
        yield str(folder.parent), _outcome(folder.parent)
    for name, _ in files(current, lambda _: False):
        if Path(name, "recipe.toml").is_file():
            yield name.removesuffix("/"), _outcome(Path(name))
        else:
            yield name, ""


def _outcome(folder: Path) -> str:
    """How a run ended, in a few words."""
    try:
        told = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
        metrics = told["metrics"].get("test") or told["metrics"].get("valid") or {}
        numbers = [f"{name} {float(value):.4g}" for name, value in list(metrics.items())[:2]]
        return ", ".join([str(told["status"]), *numbers])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return "not ended"


def studies() -> Iterator[Candidate]:
    """The studies in studies/."""
    for file in sorted(Path("studies").glob("*/study.json")):
        yield file.parent.name, str(file.parent)
