"""`labwright check`: everything that the kit tries, without pytest."""

from __future__ import annotations

from typing import Annotated

import typer
from labwright.cli.shared import Json, print_findings, say


def verb(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A plugin or its distribution, such as vision.")],
    as_json: Json = False,
) -> None:
    """Try everything that a plugin brings: in recipes, with data and training; exit 1 if something is found.

    It takes minutes. What a component is tried in is the first installed recipe that it fits into; where that won't do,
    a test says which: `conformance` of labwright_testing. `labwright plugins check` is the part that takes seconds.

    Example: labwright check vision
    """
    from labwright import findings

    from labwright_testing.checks import CHECKS
    from labwright_testing.kit import Kit

    subjects = Kit(ctx.obj.plugins).subjects(name)
    say(f"{len(subjects)} things to try")
    print_findings(findings(subjects, CHECKS.values()), as_json)
    say(*sorted(f"{subject.label}: {note}" for subject in subjects for note in subject.notes))
