"""`labwright verify-resume`: prove that a recipe resumes bit for bit."""

from __future__ import annotations

from typing import Annotated

import typer
from labwright.cli.shared import Json, Overrides, Processes, RecipeName, echo, join_or_start, print_json


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=2, help="How many steps in all; the stop is in the middle.")] = 20,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Run 2n steps; run n, stop and resume n; compare every loss and every tensor. Exit 1 if they differ in a bit.

    Example: labwright verify-resume vision/digits --steps 40
    """
    from labwright_testing.verify_resume import verify_resume

    join_or_start(processes)
    experiment = ctx.obj.experiment(recipe, overrides)
    verdict = verify_resume(experiment, steps // 2)
    if as_json:
        print_json(verdict.json())
    elif verdict.exact:
        echo(
            f"exact: {verdict.steps} steps, stopped after {verdict.stopped_at} and resumed; every loss and all "
            f"{verdict.tensors_compared} tensors are equal bit for bit."
        )
    else:
        echo(
            f"not exact: losses differ from step {verdict.first_difference} on, {len(verdict.tensors_that_differ)} of "
            f"{verdict.tensors_compared} tensors by up to {verdict.largest_difference:.3g}. Something in the task or "
            "the model keeps state that is no parameter or buffer, or draws random numbers that are not torch's."
        )
    if not verdict.exact:
        raise typer.Exit(1)
