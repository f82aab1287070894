"""`labwright check`: everything that the kit tries, or its quick checks, without pytest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from labwright import LabwrightError
from labwright.cli.shared import Json, echo, print_json, say

if TYPE_CHECKING:
    from labwright_testing.kit import Finding


def verb(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A plugin or its distribution; all of them, with --quick.")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="What can be told without data and training.")] = False,
    as_json: Json = False,
) -> None:
    """Try everything that a plugin brings: in recipes, with data and training; exit 1 if something is found.

    It takes minutes. What a component is tried in is the first installed recipe that it fits into; where that won't do,
    a test says which: `conformance` of labwright_testing.

    `--quick` takes seconds: it loads every target and looks at settings, defaults, search marks and documentation.

    Examples: labwright check vision · labwright check --quick
    """
    if not name and not quick:
        raise LabwrightError("`labwright check` takes the name of a plugin; `labwright check --quick` looks at all.")
    from labwright_testing.checks import CHECKS
    from labwright_testing.kit import Kit, findings
    from labwright_testing.quick_checks import QUICK_CHECKS

    subjects = Kit(ctx.obj.plugins).subjects(name)
    say(f"{len(subjects)} things to try")
    _print(findings(subjects, QUICK_CHECKS if quick else CHECKS.values()), as_json)
    say(*sorted(f"{subject.label}: {note}" for subject in subjects for note in subject.notes))


def _print(findings: Iterable[Finding], as_json: bool) -> None:
    """What was found, each fault once with all it was found in. Raises typer.Exit with code 1 if there is one."""
    labels: dict[tuple[str, str, str], list[str]] = {}  # by check, fault and how to mend it
    count = 0
    for finding in findings:
        count += 1
        if finding.found:
            labels.setdefault((finding.check.name, finding.found, finding.check.mend), []).append(finding.label)
    if as_json:
        faults = [
            {"components": components, "check": check, "found": fault, "mend": mend}
            for (check, fault, mend), components in labels.items()
        ]
        print_json({"checks": count, "found": faults})
    else:
        for (check, fault, mend), components in labels.items():
            echo(f"{', '.join(components)}: {fault}\n  {check}: {mend.splitlines()[0]}")
        echo(f"{count} checks: {len(labels) or 'nothing'} found")
    if labels:
        raise typer.Exit(1)
