"""`labwright evaluate`: metrics of a run's model over a split of its data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from labwright.cli.shared import (
    Json,
    OtherData,
    Out,
    Overrides,
    Processes,
    RunFolder,
    claim_out,
    join_or_start,
    print_json,
    print_metrics,
    say,
)


def verb(
    ctx: typer.Context,
    run: RunFolder,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    checkpoint: Annotated[str, typer.Option(help="final (what the run ended with), last or best.")] = "final",
    other_data: OtherData = False,
    on: Annotated[Path | None, typer.Option(help="Other data, a file or folder, all of which is measured.")] = None,
    out: Out = None,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Evaluate a run's model on a split of its data, or --on other data, with some of the run's settings changed.

    Example: labwright evaluate runs/vision-image-folder-001 --on photos
    """
    from labwright.runs.load import evaluated

    join_or_start(processes)
    if out is not None:
        claim_out(out)
    evaluation = evaluated(run, ctx.obj.plugins, split, checkpoint, overrides or (), other_data=other_data, on=on)
    if out is not None and evaluation.of.outcome is not None:
        from labwright.report.run_report import write

        write(evaluation.of, evaluation.of.outcome, out)
    say(*(f"note: {note}" for note in evaluation.notes))
    if as_json:
        print_json(evaluation.json())
    else:
        print_metrics({evaluation.split: evaluation.metrics}, {evaluation.split: evaluation.samples})
