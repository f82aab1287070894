"""Checks of every component, whatever its kind, and of recipes; none of them trains or reads data."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import tomli_w
from labwright import Choice, Experiment, Integers, LabwrightError
from labwright.base.search import Mark
from labwright.config.signature import MISSING, Setting

from labwright_testing.kit import NotApplicable, Subject, check

DRAWS = 5


@check(fast=True)
def is_declared_without_torch(subject: Subject) -> None:
    """The plugin's module imports nothing heavy, so that `labwright list` is quick: no torch, no library of its field.

    Import them in the modules that targets name, not in the plugin's module or its package's `__init__`.
    """
    module = subject.owner.target.partition(":")[0] or getattr(subject.owner.module, "__name__", "")
    if not module:
        raise NotApplicable("its plugin was given from Python")
    assert not _imports_torch(module), f"importing {module} imports torch"


@check(fast=True)
def has_its_domain_and_a_summary(subject: Subject) -> None:
    """A name is `domain/name`, so that two plugins seldom clash; a summary is one line of 80 characters at most."""
    name, summary = subject.component.name, subject.component.summary
    assert "/" in name or subject.owner.distribution in ("labwright", "labwright-tasks"), f"{name!r} has no domain"
    assert summary.strip(), "its summary is empty"
    assert "\n" not in summary and len(summary) <= 80, f"its summary is long: {summary!r}"


@check(fast=True)
def can_be_loaded(subject: Subject) -> None:
    """The target names a class or a function that can be imported; a family's is a mapping that isn't empty."""
    try:
        assert subject.target is not None
    except (LabwrightError, StopIteration) as error:
        raise AssertionError(str(error) or "the family is empty") from error


@check(fast=True)
def is_documented(subject: Subject) -> None:
    """The class or function has a docstring of its own: what it is, its source (paper, section), shapes and units."""
    assert (subject.target.__doc__ or "").strip(), f"{subject.target.__name__} has no docstring"


@check(fast=True)
def has_settings_that_can_be_checked(subject: Subject) -> None:
    """Every parameter has an annotation that can be resolved, a type that a recipe can hold, and a valid default.

    Import what annotations name at the top of the module, not under TYPE_CHECKING. docs/reference/settings.md has the
    rules.
    """
    try:
        assert subject.signature.settings is not None
    except LabwrightError as error:
        raise AssertionError(str(error)) from error


@check(fast=True)
def has_settings_that_survive_toml_and_json(subject: Subject) -> None:
    """A default written to TOML or JSON and read again is the same value: that is how a run folder keeps it."""
    for name, setting in _with_defaults(subject):
        written = setting.written(setting.default)
        for text, read in (
            (tomli_w.dumps({"value": written}), lambda text: tomllib.loads(text)["value"]),
            (json.dumps(written), json.loads),
        ):
            again = setting.validated(read(text))
            assert setting.written(again) == written, f"{name}: {written!r} is read again as {again!r}"


@check(fast=True)
def is_searched_among_valid_values(subject: Subject) -> None:
    """The ends of each search mark, and all options of a Choice, are valid values of the setting."""
    for name, setting in subject.signature.settings.items():
        for value in _ends(setting.mark):
            try:
                setting.validated(value)
            except (ValueError, TypeError) as error:
                raise AssertionError(f"{name} is searched at {value!r}, which isn't valid: {error}") from error


@check("recipe", fast=True)
def can_be_read(subject: Subject) -> None:
    """The file is there, and what stands in it goes together: names, settings, ports. Its data isn't looked at."""
    try:
        Experiment.from_recipe(subject.component.name, plugins=subject.plugins)
    except LabwrightError as error:
        raise AssertionError(str(error)) from error


@check("model", "loss", "optimizer", "device", "task", "data")
def can_be_built_with_sampled_settings(subject: Subject) -> None:
    """Any point of the declared search space builds: settings drawn together go together."""
    marks = {name: one.mark for name, one in subject.signature.settings.items() if one.mark is not None}
    chance = random.Random(0)  # noqa: S311 - no secret
    prefix = "task.data" if subject.kind == "data" else subject.kind
    reads = subject.kind in ("model", "loss", "optimizer")
    assert subject.candidates, "no recipe has a place for it"
    base = subject.experiment if reads else subject.candidates[0]
    for _ in range(DRAWS if marks else 1):
        drawn = {name: _drawn(mark, chance) for name, mark in marks.items()}
        try:
            experiment = base.varied({f"{prefix}.{name}": value for name, value in drawn.items()})
            experiment.build(task=subject.task) if reads else experiment.task.build()
        except Exception as error:
            raise AssertionError(f"with {drawn} it can't be built: {type(error).__name__}: {error}") from error


@cache
def _imports_torch(module: str) -> bool:
    program = f"import sys, {module}; print('torch' in sys.modules)"
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | paths)
    assert ran.returncode == 0, f"importing {module} alone fails: {ran.stderr.strip().splitlines()[-1]}"
    return ran.stdout.strip() == "True"


def _with_defaults(subject: Subject) -> Iterator[tuple[str, Setting]]:
    for name, setting in subject.signature.settings.items():
        if setting.default is not MISSING and setting.default is not None and setting.part is None:
            yield name, setting


def _ends(mark: Mark | None) -> tuple[Any, ...]:
    if mark is None:
        return ()
    return mark.options if isinstance(mark, Choice) else (mark.low, mark.high)


def _drawn(mark: Mark, chance: random.Random) -> Any:
    if isinstance(mark, Choice):
        return chance.choice(mark.options)
    if isinstance(mark, Integers):
        return chance.randrange(mark.low, mark.high + 1, mark.step)
    return chance.uniform(mark.low, mark.high)
