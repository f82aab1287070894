"""Which plugins are installed, and which of them can be used: versions, blocking, hooks, what they declare.

Nothing here raises for a plugin that can't be used: it is set aside with its reason. Nothing here imports torch.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any, Literal

import pluggy

from labwright.base.errors import LabwrightError, listed, nearest, words
from labwright.plugin import hookspecs
from labwright.plugin.hookspecs import Component, Kind, Recipe, Verb
from labwright.plugin.project_config import ProjectConfig
from labwright.plugin.tracing import traced

GROUP = "labwright"
BEFORE, CHANGED_IN = "0.1.0", "docs/how-to/core-versions.md"  # plugins for the version before, and what they change
# What each hook gives, in order.
HOOKS = {
    name: tuple(inspect.signature(spec).parameters) for name, spec in vars(hookspecs).items() if name.startswith(GROUP)
}
_WORD = r"[a-z0-9]+(-[a-z0-9]+)*"
_TARGET = re.compile(r"[\w.]+:\w+")
_TYPES = {"str": (str, "text"), "Path": (Path, "a pathlib.Path"), "bool": (bool, "True or False")}
RESERVED = ("kind", "recipe", "verb")  # what plugins bring besides components
_RELEASE = r"\d+(?:\.\d+)*"
_COMPARED = {"<": lt, "<=": le, "==": eq, "!=": ne, ">=": ge, ">": gt}
# How the things that plugins declare are called; each has a hook of its own: labwright_components and so on.
_NAMES: dict[type[Any], tuple[str, str]] = {
    Component: (rf"({_WORD}/)?{_WORD}|{_WORD}/\*", "with its domain before a slash, such as 'vision/small-cnn'"),
    Recipe: (rf"{_WORD}/{_WORD}", "with its domain before a slash, such as 'vision/digits'"),
    Kind: (rf"(?!({'|'.join(RESERVED)})$){_WORD}", f"and none of {listed(RESERVED)}"),
    Verb: (_WORD, "such as 'verify-resume'"),
}

Declared = Component | Recipe | Kind | Verb


def kind_of(declared: Declared) -> str:
    """The kind of a component; else what the thing is: recipe, kind or verb."""
    return declared.kind if isinstance(declared, Component) else type(declared).__name__.lower()


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
    kinds: tuple[Kind, ...] = ()
    verbs: tuple[Verb, ...] = ()
    target: str = field(default="", repr=False, compare=False)  # what the entry point names: module[:object]
    module: Any = field(default=None, repr=False, compare=False)
    hooks: Mapping[str, pluggy.HookImpl] = field(default_factory=dict, repr=False, compare=False)
    file: Path | None = None  # of a plugin that is a single file

    @property
    def origin(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def brings(self) -> tuple[Declared, ...]:
        """All that it declares."""
        return (*self.components, *self.recipes, *self.kinds, *self.verbs)


def installed() -> tuple[list[Plugin], list[str]]:
    """What the distributions say of their plugins, nothing of which is imported: the core's own first, then by name.

    And notes on distributions, of whatever kind, whose entry points can't be read.
    """
    notes: list[str] = []
    found: dict[tuple[str, str], Plugin] = {}  # the first on the path of each name is the one that is imported
    for distribution in metadata.distributions():
        try:
            points = distribution.entry_points.select(group=GROUP)
        except Exception as error:  # noqa: BLE001 - whatever stands in the file of another distribution
            name = canonical(distribution.name or "unknown")
            notes.append(f"the entry points of {name} can't be read ({words(error)}): install it again, or remove it.")
            # torch and pydantic would look for plugins of their own, and end at the same file
            os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
            os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
            continue
        for plugin in map(_stated, points):
            found.setdefault((canonical(plugin.distribution), plugin.name), plugin)
    return sorted(found.values(), key=lambda one: (one.distribution != GROUP, one.name, one.distribution)), notes


def canonical(name: str) -> str:
    """A plugin's or distribution's name in the one spelling of all that mean the same: My_Plugin is my-plugin."""
    return re.sub(r"[-_.]+", "-", name).lower()


def blocks(
    settings: ProjectConfig, option: Collection[str], known: Collection[str]
) -> tuple[dict[str, str], list[str]]:
    """The canonical names that are blocked, each with what blocks it, and notes on those that no plugin has.

    Raises LabwrightError for a name given as an option that no plugin has.
    """
    there = {canonical(name): name for name in known}
    environment = [name.strip() for name in os.environ.get("LABWRIGHT_DISABLE_PLUGINS", "").split(",") if name.strip()]
    given = {"--no-plugin": option, "LABWRIGHT_DISABLE_PLUGINS": environment, settings.origin: settings.disable}
    off: dict[str, str] = {}
    notes = []
    for by, names in given.items():
        for name in names:
            if there.get(canonical(name)) in (GROUP, "builtin"):
                raise LabwrightError(f"{by}: {name!r} is labwright itself, without which nothing works.")
            if canonical(name) in there:
                off.setdefault(canonical(name), by)
                continue
            said = f"no plugin is called {name!r}{nearest(name, there.values())}"
            if by == "--no-plugin":
                raise LabwrightError(f"{said} `labwright plugins` shows the installed ones.")
            notes.append(f"{by}: {said}")
    return off, notes


def blocked_by(plugin: Plugin, off: Mapping[str, str], settings: ProjectConfig) -> str:
    """By what a plugin is left out; "" if it isn't."""
    names = {canonical(plugin.name), canonical(plugin.distribution)}
    if by := next((off[name] for name in names if name in off), ""):
        return f"blocked by {by}"
    allowed = settings.allow is None or plugin.distribution == GROUP or names & set(map(canonical, settings.allow))
    return "" if allowed else f"blocked by {settings.origin}, which doesn't allow it"


def imported(plugin: Plugin, core: str, by: str = "") -> Plugin:
    """The plugin with its module and what it brings, or set aside with the reason.

    `core` is the version of labwright that is installed, `by` what blocks the plugin.
    """
    if by:
        return replace(plugin, state="blocked", reason=by)
    if plugin.state != "loaded":
        return plugin
    try:
        _check_version(plugin, core)
        module = loaded_from(plugin)
    except LabwrightError as error:
        return replace(plugin, state="quarantined", reason=str(error))
    return examined(replace(plugin, module=module))


def _check_version(plugin: Plugin, core: str) -> None:
    """Raises LabwrightError if a plugin asks for another version of labwright, or states none that can be read."""
    try:
        if not plugin.requires or _admits(plugin.requires, core):
            return
        hint = f"; {CHANGED_IN} says what to change" if _admits(plugin.requires, BEFORE) else ""
    except ValueError as error:
        raise LabwrightError(f"{plugin.distribution}'s metadata can't be read: {error}") from error
    raise LabwrightError(f"{plugin.distribution} needs labwright{plugin.requires}; this is labwright {core}{hint}")


def loaded_from(plugin: Plugin) -> Any:
    """What a plugin's entry point names, imported. Raises LabwrightError for whatever it raises."""
    with guarded(f"{plugin.target} failed to import"):
        return metadata.EntryPoint(plugin.name, plugin.target, GROUP).load()


@contextmanager
def guarded(failed: str, hint: str = "") -> Iterator[None]:
    """Around somebody's code: what it prints goes to stderr, and whatever it raises is a LabwrightError.

    Also SystemExit, and what test frameworks raise, which must not end the program. stdout is for what was asked of
    labwright. The message is what `failed`, the error, and a hint.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise LabwrightError(f"{failed}: {words(error)}{hint}") from error


def examined(plugin: Plugin) -> Plugin:
    """The plugin with what it brings, or set aside with the first thing that is wrong with it."""
    try:
        implemented = implementations(plugin.module)
        components, recipes, kinds, verbs = (_declared(plugin, implemented, of) for of in _NAMES)
    except LabwrightError as error:
        return replace(plugin, state="quarantined", reason=str(error))
    except Exception as error:  # noqa: BLE001 - what an object of somebody's does when it is looked at
        return replace(plugin, state="quarantined", reason=f"it can't be looked at: {words(error)}")
    return replace(plugin, components=components, recipes=recipes, kinds=kinds, verbs=verbs, hooks=implemented)


def implementations(thing: object) -> dict[str, pluggy.HookImpl]:
    """What an object implements, by hook. Raises LabwrightError with the first thing that is wrong."""
    manager = pluggy.PluginManager(GROUP)
    manager.register(thing)
    found = {caller.name: caller.get_hookimpls()[0] for caller in manager.get_hookcallers(thing) or ()}
    for name, impl in found.items():
        if name not in HOOKS and impl.optionalhook:
            continue
        if name not in HOOKS:
            raise LabwrightError(f"unknown hook {name!r}{nearest(name, HOOKS, '')}")
        if impl.wrapper or impl.hookwrapper:
            raise LabwrightError(f"{name} is a wrapper; labwright's hooks are called one after another, never wrapped")
        for argument in impl.argnames:
            if argument not in HOOKS[name]:
                asks = f"here it asks for {argument!r}{nearest(argument, HOOKS[name], '')}"
                raise LabwrightError(f"{name} gives {', '.join(HOOKS[name]) or 'nothing'}; {asks}")
    for name in HOOKS:
        if name not in found and callable(getattr(thing, name, None)):
            raise LabwrightError(f"{name} isn't marked with labwright.hookimpl, so that it would never be called")
    if not found:
        raise LabwrightError("it implements none of labwright's hooks")
    manager.add_hookspecs(hookspecs)  # warns of a hook or an argument on its way out
    return found


def _stated(point: metadata.EntryPoint) -> Plugin:
    """What a plugin's distribution says of it."""
    dist = point.dist
    assert dist is not None
    try:
        # once: each attribute of a distribution parses all of it anew, its description too
        if not (read := dist.metadata)["Name"] or not read["Version"]:
            raise ValueError("no name or no version stands there")
        return Plugin(point.name, read["Name"], read["Version"], _required_core(dist, read), target=point.value)
    except Exception as error:  # noqa: BLE001 - whatever stands in the metadata of another distribution
        reason = f"the metadata of its distribution can't be read: {words(error)}"
        return Plugin(point.name, "unknown", "", state="quarantined", reason=reason, target=point.value)


def _required_core(distribution: metadata.Distribution, read: metadata.PackageMetadata) -> str | None:
    """The range in a distribution's own `Requires-Dist: labwright`, lines for extras left out."""
    if read["Name"] == GROUP:
        return f"=={read['Version']}"
    clauses: set[str] = set()
    for line in read.get_all("Requires-Dist") or distribution.requires or ():
        text, _, marker = line.partition(";")
        if not re.match(rf"{GROUP}(?![\w.-])", text, re.IGNORECASE):
            continue
        if marker:
            from packaging.markers import Marker  # here: few plugins have markers, and every command would pay for it

            if not Marker(marker.strip()).evaluate({"extra": ""}):
                continue
        clauses |= set(re.sub(r"^\w+|\[.*\]|@.*|[\s()]", "", text).split(","))
    return ",".join(sorted(clauses - {""}, reverse=True)) or None  # ">=" before "<"


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


def _declared(plugin: Plugin, implemented: Mapping[str, pluggy.HookImpl], of: type[Any]) -> tuple[Any, ...]:
    """What a plugin's implementation of a hook yields. Raises LabwrightError with the first thing that is wrong."""
    what = of.__name__.lower()
    hook = f"{GROUP}_{what}s"
    if hook not in implemented:
        return ()
    declare: Callable[[], Any] = implemented[hook].function
    with guarded(f"{hook} failed"):
        things = traced(lambda: list(declare() or ()), hook, plugin.origin)()
    seen: set[tuple[str, str]] = set()
    for thing in things:
        if not isinstance(thing, of):
            raise LabwrightError(f"{hook} yields a labwright.{of.__name__} each time, gave {thing!r}")
        if fault := _fault(of, thing):
            raise LabwrightError(f"{what} {thing.name!r}: {fault}")
        key = (kind_of(thing), thing.name)
        if key in seen:
            raise LabwrightError(f"{key[0]} {key[1]!r} is declared twice")
        seen.add(key)
    return tuple(things)


def _fault(of: type[Any], thing: Any) -> str:
    """What is wrong with the fields of a declaration; "" if nothing is."""
    for one in fields(of):
        value = getattr(thing, one.name)
        type_, called = _TYPES[str(one.type)]
        if not isinstance(value, type_):
            return f"its {one.name} is {called}, given {value!r}"
    pattern, advice = _NAMES[of]
    if not re.fullmatch(pattern, thing.name):
        return f"a name is kebab-case, {advice}"
    if of is Recipe:
        return "" if thing.path.suffix == ".toml" else f"its path is that of a .toml file, given {thing.path!r}"
    if of is Kind and not thing.heading:
        return "it has no heading, its plural in `labwright list`"
    target = thing.base if of is Kind else thing.target
    fits = _TARGET.fullmatch(target) or (of is Kind and not target)  # a kind without a base takes whatever it is given
    return "" if fits else f"a target is 'module:attribute', given {target!r}"
