"""Finding plugins, checking them, and looking up what they bring. No global state, and nothing here imports torch.

A plugin that can't be used is set aside with its reason; it never takes the program down.
"""

from __future__ import annotations

import importlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pluggy
from packaging.requirements import Requirement
from packaging.version import Version

from labwright import hookspecs
from labwright.errors import LabwrightError, listed, nearest
from labwright.hookspecs import KINDS, Component, Recipe

GROUP = "labwright"
NAME = re.compile(r"([a-z0-9]+(-[a-z0-9]+)*/)?([a-z0-9]+(-[a-z0-9]+)*|\*)")
TARGET = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class Plugin:
    """What is known of one plugin: where it comes from, whether it is in use, and what it brings."""

    name: str
    distribution: str
    version: str
    requires: str | None  # the range of labwright versions it asks for; None if it states none
    state: Literal["loaded", "blocked", "quarantined"] = "loaded"
    reason: str = ""
    components: tuple[Component, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    module: Any = field(default=None, repr=False, compare=False)

    @property
    def origin(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


class Plugins:
    """The plugins of one program run: `discover()` finds the installed ones, `find` and `recipe` look names up."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)
        self._owners: dict[tuple[str, str], list[tuple[Plugin, Component | Recipe]]] = {}
        for plugin in self.loaded:
            for component in plugin.components:
                self._owners.setdefault((component.kind, component.name), []).append((plugin, component))
            for recipe in plugin.recipes:
                self._owners.setdefault(("recipe", recipe.name), []).append((plugin, recipe))

    @classmethod
    def discover(cls, blocked: Iterable[str] = ()) -> Plugins:
        """Load every installed plugin that isn't blocked by `blocked`, the environment or `[tool.labwright]`.

        Raises LabwrightError if a name in `blocked` is no installed plugin.
        """
        points = list(metadata.entry_points(group=GROUP))
        known = {name for point in points for name in _names(point)}
        for name in blocked:
            if name not in known:
                raise LabwrightError(
                    f"no plugin is called {name!r}{nearest(name, known)}. `labwright plugins` shows the installed ones."
                )
        off = dict.fromkeys(blocked, "--no-plugin") | _blocked_by_settings()
        return cls(_load(point, off) for point in points)

    def extended(self, objects: Sequence[object]) -> Plugins:
        """These plugins and objects with hook implementations that were given from Python.

        Raises LabwrightError if one of them can't be used: an object in hand is mended, not set aside.
        """
        added = []
        for thing in objects:
            name = getattr(thing, "__name__", type(thing).__name__)
            plugin = _examined(Plugin(name, "given from Python", "", None, module=thing))
            if plugin.state != "loaded":
                raise LabwrightError(f"plugin {name!r}, given from Python: {plugin.reason}.")
            added.append(plugin)
        return Plugins((*self.plugins, *added))

    @property
    def loaded(self) -> tuple[Plugin, ...]:
        return tuple(plugin for plugin in self.plugins if plugin.state == "loaded")

    def names(self, kind: str) -> list[str]:
        """The names of a kind of component, or of `recipe`, sorted; those without a domain first."""
        return sorted((name for owned, name in self._owners if owned == kind), key=lambda name: ("/" in name, name))

    def find(self, kind: str, name: str) -> Component:
        """The component of that name, or the family it belongs to. Raises LabwrightError."""
        family = name.rpartition("/")[0] + "/*"
        key = (kind, name) if (kind, name) in self._owners or (kind, family) not in self._owners else (kind, family)
        found = self._one(*key)
        assert isinstance(found, Component)
        return found

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name. Raises LabwrightError."""
        found = self._one("recipe", name)
        assert isinstance(found, Recipe)
        return found

    def load(self, kind: str, name: str) -> Any:
        """The class or function behind a component's name; its module is imported here. Raises LabwrightError."""
        component = self.find(kind, name)
        owner = self._owners[component.kind, component.name][0][0]
        module, _, attribute = component.target.partition(":")
        try:
            target = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise LabwrightError(
                f"{kind} {component.name!r} of plugin {owner.origin} can't be loaded from {component.target!r}: "
                f"{_words(error)}. `labwright doctor` checks the installed versions."
            ) from error
        if not component.name.endswith("/*"):
            return target
        member = name.rpartition("/")[2]
        if member not in target:
            domain = component.name[:-1]
            raise LabwrightError(
                f"no {kind} is called {name!r}{nearest(name, [domain + known for known in target])}. "
                f"{component.name} has {listed(target, most=40)}."
            )
        return target[member]

    def described(self, kind: str, name: str) -> tuple[Plugin, Component | Recipe]:
        """What carries that exact name, and the first plugin that brings it."""
        return self._owners[kind, name][0]

    def _one(self, kind: str, name: str) -> Component | Recipe:
        owners = self._owners.get((kind, name), [])
        if len(owners) == 1:
            return owners[0][1]
        if owners:
            origins = " and ".join(plugin.origin for plugin, _ in owners)
            raise LabwrightError(
                f"{kind} {name!r} is brought by {origins}: block one of them, for example with "
                f"`--no-plugin {owners[1][0].name}`."
            )
        known = self.names(kind)
        message = f"no {kind} is called {name!r}{nearest(name, known)}. `labwright list {plural(kind)}` shows "
        message += f"all {len(known)}." if known else "none: no installed plugin brings any."
        absent = [plugin for plugin in self.plugins if plugin.state != "loaded"]
        if absent:
            some = f"{len(absent)} plugin{'s' if len(absent) > 1 else ''} did not load and may offer it: "
            message += "\n" + some + ", ".join(f"{plugin.name} ({plugin.reason})" for plugin in absent)
        raise LabwrightError(message)


class Relay:
    """The hook calls of one run, resolved once: for each hook a tuple of calls, empty if nobody listens.

    `listeners` are objects whose methods carry `hookimpl`, called after the plugins in the order given.
    """

    def __init__(self, plugins: Plugins, listeners: Sequence[object] = ()) -> None:
        self.run_started = self._calls("labwright_run_started", plugins, listeners)
        self.step_ended = self._calls("labwright_step_ended", plugins, listeners)
        self.logged = self._calls("labwright_logged", plugins, listeners)
        self.evaluated = self._calls("labwright_evaluated", plugins, listeners)
        self.run_ended = self._calls("labwright_run_ended", plugins, listeners)

    @staticmethod
    def _calls(hook: str, plugins: Plugins, listeners: Sequence[object]) -> tuple[Callable[..., object], ...]:
        calls = []
        for thing in [*(plugin.module for plugin in plugins.loaded), *listeners]:
            manager = _manager()
            manager.register(thing)
            calls += [_taking(impl) for impl in getattr(manager.hook, hook).get_hookimpls()]
        return tuple(calls)


def plural(kind: str) -> str:
    """The plural `labwright list` takes: task -> tasks, loss -> losses, data -> data, stop -> stops."""
    return {"loss": "losses", "data": "data"}.get(kind, kind + "s")


def check_listener(thing: object) -> None:
    """Raises LabwrightError if an object's hook implementations are none of the known hooks, or it has none."""
    reason = _hook_fault(thing)
    if reason:
        raise LabwrightError(f"{thing!r} can't listen to a run: {reason}.")


def _taking(impl: pluggy.HookImpl) -> Callable[..., object]:
    function, names = impl.function, impl.argnames
    return lambda **given: function(**{name: given[name] for name in names})


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


def _names(point: metadata.EntryPoint) -> tuple[str, str]:
    assert point.dist is not None
    return point.name, point.dist.name


def _blocked_by_settings() -> dict[str, str]:
    blocked = {name.strip(): "LABWRIGHT_DISABLE_PLUGINS" for name in _environment().split(",") if name.strip()}
    for folder in [Path.cwd(), *Path.cwd().parents]:
        file = folder / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("labwright", {})
        except (OSError, ValueError) as error:
            raise LabwrightError(f"{file} can't be read for [tool.labwright]: {error}") from error
        disabled = table.get("disable", [])
        if not isinstance(disabled, list) or not all(isinstance(name, str) for name in disabled):
            raise LabwrightError(
                f"{file}: [tool.labwright] disable is a list of plugin names, such as ['nlp'], not {disabled!r}."
            )
        return blocked | dict.fromkeys(disabled, f"[tool.labwright] in {file}")
    return blocked


def _environment() -> str:
    return os.environ.get("LABWRIGHT_DISABLE_PLUGINS", "")


def _load(point: metadata.EntryPoint, blocked: Mapping[str, str]) -> Plugin:
    assert point.dist is not None
    name, distribution = _names(point)
    requires = _required_core(point.dist)
    plugin = Plugin(name, distribution, point.dist.version, requires)
    by = blocked.get(name) or blocked.get(distribution)
    if by:
        return replace(plugin, state="blocked", reason=f"blocked by {by}")
    core = metadata.version("labwright")
    if (
        requires is not None
        and Version(Version(core).base_version) not in Requirement(f"labwright{requires}").specifier
    ):
        reason = f"{distribution} needs labwright{requires}; this is labwright {core}"
        return replace(plugin, state="quarantined", reason=reason)
    try:
        module = point.load()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return replace(plugin, state="quarantined", reason=f"{point.value} failed to import: {_words(error)}")
    return _examined(replace(plugin, module=module))


def _required_core(distribution: metadata.Distribution) -> str | None:
    """The range in a distribution's own `Requires-Dist: labwright`, lines for extras left out."""
    if distribution.name == "labwright":
        return f"=={Version(distribution.version).base_version}"
    for line in distribution.requires or ():
        requirement = Requirement(line)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if requirement.name.lower() == "labwright" and wanted:
            return str(requirement.specifier) or None
    return None


def _examined(plugin: Plugin) -> Plugin:
    """The plugin with what it declares, or set aside with the first thing that is wrong with it."""
    fault = _hook_fault(plugin.module)
    if fault:
        return replace(plugin, state="quarantined", reason=fault)
    manager = _manager()
    manager.register(plugin.module)
    try:
        components = tuple(_declared(manager.hook.labwright_components.get_hookimpls(), Component))
        recipes = tuple(_declared(manager.hook.labwright_recipes.get_hookimpls(), Recipe))
    except Exception as error:  # noqa: BLE001 - whatever a plugin's own code raises
        return replace(plugin, state="quarantined", reason=_words(error))
    seen: set[tuple[str, str]] = set()
    for component in components:
        fault = _component_fault(component)
        if (component.kind, component.name) in seen:
            fault = f"declares {component.kind} {component.name!r} twice"
        if fault:
            return replace(plugin, state="quarantined", reason=fault)
        seen.add((component.kind, component.name))
    return replace(plugin, components=components, recipes=recipes)


def _hook_fault(thing: object) -> str:
    manager = _manager()
    try:
        manager.register(thing)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        text = " ".join(str(error).split())
        hooks = [name for name in vars(hookspecs) if name.startswith("labwright_")]
        unknown = re.search(r"unknown hook '(\w+)'", text)
        return f"unknown hook {unknown[1]!r}{nearest(unknown[1], hooks)}" if unknown else f"bad hook: {text}"
    return ""


def _declared(impls: Iterable[pluggy.HookImpl], kind: type[Any]) -> Iterator[Any]:
    for impl in impls:
        things: Any = impl.function()
        for thing in things or ():
            if not isinstance(thing, kind):
                raise TypeError(f"{impl.function.__name__} must yield labwright.{kind.__name__}, gave {thing!r}")
            yield thing


def _component_fault(component: Component) -> str:
    where = f"component {component.name!r}"
    if component.kind not in KINDS:
        return f"{where}: no kind is called {component.kind!r}{nearest(component.kind, KINDS)} (one of {listed(KINDS)})"
    if not NAME.fullmatch(component.name):
        return f"{where}: a name is kebab-case, with its domain before a slash, such as 'vision/small-cnn'"
    if not TARGET.fullmatch(component.target):
        return f"{where}: a target is 'module:attribute', given {component.target!r}"
    return ""


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().rstrip(".:").splitlines()[0]
