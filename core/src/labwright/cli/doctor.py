"""`labwright doctor`: does what is installed fit together, and can a run work here?"""

from __future__ import annotations

from dataclasses import asdict

import typer

from labwright.cli.shared import Json, echo, print_json, print_table


def verb(ctx: typer.Context, as_json: Json = False) -> None:
    """Check versions that must fit together, the GPU, the compiler, write access and plugins; exit 1 if one fails.

    Example: labwright doctor --json
    """
    from labwright.plugin.doctor import checks

    found = checks(ctx.obj.plugins)
    if as_json:
        print_json([asdict(check) for check in found])
    else:
        marks = {True: "ok", False: "FAIL", None: "note"}
        print_table([(marks[check.ok], check.name, check.found) for check in found])
        for check in found:
            if check.ok is not True and check.advice:
                echo(f"{check.name}: {check.advice}")
    if any(check.ok is False for check in found):
        raise typer.Exit(1)
