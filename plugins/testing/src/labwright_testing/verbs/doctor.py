"""`labwright doctor`: does what is installed fit together, and can a run work here?"""

from __future__ import annotations

from dataclasses import asdict

import typer
from labwright.cli.shared import Json, echo, print_json, print_table


def verb(ctx: typer.Context, as_json: Json = False) -> None:
    """Check versions that must fit together, the GPU, the compiler, write access and plugins; exit 1 if one fails.

    Example: labwright doctor --json
    """
    from labwright_testing.doctor import diagnoses

    diagnosed = diagnoses(ctx.obj.plugins)
    if as_json:
        print_json([asdict(diagnosis) for diagnosis in diagnosed])
    else:
        marks = {True: "ok", False: "FAIL", None: "note"}
        print_table([(marks[diagnosis.ok], diagnosis.name, diagnosis.found) for diagnosis in diagnosed])
        for diagnosis in diagnosed:
            if diagnosis.ok is not True and diagnosis.advice:
                echo(f"{diagnosis.name}: {diagnosis.advice}")
    if any(diagnosis.ok is False for diagnosis in diagnosed):
        raise typer.Exit(1)
