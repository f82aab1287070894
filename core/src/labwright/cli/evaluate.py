"""`labwright evaluate`: metrics of a run's model over a split of its data."""

from __future__ import annotations

from typing import Annotated

import typer

from labwright.base import ranks
from labwright.cli.shared import Json, OtherData, Overrides, RunFolder, print_json, print_metrics, say


def verb(
    ctx: typer.Context,
    run: RunFolder,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    checkpoint: Annotated[str, typer.Option(help="final (what the run ended with), last or best.")] = "final",
    other_data: OtherData = False,
    as_json: Json = False,
) -> None:
    """Evaluate a run's model on a split of its data, with the run's settings or some of them changed.

    Example: labwright evaluate runs/vision-digits-001 --split valid
    """
    from labwright.runs.load import evaluated

    ranks.join()
    evaluation = evaluated(run, ctx.obj.plugins, split, checkpoint, overrides or (), other_data=other_data)
    say(*(f"note: {note}" for note in evaluation.notes))
    if as_json:
        print_json(evaluation.json())
    else:
        print_metrics({split: evaluation.metrics}, {split: evaluation.samples})
