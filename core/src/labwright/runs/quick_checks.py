"""What can be told of a plugin in seconds: the checks that need neither training nor data.

`labwright plugins check` runs them. The conformance kit builds on them: it adds the checks that train, as the verb
`labwright check` and as tests of pytest.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import tomli_w
from typer.models import OptionInfo

from labwright.base.errors import LabwrightError, listed, words
from labwright.base.search import Choice
from labwright.config.signature import Signature, signature
from labwright.plugin.discovery import Declared, kind_of
from labwright.plugin.hookspecs import Component, Kind, Verb
from labwright.plugin.registry import Plugins
from labwright.runs.experiment import Experiment

HEAVY = ("torchvision", "timm", "transformers", "torchmetrics", "optuna")  # what a verb's `--help` must not wait for


class NotApplicable(Exception):
    """A check has nothing to look at in this component; the reason is shown.

    Example: `raise lw.NotApplicable("it has no settings")`
    """


class Subject:
    """One thing that a plugin declares, under test: `Subject(plugins, plugin.components[0])`.

    `label` is `KIND NAME`, where the kind may be recipe, verb or kind; `owner` the plugin that declares it.

    Example: `lw.Subject(plugins, plugins.loaded[0].components[0])`
    """

    def __init__(self, plugins: Plugins, declared: Declared) -> None:
        self.plugins, self.declared = plugins, declared
        self.kind = kind_of(declared)
        self.label = f"{self.kind} {declared.name}"
        self.owner = plugins.owners(self.kind, declared.name)[0][0]
        self.notes: list[str] = []  # what checks have to say that is no failure

    @cached_property
    def name(self) -> str:
        """Its name, or that of a family's first member. Raises LabwrightError if the family can't be loaded."""
        if not isinstance(self.declared, Component) or not self.declared.name.endswith("/*"):
            return self.declared.name
        first: str = next(iter(self.plugins.target(self.declared)))
        return self.declared.name[:-1] + first

    @cached_property
    def target(self) -> Any:
        """The class or function behind it. Raises LabwrightError if it can't be loaded."""
        if isinstance(self.declared, Component):
            return self.plugins.load(self.kind, self.name)
        if isinstance(self.declared, Kind):
            return self.plugins.base(self.declared.name)
        assert isinstance(self.declared, Verb), "a recipe has no target"
        return self.plugins.target(self.declared)

    @cached_property
    def signature(self) -> Signature:
        """Its settings. Raises LabwrightError naming a parameter that can't be one."""
        return signature(self.target)


@dataclass(frozen=True)
class Check:
    """A function of a Subject that raises AssertionError, and the kinds it is for; `component` is every component's.

    The function's docstring says what must hold and how to mend it.

    Example: `lw.Check(has_a_licence, ("data",))`
    """

    function: Callable[[Any], None]
    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.function.__name__.replace("_", "-")

    @property
    def mend(self) -> str:
        return inspect.getdoc(self.function) or ""

    def applies(self, subject: Subject) -> bool:
        return subject.kind in self.kinds or ("component" in self.kinds and isinstance(subject.declared, Component))


@dataclass(frozen=True)
class Finding:
    """What came of a check of one thing; `found` is empty if nothing was wrong.

    Example: `print(*(one.found for one in lw.quick_findings(lw.Plugins.discover(), "proteins")))`
    """

    check: Check
    label: str
    found: str


def findings(subjects: Iterable[Subject], checks: Iterable[Check]) -> Iterator[Finding]:
    """Try every check on every thing it is for; a check that has nothing to look at is passed over.

    Example: `list(lw.findings([subject], lw.QUICK_CHECKS))`
    """
    checks = list(checks)
    for subject in subjects:
        for check in checks:
            if not check.applies(subject):
                continue
            found = ""
            try:
                check.function(subject)
            except NotApplicable:
                continue
            except (AssertionError, LabwrightError) as error:
                found = str(error)
            except Exception as error:  # noqa: BLE001 - of somebody's component; it is what the check found
                found = words(error)
            yield Finding(check, subject.label, found)


def quick_findings(plugins: Plugins, name: str = "") -> Iterator[Finding]:
    """The quick checks of all that a plugin brings, of every plugin if none is named. Raises LabwrightError.

    Example: `list(lw.quick_findings(lw.Plugins.discover(), "proteins"))`
    """
    owners = plugins.called(name) if name else plugins.loaded
    return findings([Subject(plugins, declared) for owner in owners for declared in owner.brings], QUICK_CHECKS)


# ------------------------------------------------------------------------------------------------------- what is tried


def is_declared_without_torch(subject: Subject) -> None:
    """The plugin's module imports nothing heavy, so that `labwright list` is quick: no torch, no library of its field.

    Import them in the modules that targets name, not in the plugin's module or its package's `__init__`.
    """
    module = subject.owner.target.partition(":")[0] or getattr(subject.owner.module, "__name__", "")
    if not module:
        raise NotApplicable("its plugin was given from Python")
    heavy = _imported_by(module)
    assert not heavy, f"importing {module} imports {listed(heavy)}"


def has_its_domain_and_a_summary(subject: Subject) -> None:
    """A component is called `domain/name`, so that two plugins seldom clash; a summary is one line of 80 characters."""
    declared = subject.declared
    assert not isinstance(declared, Kind)
    theirs = {"recipe", "verb", *(kind.name for kind in subject.owner.kinds)}  # whoever adds a kind may name its first
    bare = subject.kind in theirs or subject.owner.distribution == "labwright-tasks"
    assert bare or "/" in declared.name, f"{declared.name!r} has no domain"
    assert declared.summary.strip(), "its summary is empty"
    fits = "\n" not in declared.summary and len(declared.summary) <= 80
    assert fits, f"its summary is long: {declared.summary!r}"


def can_be_loaded(subject: Subject) -> None:
    """The target names a class or a function that can be imported; a family's is a mapping that isn't empty."""
    try:
        assert subject.target is not None
    except (LabwrightError, StopIteration) as error:
        raise AssertionError(str(error) or "the family is empty") from error


def is_documented(subject: Subject) -> None:
    """The class or function has a docstring of its own: what it is, its source (paper, section), shapes and units."""
    assert (subject.target.__doc__ or "").strip(), f"{subject.target.__name__} has no docstring"


def has_settings_that_can_be_checked(subject: Subject) -> None:
    """Every parameter has an annotation that can be resolved, a type that a recipe can hold, and a valid default.

    Import what annotations name at the top of the module, not under TYPE_CHECKING. docs/reference/settings.md has the
    rules.
    """
    assert subject.signature.settings is not None


def has_settings_that_survive_toml_and_json(subject: Subject) -> None:
    """A default written to TOML or JSON and read again is the same value: that is how a run folder keeps it."""
    for name, setting in subject.signature.settings.items():
        if setting.required or setting.default is None or setting.part:
            continue
        written = setting.written(setting.default)
        for read in (tomllib.loads(tomli_w.dumps({"value": written}))["value"], json.loads(json.dumps(written))):
            again = setting.validated(read)
            assert setting.written(again) == written, f"{name}: {written!r} is read again as {again!r}"


def is_searched_among_valid_values(subject: Subject) -> None:
    """The ends of each search mark, and all options of a Choice, are valid values of the setting."""
    for name, setting in subject.signature.settings.items():
        mark = setting.mark
        for value in mark.options if isinstance(mark, Choice) else (mark.low, mark.high) if mark else ():
            try:
                setting.validated(value)
            except (ValueError, TypeError) as error:
                raise AssertionError(f"{name} is searched at {value!r}, which isn't valid: {error}") from error


def can_be_read(subject: Subject) -> None:
    """The file is there, and what stands in it goes together: names, settings, ports. Its data isn't looked at."""
    Experiment.from_recipe(subject.declared.name, plugins=subject.plugins)


def shows_its_help_at_once(subject: Subject) -> None:
    """A verb's module imports no library that takes seconds: `labwright VERB --help` would wait for it.

    Import them, and torch, in the function, where they are used.
    """
    assert isinstance(subject.declared, Verb)
    heavy = _imported_by(subject.declared.target.partition(":")[0]) & set(HEAVY)
    assert not heavy, f"its module imports {listed(heavy)}"


def says_how_it_is_called(subject: Subject) -> None:
    """A verb's docstring ends with a paragraph `Example: labwright VERB ...`, which its help shows."""
    _, _, example = (inspect.getdoc(subject.target) or "").rpartition("\n\nExample")
    assert f"labwright {subject.name}" in example, f"its last paragraph isn't `Example: labwright {subject.name} ...`"


def gives_its_results_as_json(subject: Subject) -> None:
    """A verb takes `as_json: labwright.cli.shared.Json = False`, and then prints its results with `print_json`."""
    hints = inspect.get_annotations(subject.target, eval_str=True).values()
    marks = [mark for hint in hints for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, OptionInfo)]
    names = {name for mark in marks for name in (mark.default, *(mark.param_decls or ()))}  # Typer's first is `default`
    assert "--json" in names, "it has no option --json"


@cache
def _imported_by(module: str) -> frozenset[str]:
    """Which of torch and HEAVY the import of a module brings along, in a process of its own."""
    names = ("torch", *HEAVY)
    program = f"import json, sys, {module}; print(json.dumps([one for one in {names} if one in sys.modules]))"
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | paths, check=False
    )
    assert ran.returncode == 0, f"importing {module} alone fails: {ran.stderr.strip().splitlines()[-1]}"
    return frozenset(json.loads(ran.stdout.splitlines()[-1]))


QUICK_CHECKS = (
    Check(is_declared_without_torch, ("component", "recipe", "verb", "kind")),
    Check(has_its_domain_and_a_summary, ("component", "recipe", "verb")),
    Check(can_be_loaded, ("component", "verb", "kind")),
    Check(is_documented, ("component", "verb")),
    Check(has_settings_that_can_be_checked, ("component",)),
    Check(has_settings_that_survive_toml_and_json, ("component",)),
    Check(is_searched_among_valid_values, ("component",)),
    Check(can_be_read, ("recipe",)),
    Check(shows_its_help_at_once, ("verb",)),
    Check(says_how_it_is_called, ("verb",)),
    Check(gives_its_results_as_json, ("verb",)),
)
"""What `labwright plugins check` tries.

Example: `list(lw.findings([subject], lw.QUICK_CHECKS))`
"""
