"""`labwright find-lr`: at which learning rates a recipe's loss falls, and from which on it diverges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from labwright import LabwrightError
from labwright.cli.shared import Json, Overrides, RecipeName, echo, print_json, print_table, say

if TYPE_CHECKING:
    from labwright_instruments.lr_range import Range

_ROWS = 12  # of numbers that are shown; --json has all


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    low: Annotated[float, typer.Option("--from", help="The first learning rate.")] = 1e-7,
    high: Annotated[float, typer.Option("--to", help="The last one, unless the loss diverges before.")] = 10.0,
    steps: Annotated[int, typer.Option(min=10, help="How many rates are tried, an update each.")] = 100,
    phase: Annotated[str | None, typer.Option(help="Whose rate is tried, where a task has several phases.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The picture: .svg, .png or .pdf; by default find-lr-NAME-001.svg."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a few steps with a learning rate that grows, and draw the loss over it: the range test.

    The rate grows by the same factor from step to step, the loss is smoothed, and the test ends where it is four times
    its lowest (Smith 2017, section 3.3, as fastai does it). What is suggested is where the loss falls fastest. It is a
    hint: one seed, no schedule, and the first steps of a run. No run folder is made or touched.

    Examples: labwright find-lr vision/digits · labwright find-lr gan/digits --phase critic --out critic.png
    """
    if not 0 < low < high:
        raise LabwrightError(f"--from {low:g} --to {high:g}: rates grow, from one above 0 to a larger one.")
    experiment = ctx.obj.experiment(recipe, overrides)
    from labwright_instruments.lr_range import draw, lr_range, phase_of
    from labwright_instruments.output_files import output_file
    from labwright_instruments.workbench import lengthened, workbench

    name, every = phase_of(experiment, phase)
    file = output_file(out, f"find-lr-{experiment.name}", (".svg", ".png", ".pdf"))
    with workbench(lengthened(experiment, steps * every)) as trainer:
        found = lr_range(trainer, name, low, high, steps)
    draw(found, experiment.name if phase is None else f"{experiment.name}, {name}", file)
    field = "optimizer.lr" if len(experiment.optimizers) == 1 else f"optimizer.{name}.lr"
    if as_json:
        rows = zip(found.lrs, found.losses, found.smoothed, strict=True)
        table = [{"lr": lr, "loss": loss, "smoothed": smooth} for lr, loss, smooth in rows]
        marks = {"steepest": found.steepest, "lowest": found.lowest, "diverged": found.diverged}
        print_json({"phase": name, "setting": field, **marks, "picture": str(file), "rates": table})
        return
    _tell(found, field, steps)
    say(f"picture: {file}")
    if found.steepest is not None:
        say(f"next: labwright run {recipe} {' '.join([*(overrides or ()), f'{field}={found.steepest:.2g}'])}")


def _tell(found: Range, field: str, steps: int) -> None:
    count = len(found.lrs)
    shown = sorted({round(place * (count - 1) / (_ROWS - 1)) for place in range(_ROWS)})
    numbers = [(found.lrs[at], found.losses[at], found.smoothed[at]) for at in shown]
    rows = [(f"{lr:.2e}", f"{loss:.4g}", f"{smooth:.4g}") for lr, loss, smooth in numbers]
    print_table([("lr", "loss", "smoothed"), *rows])
    if found.diverged:
        echo(f"the loss diverged at {found.lrs[-1]:.2g}, after {count} of {steps} updates")
    if found.steepest is None:
        echo("the smoothed loss falls at none of these rates: try others, with --from, --to or more --steps")
        return
    echo(f"the smoothed loss falls fastest at {found.steepest:.2g} and is lowest at {found.lowest:.2g}")
    echo(f"a hint, of one seed and the first steps: {field}={found.steepest:.2g}")
