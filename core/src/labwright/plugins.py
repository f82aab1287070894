"""Finding plugins, checking them, and looking up what they bring. No global state, and nothing here imports torch.

A plugin that can't be used is set aside with its reason; it never takes the program down.
"""

from __future__ import annotations

import importlib
import inspect
import operator
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pluggy

from labwright import hookspecs
from labwright.errors import LabwrightError, listed, nearest
from labwright.hookspecs import KINDS, Component, Recipe

GROUP = "labwright"
HOOKS = {
    name: tuple(inspect.signature(spec).parameters) for name, spec in vars(hookspecs).items() if name.startswith(GROUP)
}
_WORD = r"[a-z0-9]+(-[a-z0-9]+)*"
_NAME = re.compile(rf"({_WORD}/)?{_WORD}|{_WORD}/\*")
_RECIPE = re.compile(rf"{_WORD}/{_WORD}")
_TARGET = re.compile(r"[\w.]+:\w+")
_RELEASE = r"\d+(?:\.\d+)*"
_COMPARED = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Plugin:
    """What is known of one plugin: where it comes from, whether it is in use, and what it brings."""

    name: str
    distribution: str
    version: str
    requires: str | None = None  # the range of labwright versions it asks for; None if it states none
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

        The core's own comes first, the others in the order of their names. Raises LabwrightError if a name in `blocked`
        is no installed plugin.
        """
        found = [(_stated(point), point) for point in metadata.entry_points(group=GROUP)]
        found.sort(key=lambda pair: (pair[0].distribution != GROUP, pair[0].name, pair[0].distribution))
        known = {name for plugin, _ in found for name in (plugin.name, plugin.distribution)}
        for name in blocked:
            if name not in known:
                raise LabwrightError(
                    f"no plugin is called {name!r}{nearest(name, known)}. `labwright plugins` shows the installed ones."
                )
        off = dict.fromkeys(blocked, "--no-plugin") | _blocked_by_settings()
        core = metadata.version(GROUP)
        return cls(_loaded(plugin, point, off, core) for plugin, point in found)

    def extended(self, objects: Sequence[object]) -> Plugins:
        """These plugins and objects with hook implementations that were given from Python.

        Raises LabwrightError if one of them can't be used: an object in hand is mended, not set aside.
        """
        added = []
        for thing in objects:
            name = getattr(thing, "__name__", type(thing).__name__)
            plugin = _examined(Plugin(name, "given from Python", "", module=thing))
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

    def owners(self, kind: str, name: str) -> list[tuple[Plugin, Component | Recipe]]:
        """Every plugin that brings exactly that name, with what it brings."""
        return self._owners.get((kind, name), [])

    def find(self, kind: str, name: str) -> Component:
        """The component of that name, or the family it belongs to. Raises LabwrightError."""
        family = name.rpartition("/")[0] + "/*"
        found = self._one(kind, name if self.owners(kind, name) or not self.owners(kind, family) else family)
        assert isinstance(found, Component)
        return found

    def recipe(self, name: str) -> Recipe:
        """The recipe of that name. Raises LabwrightError."""
        found = self._one("recipe", name)
        assert isinstance(found, Recipe)
        if not found.path.is_file():
            owner = self.owners("recipe", name)[0][0]
            raise LabwrightError(f"recipe {name!r} of plugin {owner.origin} has no file: {found.path} isn't there.")
        return found

    def load(self, kind: str, name: str) -> Any:
        """The class or function behind a component's name; its module is imported here. Raises LabwrightError."""
        component = self.find(kind, name)
        target = self.target(component)
        if not component.name.endswith("/*"):
            return target
        domain, _, member = name.rpartition("/")
        if member not in target:
            raise LabwrightError(
                f"no {kind} is called {name!r}{nearest(name, [f'{domain}/{known}' for known in target])}. "
                f"{component.name} has {listed(target, most=40)}."
            )
        return target[member]

    def target(self, component: Component) -> Any:
        """What a component's target names: a class or function, for a family the mapping. Raises LabwrightError."""
        module, _, attribute = component.target.partition(":")
        try:
            target = getattr(importlib.import_module(module), attribute)
            family = component.name.endswith("/*")
            if not (isinstance(target, Mapping) if family else callable(target)):
                wanted = "a mapping from names to classes" if family else "a class or a function"
                raise TypeError(f"a {type(target).__name__} stands there, not {wanted}")
        except (Exception, SystemExit) as error:
            owner = self.owners(component.kind, component.name)[0][0]
            raise LabwrightError(
                f"{component.kind} {component.name!r} of plugin {owner.origin} can't be loaded from "
                f"{component.target!r}: {_words(error)}. `labwright doctor` checks the installed versions."
            ) from error
        return target

    def _one(self, kind: str, name: str) -> Component | Recipe:
        owners = self.owners(kind, name)
        if len(owners) == 1:
            return owners[0][1]
        if owners:
            origins = " and ".join(plugin.origin for plugin, _ in owners)
            raise LabwrightError(
                f"{kind} {name!r} is brought by {origins}: block one of them, for example with "
                f"`--no-plugin {owners[1][0].distribution}`."
            )
        known = self.names(kind)
        others = [f"a {other}" for other in ("recipe", *KINDS) if self.owners(other, name)]
        hint = f"; it names {' and '.join(others)}" if others else nearest(name, known)
        shown = f"`labwright list {plural(kind)}` shows all {len(known)}." if known else "No plugin brings any."
        message = f"no {kind} is called {name!r}{hint}. {shown}"
        absent = [f"{plugin.name} ({plugin.reason})" for plugin in self.plugins if plugin.state != "loaded"]
        if absent:
            some = "1 plugin" if len(absent) == 1 else f"{len(absent)} plugins"
            message += f"\n{some} did not load and may offer it: {', '.join(absent)}"
        raise LabwrightError(message)


class Relay:
    """The hook calls of one run, resolved once: for each hook a tuple of calls, empty if nobody listens.

    The plugins are called first, then `listeners`, objects whose methods carry `hookimpl`, in the order given;
    `tryfirst` and `trylast` move a call to the front or the end.
    """

    def __init__(self, plugins: Plugins, listeners: Sequence[object] = ()) -> None:
        things = (*(plugin.module for plugin in plugins.loaded), *listeners)
        self._heard = [_implementations(thing) for thing in things]
        self.run_started = self._calls("labwright_run_started")
        self.step_ended = self._calls("labwright_step_ended")
        self.logged = self._calls("labwright_logged")
        self.evaluated = self._calls("labwright_evaluated")
        self.run_ended = self._calls("labwright_run_ended")

    def _calls(self, hook: str) -> tuple[Callable[..., object], ...]:
        found = [implemented[hook] for implemented in self._heard if hook in implemented]
        return tuple(_taking(impl) for impl in sorted(found, key=lambda impl: impl.trylast - impl.tryfirst))


def plural(kind: str) -> str:
    """The plural `labwright list` takes: task -> tasks, loss -> losses, data -> data, stop -> stops."""
    return {"loss": "losses", "data": "data"}.get(kind, kind + "s")


def check_listener(thing: object) -> None:
    """Raises LabwrightError if an object implements no hook, or one that isn't called as it asks."""
    try:
        _implementations(thing)
    except LabwrightError as error:
        raise LabwrightError(f"{thing!r} can't listen to a run: {error}.") from error


def _taking(impl: pluggy.HookImpl) -> Callable[..., object]:
    function, names = impl.function, _asked(impl)
    return lambda **given: function(**{name: given[name] for name in names})


def _asked(impl: pluggy.HookImpl) -> list[str]:
    parameters = inspect.signature(impl.function).parameters.values()
    return [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]


def _implementations(thing: object) -> dict[str, pluggy.HookImpl]:
    """What an object implements, by hook. Raises LabwrightError with the first thing that is wrong."""
    manager = pluggy.PluginManager(GROUP)
    manager.register(thing)
    found = {caller.name: caller.get_hookimpls()[0] for caller in manager.get_hookcallers(thing) or ()}
    for name, impl in found.items():
        if name not in HOOKS:
            if not impl.optionalhook:
                raise LabwrightError(f"unknown hook {name!r}{nearest(name, HOOKS)}")
        elif impl.wrapper or impl.hookwrapper:
            raise LabwrightError(f"{name} is a wrapper; labwright's hooks are called one after another, never wrapped")
        else:
            for argument in _asked(impl):
                if argument not in HOOKS[name]:
                    gives = ", ".join(HOOKS[name]) or "nothing"
                    raise LabwrightError(
                        f"{name} gives {gives}; here it asks for {argument!r}{nearest(argument, HOOKS[name])}"
                    )
    for name in HOOKS:
        if name not in found and callable(getattr(thing, name, None)):
            raise LabwrightError(f"{name} isn't marked with labwright.hookimpl, so that it would never be called")
    if not found:
        raise LabwrightError("it implements none of labwright's hooks")
    return found


def _stated(point: metadata.EntryPoint) -> Plugin:
    """What a plugin's distribution says of it; nothing of it is imported."""
    dist = point.dist
    assert dist is not None
    try:
        return Plugin(point.name, dist.name, dist.version, _required_core(dist))
    except Exception as error:  # noqa: BLE001 - whatever stands in the metadata of another distribution
        reason = f"the metadata of its distribution can't be read: {_words(error)}"
        return Plugin(point.name, "unknown", "", state="quarantined", reason=reason)


def _required_core(distribution: metadata.Distribution) -> str | None:
    """The range in a distribution's own `Requires-Dist: labwright`, lines for extras left out."""
    if distribution.name == GROUP:
        return f"=={distribution.version}"
    clauses: set[str] = set()
    for line in distribution.requires or ():
        text, _, marker = line.partition(";")
        if re.match(rf"{GROUP}(?![\w.-])", text, re.IGNORECASE) and (not marker or _applies(marker)):
            clauses |= set(re.sub(r"^\w+|\[.*\]|@.*|[\s()]", "", text).split(","))
    return ",".join(sorted(clauses - {""}, reverse=True)) or None  # ">=" before "<"


def _applies(marker: str) -> bool:
    from packaging.markers import Marker  # here: few plugins have markers, and every command would pay for it

    return Marker(marker.strip()).evaluate({"extra": ""})


def _admits(requires: str, core: str) -> bool:
    """Whether a range has room for this core, or for the release that this core is a pre-release of."""
    clauses = [re.fullmatch(rf"([<>=!]=|[<>])({_RELEASE})", clause) for clause in requires.split(",")]
    if re.fullmatch(_RELEASE, core) and all(clauses):  # as nearly always: a quarter of `labwright list` saved
        return all(_COMPARED[one[1]](_release(core), _release(one[2])) for one in clauses if one)
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    allowed = SpecifierSet(requires)
    return any(allowed.contains(version, prereleases=True) for version in (core, Version(core).base_version))


def _release(text: str) -> tuple[int, ...]:
    """Version numbers to compare: 0.2 is 0.2.0."""
    return tuple(int(number) for number in re.sub(r"(\.0+)+$", "", text).split("."))


def _loaded(plugin: Plugin, point: metadata.EntryPoint, blocked: Mapping[str, str], core: str) -> Plugin:
    by = blocked.get(plugin.name) or blocked.get(plugin.distribution)
    if by:
        return replace(plugin, state="blocked", reason=f"blocked by {by}")
    if plugin.state != "loaded":
        return plugin
    try:
        reason = f"{plugin.distribution} needs labwright{plugin.requires}; this is labwright {core}"
        if plugin.requires and not _admits(plugin.requires, core):
            return replace(plugin, state="quarantined", reason=reason)
    except ValueError as error:
        return replace(plugin, state="quarantined", reason=f"{plugin.distribution}'s metadata can't be read: {error}")
    try:
        module = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - SystemExit, and what test frameworks raise, must not end the program
        return replace(plugin, state="quarantined", reason=f"{point.value} failed to import: {_words(error)}")
    return _examined(replace(plugin, module=module))


def _examined(plugin: Plugin) -> Plugin:
    """The plugin with what it brings, or set aside with the first thing that is wrong with it."""
    try:
        implemented = _implementations(plugin.module)
        components = _declared(implemented.get("labwright_components"), Component, _component_fault)
        recipes = _declared(implemented.get("labwright_recipes"), Recipe, _recipe_fault)
    except LabwrightError as error:
        return replace(plugin, state="quarantined", reason=str(error))
    return replace(plugin, components=components, recipes=recipes)


def _declared(impl: pluggy.HookImpl | None, kind: type[Any], fault_of: Callable[[Any], str]) -> tuple[Any, ...]:
    """What a hook implementation yields. Raises LabwrightError with the first thing that is wrong."""
    if impl is None:
        return ()
    name = impl.function.__name__
    try:
        given: Any = impl.function()
        things = list(given or ())
    except (Exception, SystemExit) as error:
        raise LabwrightError(f"{name} failed: {_words(error)}") from error
    seen: set[tuple[str, str]] = set()
    for thing in things:
        if not isinstance(thing, kind):
            raise LabwrightError(f"{name} yields a labwright.{kind.__name__} each time, gave {thing!r}")
        fault = fault_of(thing)
        key = (getattr(thing, "kind", "recipe"), thing.name)
        if fault or key in seen:
            raise LabwrightError(fault or f"{key[0]} {key[1]!r} is declared twice")
        seen.add(key)
    return tuple(things)


def _component_fault(component: Component) -> str:
    for key, value in vars(component).items():
        if not isinstance(value, str):
            return f"component {component.name!r}: its {key} is text, given {value!r}"
    where = f"component {component.name!r}"
    if component.kind not in KINDS:
        return f"{where}: no kind is called {component.kind!r}{nearest(component.kind, KINDS)} (one of {listed(KINDS)})"
    if not _NAME.fullmatch(component.name):
        return f"{where}: a name is kebab-case, with its domain before a slash, such as 'vision/small-cnn'"
    if not _TARGET.fullmatch(component.target):
        return f"{where}: a target is 'module:attribute', given {component.target!r}"
    return ""


def _recipe_fault(recipe: Recipe) -> str:
    where = f"recipe {recipe.name!r}"
    if not isinstance(recipe.name, str) or not _RECIPE.fullmatch(recipe.name):
        return f"{where}: a name is kebab-case, with its domain before a slash, such as 'vision/digits'"
    if not isinstance(recipe.path, Path) or recipe.path.suffix != ".toml":
        return f"{where}: its path is the pathlib.Path of a .toml file, given {recipe.path!r}"
    return "" if isinstance(recipe.summary, str) else f"{where}: its summary is text, given {recipe.summary!r}"


def _blocked_by_settings() -> dict[str, str]:
    """Blocked names with what blocks them, from LABWRIGHT_DISABLE_PLUGINS and the nearest pyproject.toml."""
    names = os.environ.get("LABWRIGHT_DISABLE_PLUGINS", "").split(",")
    blocked = {name.strip(): "LABWRIGHT_DISABLE_PLUGINS" for name in names if name.strip()}
    here = Path.cwd()
    file = next((file for folder in (here, *here.parents) if (file := folder / "pyproject.toml").is_file()), None)
    if file is None:
        return blocked
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get(GROUP, {})
    except (OSError, ValueError) as error:
        raise LabwrightError(f"{file} can't be read for [tool.labwright]: {error}") from error
    disabled = table.get("disable", [])
    if not isinstance(disabled, list) or not all(isinstance(name, str) for name in disabled):
        raise LabwrightError(
            f'{file}: [tool.labwright] disable is a list of plugin names, such as ["nlp"], not {disabled!r}.'
        )
    for key in table:
        if key != "disable":
            raise LabwrightError(
                f"{file}: [tool.labwright] has no setting {key!r}{nearest(key, ['disable'])}. It has disable."
            )
    return blocked | dict.fromkeys(disabled, f"[tool.labwright] in {file}")


def _words(error: BaseException) -> str:
    """An error in one line: its type and the first line of what it says."""
    first, *_ = [*str(error).strip().splitlines(), ""]
    return f"{type(error).__name__}: {first}".rstrip(".: ")
