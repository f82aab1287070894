"""`labwright resume`: go on with a run that was interrupted, or make it longer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from labwright.cli.shared import Json, OtherData, Overrides, Processes, RunFolder, join_or_start, print_outcome, say
from labwright.plugin.registry import Plugins


def verb(
    ctx: typer.Context,
    run: RunFolder,
    overrides: Overrides = None,
    other_data: OtherData = False,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Go on with a run exactly where its newest whole checkpoint left it; settings may be changed, parts may not.

    Example: labwright resume runs/vision-digits-001 train.epochs=40
    """
    join_or_start(processes)
    go_on(run, ctx.obj.plugins, as_json, overrides or (), other_data=other_data)


def go_on(
    run: Path, plugins: Plugins, as_json: bool, overrides: Sequence[str] = (), *, other_data: bool = False
) -> None:
    """Resume a run to its end, and print how it ended."""
    from labwright.runs.resume import has_ended, resume

    trainer, notes = resume(run, plugins, overrides, other_data=other_data)
    say(*(f"note: {note}" for note in notes))
    if has_ended(run, trainer):
        say(f"{run} has done all its {trainer.intervals.total} steps. Longer: labwright resume {run} train.epochs=N")
        return
    print_outcome(trainer.fit(), as_json, notes)
