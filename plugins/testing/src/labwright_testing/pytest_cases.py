"""A pytest test of all that a plugin brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from labwright import LabwrightError, Plugins, nearest

from labwright_testing.checks import CHECKS
from labwright_testing.kit import Check, Inputs, Kit, NotApplicable, Recipes, Subject


def conformance(
    distribution: str,
    *,
    exempt: Mapping[str, str] | None = None,
    recipes: Recipes | None = None,
    inputs: Inputs | None = None,
) -> Callable[..., None]:
    """A pytest test of everything a distribution brings.

    Args:
        distribution: its name, or that of its plugin.
        exempt: `KIND NAME: CHECK` to the reason why the check can't hold; it is run all the same, and the test fails if
            it holds after all.
        recipes: `KIND NAME` to what it is tried in: a recipe's name, a list of that and settings,
            `["proteins/folds", "task.data.folder=small"]`, or an Experiment.
        inputs: `KIND NAME` of tasks and data to lines as `labwright predict` takes them, texts or names of files.

    Raises LabwrightError for an exemption of something that isn't there, or without a reason.

    Example: `test_conformance = conformance("labwright-proteins")`
    """
    kit = Kit(Plugins.discover(), recipes or {}, inputs or {})
    try:
        subjects = kit.subjects(distribution)
    except LabwrightError as error:
        pytest.fail(str(error), pytrace=False)
    applied = [(subject, check) for subject in subjects for check in CHECKS.values() if check.applies(subject)]
    cases = {f"{subject.label}: {check.name}": (subject, check) for subject, check in applied}
    exemptions = dict(exempt or {})
    for key, reason in exemptions.items():
        if key not in cases:
            raise LabwrightError(f"exempt: there is no check {key!r}{nearest(key, cases)}")
        if not reason.strip():
            raise LabwrightError(f"exempt: {key!r} needs a reason.")
    labels = {subject.label for subject in subjects}
    for what, given in (("recipes", recipes), ("inputs", inputs)):
        for key in given or {}:
            if key not in labels:
                raise LabwrightError(f"{what}: {distribution} brings no {key!r}{nearest(key, labels)}")

    def marks(key: str) -> Any:
        return pytest.mark.xfail(reason=exemptions[key], strict=True) if key in exemptions else ()

    parameters = [pytest.param(*case, id=key, marks=marks(key)) for key, case in cases.items()]

    @pytest.mark.parametrize(("subject", "each"), parameters)
    def test(subject: Subject, each: Check, record_property: Callable[[str, object], None]) -> None:
        run(subject, each)
        for note in subject.notes:
            record_property("labwright", f"{subject.label}: {note}")
        subject.notes.clear()

    test.__doc__ = f"What must hold of everything that {distribution} brings."
    return test


def run(subject: Subject, each: Check) -> None:
    """Run a check as a test; what it says is followed by what must hold."""
    try:
        each.function(subject)
    except NotApplicable as reason:
        pytest.skip(str(reason))
    except (AssertionError, LabwrightError) as error:
        raise AssertionError(f"{subject.label}: {error}\n\n{each.name}: {each.mend}") from error
