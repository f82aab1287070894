"""What can be told of a plugin in seconds: the checks that need neither training nor data."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import tomli_w
from labwright import Choice, Experiment, Kind, LabwrightError, Plugins, Setting, Verb, listed
from typer.models import OptionInfo

from labwright_testing.kit import Check, Finding, Kit, NotApplicable, Subject, findings

HEAVY = ("torchvision", "timm", "transformers", "torchmetrics", "optuna")  # what a verb's `--help` must not wait for


def quick_findings(plugins: Plugins, name: str = "") -> Iterator[Finding]:
    """The quick checks of all that a plugin brings, of every plugin if none is named. Raises LabwrightError.

    Example: `list(quick_findings(lw.Plugins.discover(), "proteins"))`
    """
    return findings(Kit(plugins).subjects(name), QUICK_CHECKS)


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
    # whoever adds a kind may name its first
    nameable = {"recipe", "verb", *(kind.name for kind in subject.owner.kinds)}
    may_be_bare = subject.kind in nameable or subject.owner.distribution in ("labwright-tasks", "labwright-instruments")
    assert may_be_bare or "/" in declared.name, f"{declared.name!r} has no domain"
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

    Import what annotations name at the top of the module, not under TYPE_CHECKING. A `When` beside a setting names
    another one, and values that this can have. docs/reference/settings.md has the rules.
    """
    for name, setting in subject.settings.items():
        for when in setting.conditions:
            other = subject.settings.get(when.setting)
            assert other, f"{name} counts where {when}, and there is no such setting"
            fits = [_takes(other, value) for value in (*when.values, *when.but)]
            assert all(fits) if when.values else any(fits), f"{name} counts where {when}, which it can't be"
            bare = setting.default is None or not setting.part
            assert not setting.required and bare, f"{name} counts under a condition, so it needs a default of its own"


def _takes(setting: Setting, value: Any) -> bool:
    if setting.part:
        return isinstance(value, str)
    try:
        setting.validated(value)
    except (ValueError, TypeError):
        return value is None and setting.default is None
    return True


def says_what_each_setting_is(subject: Subject) -> None:
    """Each setting has a description: under `Args:` of the class's docstring, or by `Field(description=...)`.

    It stands in `labwright show`, in editors, in the docs and in messages. A library's own classes may go without.
    """
    if subject.name.endswith("/*"):
        raise NotApplicable("a family's members are a library's")
    bare = [name for name, setting in subject.settings.items() if not setting.description]
    assert not bare, f"nothing is said of {listed(bare, 40)}"


def has_settings_that_survive_toml_and_json(subject: Subject) -> None:
    """A default written to TOML or JSON and read again is the same value: that is how a run folder keeps it."""
    for name, setting in subject.settings.items():
        if setting.required or setting.default is None or setting.part:
            continue
        written = setting.written(setting.default)
        for read in (tomllib.loads(tomli_w.dumps({"value": written}))["value"], json.loads(json.dumps(written))):
            again = setting.validated(read)
            assert setting.written(again) == written, f"{name}: {written!r} is read again as {again!r}"


def is_searched_among_valid_values(subject: Subject) -> None:
    """The ends of each search mark, and all options of a Choice, are valid values of the setting."""
    for name, setting in subject.settings.items():
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
    program = f"import json, sys, {module}; print(json.dumps([name for name in {names} if name in sys.modules]))"
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
    Check(says_what_each_setting_is, ("component",)),
    Check(has_settings_that_survive_toml_and_json, ("component",)),
    Check(is_searched_among_valid_values, ("component",)),
    Check(can_be_read, ("recipe",)),
    Check(shows_its_help_at_once, ("verb",)),
    Check(says_how_it_is_called, ("verb",)),
    Check(gives_its_results_as_json, ("verb",)),
)
"""What `labwright check --quick` tries.

Example: `list(findings(Kit(lw.Plugins.discover()).subjects("proteins"), QUICK_CHECKS))`
"""
