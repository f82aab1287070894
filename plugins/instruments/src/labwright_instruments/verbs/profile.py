"""`labwright profile`: which operations of a step take how long, and whether it waits for its data."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from labwright.cli.shared import Json, Overrides, RecipeName, echo, print_json, print_table, say

if TYPE_CHECKING:
    from labwright_instruments.slowest import Profile

_SHOWN = 10
_MUCH = 0.2  # share of a step that is worth a word of advice


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="How many are timed, and then how many are profiled.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The trace: .json.gz or .json; by default profile-NAME-001.json.gz."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take some steps after a warm-up, and say what is slow: the ten slowest operations, and waiting for data.

    The trace has every operation with the layer it belongs to; https://ui.perfetto.dev and chrome://tracing show it.
    No run folder is made or touched.

    Example: labwright profile vision/digits --steps 10
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's library speaks of itself otherwise
    experiment = ctx.obj.experiment(recipe, overrides)
    from labwright_instruments.output_files import output_file
    from labwright_instruments.slowest import profiled
    from labwright_instruments.workbench import WARM_UP, lengthened, refuse_closed_form, workbench

    refuse_closed_form(experiment, "profile")
    trace = output_file(out, f"profile-{experiment.name}", (".json.gz", ".json"))
    with workbench(lengthened(experiment, WARM_UP + 2 * steps)) as trainer:
        device = str(trainer.device)
        found = profiled(trainer, steps, WARM_UP, trace)
    if as_json:
        print_json({"device": device, "trace": str(trace), **asdict(found)})
        return
    _tell(found, device)
    say(f"trace: {trace}; open it at https://ui.perfetto.dev")


def _tell(found: Profile, device: str) -> None:
    echo(f"a step on {device}: {1e3 * found.step_seconds:.3g} ms, {found.waiting:.0%} of it waiting for data")
    shown = found.operations[:_SHOWN]
    rows = [
        (f"{one.share:.1%}", one.words, f"{one.calls / found.steps:,.3g}", one.place, one.name.removeprefix("aten::"))
        for one in shown
    ]
    print_table([("share", "what", "times a step", "where", "operation"), *rows])
    rest = found.operations[_SHOWN:]
    if rest:
        echo(f"{sum(one.share for one in rest):.1%}  in {len(rest):,} others")
    if found.waiting > _MUCH:
        say(
            "data: device.workers fetch ahead where data isn't in memory; cheaper augmentation helps, too, and larger "
            "batches."
        )
