"""`labwright find-batch-size`: the largest batch that fits, and from which size on samples get no faster."""

from __future__ import annotations

from typing import Annotated

import typer
from labwright.cli.shared import Json, Overrides, RecipeName, echo, print_json, print_table, say

from labwright_instruments.verbs.summary import amount


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    most: Annotated[int, typer.Option(min=1, help="The largest size that is tried.")] = 4096,
    as_json: Json = False,
) -> None:
    """Take steps with batches of 1, 2, 4 samples and so on: which fit into memory, and what a sample costs in each.

    A step is forward, backward and the optimizer's update, on one batch again and again: reading data isn't measured.
    With device.accumulate sizes begin there. On the CPU a size that would need more memory than is free isn't tried.
    Another batch size is another training: the learning rate may have to change with it.

    Example: labwright find-batch-size vision/digits --most 512
    """
    experiment = ctx.obj.experiment(recipe, overrides)
    from labwright_instruments.batch_sizes import batch_sizes

    found = batch_sizes(experiment, most, say)
    fast, largest = found.fast, found.tried[-1]
    if as_json:
        sizes = [vars(one) | {"sample_seconds": one.sample_seconds} for one in found.tried]
        print_json({"largest": largest.size, "fast": fast.size, "ended": found.ended, "sizes": sizes})
        return
    fewest = min(one.sample_seconds for one in found.tried)
    rows = [
        (
            f"{one.size:,}",
            _time(one.step_seconds),
            _time(one.sample_seconds),
            f"{one.sample_seconds / fewest:.2f}",
            amount(one.peak_bytes),
        )
        for one in found.tried
    ]
    print_table([("batch size", "a step", "a sample", "times the fastest", "memory"), *rows])
    echo(f"largest that fits: {largest.size:,}; no larger one: {found.ended}")
    echo(f"as fast as any, within 5 %: {fast.size:,}")
    say(f"next: labwright run {recipe} {' '.join([*(overrides or ()), f'train.batch_size={fast.size}'])}")


def _time(seconds: float) -> str:
    unit, name = (1.0, "s") if seconds >= 1 else (1e-3, "ms") if seconds >= 1e-3 else (1e-6, "µs")
    return f"{seconds / unit:.3g} {name}"
