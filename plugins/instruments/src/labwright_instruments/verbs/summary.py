"""`labwright summary`: what a recipe trains, layer by layer, and what a step of it keeps in memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from labwright.cli.shared import Json, Overrides, echo, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from labwright import Experiment

    from labwright_instruments.layers import Layer
    from labwright_instruments.parts_of_memory import Parts

_PARTS = {
    "weights": "parameters and buffers of the model and the loss",
    "gradients": "one for each number that is trained",
    "optimizer": "its state, such as AdamW's two means",
    "averages": "averaged weights (train.ema)",
    "batch": "the samples themselves",
    "activations": "what the forward pass keeps for backward",
}


def verb(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe, a file that ends in .toml, or a run.")],
    overrides: Overrides = None,
    depth: Annotated[int, typer.Option(min=0, help="How many levels of layers are shown; their sums have all.")] = 3,
    as_json: Json = False,
) -> None:
    """Show the layers of a model with shapes, parameters and FLOPs, and what a step keeps in memory, by part.

    One batch of the data is read, and one step is taken. Nothing is kept of it. FLOPs are what PyTorch's counter knows:
    matrix products, convolutions and attention of the forward pass, a multiplication and its addition as two. Backward
    takes about twice as many again.

    Example: labwright summary vision/digits model.width=48
    """
    experiment = ctx.obj.experiment(_recipe(what), overrides)
    if experiment.closed_form:
        _closed_form(experiment, as_json)
        return
    from labwright_instruments.layers import COUNTED, passed
    from labwright_instruments.parts_of_memory import parts_of_memory
    from labwright_instruments.workbench import first_cut, workbench

    with workbench(experiment) as trainer:
        batches, shares = first_cut(trainer)
        through = passed(trainer, batches)
        parts = parts_of_memory(trainer, batches, shares)
        device, samples = str(trainer.device), sum(map(len, batches))
        model = type(trainer.model).__name__
    whole = through.layers[0]
    if as_json:
        told = {"device": device, "batch_samples": samples, "parameters": whole.parameters, "frozen": whole.frozen}
        layers = [asdict(layer) for layer in through.layers]
        print_json(told | {"flops": through.flops, "memory": parts.json(), "layers": layers, "notes": parts.notes})
        return
    echo(f"{experiment.name}: {model} on {device}, a batch of {samples:,}")
    _print_layers(through.layers, depth)
    frozen = f", {whole.frozen:,} of them frozen" if whole.frozen else ", all of them trained"
    echo(f"\nparameters: {whole.parameters:,}{frozen}")
    echo(f"FLOPs of the forward pass: {number(through.flops)} for the batch ({COUNTED})")
    if through.uncounted:
        say(f"note: no FLOPs are counted in {', '.join(through.uncounted)}: nothing there is an operation it knows.")
    _print_parts(parts)


def _recipe(what: str) -> str:
    """A recipe as it was given; a run's folder stands for the recipe in it."""
    kept = Path(what).expanduser() / "recipe.toml"
    return str(kept) if kept.is_file() else what


def _closed_form(experiment: Experiment, as_json: bool) -> None:
    from labwright import ClosedForm

    from labwright_instruments.parts_of_memory import size, weights_of

    built = experiment.build()
    assert isinstance(built.model, ClosedForm)
    held: dict[str, Any] = {"model": type(built.model).__name__, "weights_bytes": size(weights_of(built.model))}
    held |= built.model.cost()
    if as_json:
        print_json(held)
        return
    echo(f"{experiment.name}: {held.pop('model')}, computed in closed form: no layers, gradients or steps")
    print_table(
        [
            (key.removesuffix("_bytes").replace("_", " "), amount(value) if key.endswith("_bytes") else str(value))
            for key, value in held.items()
        ]
    )


def _print_layers(layers: Sequence[Layer], depth: int) -> None:
    rows = [("layer", "output", "parameters", "FLOPs")]
    left = 0
    for layer in layers:
        level = layer.name.count(".") + 1 if layer.name else 0
        if level > depth:
            left += 1
            continue
        own = layer.name.rpartition(".")[2]
        shown = f"{own} ({layer.kind})" if own else layer.kind
        frozen = " frozen" if layer.frozen == layer.parameters else f" ({layer.frozen:,} frozen)"
        count = f"{layer.parameters:,}{frozen if layer.frozen else ''}" if layer.parameters else "-"
        rows.append(("  " * level + shown, layer.output or "-", count, number(layer.flops) if layer.flops else "-"))
    print_table(rows)
    if left:
        echo(f"{left:,} deeper ones are in the sums; --depth {depth + 1} shows more")


def _print_parts(parts: Parts) -> None:
    rows = []
    for part, what in _PARTS.items():
        value = getattr(parts, part)
        if value or part == "activations":
            rows.append((part, "not known" if value is None else amount(value), what))
    rows.append(("together", amount(parts.together), "without what operations take while they run"))
    echo("\nmemory of a step")
    print_table(rows, indent="  ")
    say(*(f"note: {note}" for note in parts.notes))


def number(count: float) -> str:
    """A count with a prefix: 3.3 M, 1.25 G."""
    for prefix, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= unit:
            return f"{count / unit:.3g} {prefix}"
    return f"{count:.3g}"


def amount(count: int) -> str:
    """Bytes in decimal units: 104 kB, 1.2 GB."""
    return f"{number(count)}B" if count >= 1000 else f"{count} B"
