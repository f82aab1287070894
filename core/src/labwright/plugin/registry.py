"""The plugins of one program run: looking up what they bring, and relaying a run's events to them.

No global state, and nothing here imports torch. Which plugins there are is found out in discovery.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from labwright.base.errors import LabwrightError, a, listed, nearest, path_fault, sentence, shown
from labwright.plugin.discovery import (
    GROUP,
    Declared,
    Plugin,
    blocked_by,
    blocks,
    examined,
    guarded,
    imported,
    installed,
    kind_of,
    loaded_from,
)
from labwright.plugin.file_plugins import loaded
from labwright.plugin.hookspecs import Component, Kind, Recipe, Verb
from labwright.plugin.project_config import distrusted, read

# What a person may look for and hasn't installed, and what brings it: verbs, kinds, names of components.
COMES_WITH = {
    **dict.fromkeys(("tune", "study", "space", "worker", "compare", "sampler", "pruner"), "labwright-study"),
    **dict.fromkeys(("check", "doctor", "new", "verify-resume"), "labwright-testing"),
    **dict.fromkeys(("cross-entropy", "mse", "mae", "huber", "penalized"), "labwright-tasks"),
    **dict.fromkeys(("torch/*", "torchmetrics/*", "check-data", "cross-validate"), "labwright-tasks"),
    **dict.fromkeys(("calibrate", "schema", "suggest", "stop early", "stop seconds"), "labwright-tasks"),
    **dict.fromkeys((f"schedule {of}" for of in ("linear", "cosine", "exponential", "one-cycle")), "labwright-tasks"),
    **dict.fromkeys(("completion", "csv", "mlflow", "tensorboard", "wandb", "runs"), "labwright-instruments"),
    **dict.fromkeys(("find-batch-size", "find-lr", "profile", "gradient-norms", "summary"), "labwright-instruments"),
    **dict.fromkeys(("audit-privacy", "federate"), "labwright-privacy"),
    "export": "labwright-export",
    "submit": "labwright-cluster",
}
# what other programs call a verb
MEANT = {"train": "run", "fit": "run", "test": "evaluate", "eval": "evaluate", "search": "tune", "sweep": "tune"}


_Thing = TypeVar("_Thing", Component, Recipe, Verb)


class Plugins:
    """The plugins of one program run: `discover()` finds the installed ones, `find` and `recipe` look names up.

    `notes` are for the person: what was asked for and came to nothing. Copies are the same object, and what is pickled
    is imported anew where it is taken up.

    Example: `lw.Plugins.discover().names("model")`
    """

    def __init__(self, plugins: Iterable[Plugin], notes: Iterable[str] = ()) -> None:
        self.kinds: dict[str, Kind] = {}
        self.plugins, self.notes = self._with_kinds(plugins), tuple(notes)
        self._owners: dict[tuple[str, str], list[tuple[Plugin, Declared]]] = {}
        for plugin in self.loaded:
            for declared in plugin.brings:
                self._owners.setdefault((kind_of(declared), declared.name), []).append((plugin, declared))

    @classmethod
    def discover(cls, blocked: Collection[str] = (), local: Iterable[Path | str] = ()) -> Plugins:
        """The installed plugins, without those blocked by `blocked`, the environment or the project's settings.

        `local` are files with a plugin each, beside those of the settings. Raises LabwrightError if a name in `blocked`
        is no installed plugin, or if a file can't be used.
        """
        settings = read()
        there, unreadable = installed()
        # what settings name is code that would run: not where others may write to it, or to the settings
        files = {_resolved(file): distrusted(settings.file) or distrusted(file) for file in settings.local}
        files |= dict.fromkeys(map(_resolved, local), "")  # what is asked for by name is used wherever it lies
        known = [name for plugin in there for name in (plugin.name, plugin.distribution)]
        off, notes = blocks(settings, blocked, [*known, *(file.stem for file in files)])
        core = next((plugin.version for plugin in there if plugin.distribution == GROUP), "none")
        plugins = [imported(plugin, core, blocked_by(plugin, off, settings)) for plugin in there]
        found = cls([*plugins, *(loaded(file, off, distrust) for file, distrust in files.items())], unreadable + notes)
        for plugin, distrust in zip(found.plugins[len(plugins) :], files.values(), strict=True):
            if plugin.state == "quarantined" and not distrust:  # what was asked for by name is mended, not set aside
                raise LabwrightError(f"plugin {plugin.file}: {sentence(plugin.reason)}")
        return found

    def _with_kinds(self, plugins: Iterable[Plugin]) -> tuple[Plugin, ...]:
        """The plugins, those set aside that add a kind which is there already, or a component of one that isn't."""
        owners: dict[str, Plugin] = {}
        checked = []
        for plugin in plugins:
            kinds = {kind.name: kind for kind in plugin.kinds} if plugin.state == "loaded" else {}
            if taken := sorted(kinds.keys() & owners):
                reason = f"kind {taken[0]!r} is brought by {owners[taken[0]].origin} already"
                plugin = replace(plugin, state="quarantined", reason=reason)
            else:
                owners |= dict.fromkeys(kinds, plugin)
                self.kinds |= kinds
            checked.append(plugin)
        # only now, as a kind may be brought by a plugin that comes later
        return tuple(map(self._of_known_kinds, checked))

    def _of_known_kinds(self, plugin: Plugin) -> Plugin:
        strange = next((one for one in plugin.components if one.kind not in self.kinds), None)
        if plugin.state != "loaded" or strange is None:
            return plugin
        hint = f"; {COMES_WITH[strange.kind]} brings it." if strange.kind in COMES_WITH else ""
        reason = (
            f"component {strange.name!r}: no kind is called {strange.kind!r}"
            f"{hint or nearest(strange.kind, self.kinds)} Kinds here are {listed(self.kinds)}"
        )
        return replace(plugin, state="quarantined", reason=reason)

    def __deepcopy__(self, memo: object) -> Plugins:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # modules and hooks can't be pickled; what has neither target nor file is an object that must be
        without = [replace(plugin, module=None, hooks={}) for plugin in self.plugins]
        given = [None if plugin.target or plugin.file else plugin.module for plugin in self.plugins]
        return _taken_up, (without, given, self.notes)

    def extended(self, objects: Sequence[object]) -> Plugins:
        """These plugins and objects with hook implementations that were given from Python.

        Raises LabwrightError if one of them can't be used: an object in hand is mended, not set aside.
        """
        added = []
        for thing in objects:
            name = getattr(thing, "__name__", type(thing).__name__)
            added.append(examined(Plugin(name, "given from Python", "", module=thing)))
        whole = Plugins((*self.plugins, *added), self.notes)
        for plugin in whole.plugins[len(self.plugins) :]:
            if plugin.state != "loaded":
                raise LabwrightError(f"plugin {plugin.name!r}, given from Python: {sentence(plugin.reason)}")
        return whole

    @property
    def loaded(self) -> tuple[Plugin, ...]:
        return tuple(plugin for plugin in self.plugins if plugin.state == "loaded")

    def names(self, kind: str) -> list[str]:
        """The names of a kind of component, or of `recipe`, sorted; those without a domain first."""
        return sorted((name for owned, name in self._owners if owned == kind), key=lambda name: ("/" in name, name))

    def heading(self, kind: str) -> str:
        """The plural of a kind, as `labwright list` takes it: losses, data, recipes."""
        return self.kinds[kind].heading if kind in self.kinds else f"{kind}s"

    def base(self, kind: str) -> type:
        """The class that the components of a kind derive from; its module is imported here. Raises LabwrightError."""
        declared = self.kinds[kind]
        found: type = self.target(declared) if declared.base else object
        return found

    def owners(self, kind: str, name: str) -> list[tuple[Plugin, Declared]]:
        """Every plugin that brings exactly that name, with what it brings."""
        return self._owners.get((kind, name), [])

    def find(self, kind: str, name: str) -> Component:
        """The component of that name, or the family it belongs to. Raises LabwrightError."""
        # a name of its own goes before a family's member; of neither, the name itself is said to be unknown
        whole = self.owners(kind, name) or not self.owners(kind, family(name))
        return self._one(Component, kind, name if whole else family(name))

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name. Raises LabwrightError."""
        found = self._one(Recipe, "recipe", name)
        if not found.path.is_file():
            owner = self.owners("recipe", name)[0][0]
            raise LabwrightError(f"recipe {name!r} of plugin {owner.origin} has no file: {found.path} isn't there.")
        return found

    def recipe_file(self, recipe: str) -> Path:
        """The file of a recipe: of an installed one by its name, or itself if it ends in .toml; `:VARIANT` may follow.

        Raises LabwrightError for a name that there isn't.
        """
        place, _ = parted(recipe)
        return Path(place) if place.endswith(".toml") else self.recipe(place).path

    def verb(self, name: str) -> Verb:
        """The verb of that name. Raises LabwrightError."""
        return self._one(Verb, "verb", name)

    def load(self, kind: str, name: str) -> Any:
        """The class or function behind a component's name; its module is imported here. Raises LabwrightError."""
        component = self.find(kind, name)
        target = self.target(component)
        if not component.name.endswith("/*"):
            return target
        domain, _, member = name.rpartition("/")
        if member not in target:
            raise LabwrightError(
                f"no {kind} is called {name!r}{nearest(name, [f'{domain}/{known}' for known in target])} "
                f"{component.name} has {listed(target, most=40)}."
            )
        return target[member]

    def target(self, declared: Component | Verb | Kind) -> Any:
        """What a component's or verb's target, or a kind's base, names: a class or function, for a family the mapping.

        Raises LabwrightError.
        """
        named = declared.base if isinstance(declared, Kind) else declared.target
        module, _, attribute = named.partition(":")
        kind = kind_of(declared)
        origin = self.owners(kind, declared.name)[0][0].origin
        failed = f"{kind} {declared.name!r} of plugin {origin} can't be loaded from {named!r}"
        with guarded(failed, ". `labwright doctor` checks the installed versions."):
            target = getattr(importlib.import_module(module), attribute)
            many = declared.name.endswith("/*")
            if not (isinstance(target, Mapping) if many else callable(target)):
                wanted = "a mapping from names to classes" if many else "a class or a function"
                raise TypeError(f"it is of type {type(target).__name__}, not {wanted}")
        return target

    def _one(self, of: type[_Thing], kind: str, name: str) -> _Thing:
        owners = self.owners(kind, name)
        if len(owners) == 1 and isinstance(declared := owners[0][1], of):
            return declared
        if owners:
            origins = " and ".join(plugin.origin for plugin, _ in owners)
            raise LabwrightError(
                f"{kind} {name!r} is brought by {origins}: block one of them, for example with "
                f"`--no-plugin {owners[1][0].distribution}`."
            )
        # last, as it may be long: a name that is missing is often one of a plugin that broke
        absent = [f"{plugin.name} ({plugin.reason})" for plugin in self.plugins if plugin.state != "loaded"]
        some = "1 plugin" if len(absent) == 1 else f"{len(absent)} plugins"
        hint = f"\n{some} did not load and may offer it: {', '.join(absent)}" if absent else ""
        raise LabwrightError(self._unknown(kind, name) + hint)

    def _unknown(self, kind: str, name: str) -> str:
        """That no plugin brings a name, and what was perhaps meant."""
        of_family = "" if self.owners(kind, family(name)) else COMES_WITH.get(family(name))
        bringer = COMES_WITH.get(f"{kind} {name}") or COMES_WITH.get(name) or of_family
        if bringer and kind in ("verb", "logger", "loss", "optimizer", "schedule", "stop"):
            return f"`{name}` comes with {bringer}: pip install labwright[{bringer.removeprefix('labwright-')}]"
        known = self.names(kind)
        others = [
            f"{a(other)} (`labwright show {name if other == 'recipe' else f'{other} {name}'}`)"
            for other in ("recipe", *self.kinds)
            if self.owners(other, name) or self.owners(other, family(name))
        ]
        near = [*known, *(map(str, Path().glob("*.toml")) if kind == "recipe" else self._members(kind))]
        others += [f"a path (data: `labwright suggest {name}`)"] * (kind == "recipe" and Path(name or "-").exists())
        hint = f"; it names {' and '.join(others)}." if others else nearest(MEANT.get(name, name), near)
        shows = "--help" if kind == "verb" else f"list {self.heading(kind)}"
        all_ = f"`labwright {shows}` shows all {len(known)}." if known else "No plugin brings any."
        return f"no {kind} is called {name!r}{hint} {all_}"

    def _members(self, kind: str) -> list[str]:
        """The names of families, of those whose library is there."""
        found: list[str] = []
        for name in [name for name in self.names(kind) if name.endswith("/*")]:
            with suppress(LabwrightError):
                found += [f"{name[:-1]}{member}" for member in self.target(self.find(kind, name))]
        return found


def _resolved(file: Path | str) -> Path:
    if fault := path_fault(file := Path(file)):
        raise LabwrightError(f"plugin {shown(str(file))}: {fault}.")
    return file.expanduser().resolve()


def _taken_up(plugins: Iterable[Plugin], given: Iterable[object], notes: Iterable[str]) -> Plugins:
    """Plugins from a pickle: what is installed, or a file, is imported here; what was given from Python came along."""

    def whole(plugin: Plugin, thing: object) -> Plugin:
        if plugin.state != "loaded":
            return plugin
        if plugin.file is not None:
            return loaded(plugin.file)
        return examined(replace(plugin, module=loaded_from(plugin) if plugin.target else thing))

    return Plugins(map(whole, plugins, given), notes)


def parted(recipe: str) -> tuple[str, str]:
    """A recipe as it is asked for, and which variant of it: `mine.toml` and `wide` of `mine.toml:wide`."""
    place, _, variant = recipe.rpartition(":")
    whole = recipe.endswith(".toml") or not (place and variant) or "/" in variant
    return (recipe, "") if whole else (place, variant)


def family(name: str) -> str:
    """The name of the family a component may belong to: `torch/*` for `torch/SGD`."""
    return name.rpartition("/")[0] + "/*"
