"""`labwright summary`: what a recipe trains, layer by layer, and what a step of it keeps in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from labwright import LabwrightError
from labwright.cli.shared import Json, Overrides, echo, print_json, print_table, say

if TYPE_CHECKING:
    from labwright import Experiment

    from labwright_instruments.layers import Passed
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
    costs: Annotated[
        bool, typer.Option("--cost", help="Time some steps, evaluations and a checkpoint: what a run would take.")
    ] = False,
    on: Annotated[
        str | None, typer.Option("--for", metavar="GPU", help='With --cost: what it may take there, as "A100 40GB".')
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the layers of a model with shapes, parameters and FLOPs, and what a step keeps in memory, by part.

    One batch of the data is read, and one step is taken. Nothing is kept of it. FLOPs are what PyTorch's counter knows:
    matrix products, convolutions and attention of the forward pass, a multiplication and its addition as two. Backward
    takes about twice as many again.

    `--cost` reckons the time of a whole run here, and its disk. `--for` is rougher by far: it goes by the peak that the
    GPU's maker publishes, of which trainings reach a tenth to a half.

    Examples: labwright summary vision/digits model.width=48 · labwright summary vision/digits --cost --for "A100 40GB"
    """
    if on is not None and not costs:
        raise LabwrightError("--for goes with --cost: it says where the run would take that long.")
    if on is not None:
        from labwright_instruments.peaks import named

        on = named(on)
    experiment = ctx.obj.experiment(_recipe(what), overrides)
    if experiment.closed_form:
        _closed_form(experiment, as_json)
        return
    from labwright_instruments.layers import passed
    from labwright_instruments.parts_of_memory import parts_of_memory
    from labwright_instruments.workbench import first_cut, workbench

    with workbench(experiment) as trainer:
        batches, shares = first_cut(trainer)
        through = passed(trainer, batches)
        parts = parts_of_memory(trainer, batches, shares)
        device, samples = str(trainer.device), sum(map(len, batches))
        notes = [*trainer.run.notes, *parts.notes]
        run_cost = _cost(trainer, through, on) if costs else {}
    if through.uncounted:
        names = ", ".join(through.uncounted)
        notes.append(f"no FLOPs are counted in {names}: nothing there is an operation whose FLOPs are known.")
    whole = through.layers[0]
    if as_json:
        told = {"device": device, "batch_samples": samples, "parameters": whole.parameters, "frozen": whole.frozen}
        told |= {"flops": through.flops, "memory": parts.json(), "layers": [asdict(one) for one in through.layers]}
        print_json(told | ({"cost": run_cost} if run_cost else {}) | {"notes": notes})
        return
    echo(f"{experiment.name}: {whole.kind} on {device}, a batch of {samples:,}")
    _print_layers(through, depth)
    print_parts(parts)
    if run_cost:
        _print_cost(run_cost, parts, on)
    say(*(f"note: {note}" for note in notes))


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


def _cost(trainer: Any, through: Passed, on: str | None) -> dict[str, Any]:
    from labwright_instruments.cost import cost
    from labwright_instruments.peaks import PEAKS, step_seconds

    here = cost(trainer)
    told: dict[str, Any] = here.json()
    if on is not None:
        low, high = step_seconds(on, through.flops, through.operations, trainer.settings.precision)
        told["there"] = {"gpu": on, "memory_bytes": int(PEAKS[on].memory)}
        told["there"] |= {"training_seconds": [here.steps * low, here.steps * high]}
    return told


def _print_cost(told: dict[str, Any], parts: Parts, on: str | None) -> None:
    print_seconds("a run here, without starting up and the report", told)
    echo(f"  checkpoints on disk: {amount(told['disk_bytes'])}")
    if on is None:
        return
    low, high = map(duration, told["there"]["training_seconds"])
    reach = f"between {low} and {high}" if low != high else f"about {low}, what its operations take to start"
    room = told["there"]["memory_bytes"]
    echo(f"on {on}: training {reach}")
    echo("  by its published peak, of which trainings reach a tenth to a half: only a run there can tell")
    verdict = "fits into" if parts.together < room else "doesn't fit into"
    echo(f"  what a step keeps, {amount(parts.together)}, {verdict} its {amount(room)}")


def print_seconds(
    title: str,
    told: Mapping[str, Any],
    before: Sequence[tuple[str, float]] = (),
    after: Sequence[tuple[str, float]] = (),
) -> None:
    """The time of a run by what it does, as `Cost.json` has it; `before` the steps and `after` all else is more."""
    counted = [
        (f"{told[many]:,} {many}", told[many] * told[seconds])
        for many, seconds in (
            ("steps", "step_seconds"),
            ("evaluations", "evaluation_seconds"),
            ("checkpoints", "checkpoint_seconds"),
        )
    ]
    rows = [*before, *counted, ("the test part", told["test_seconds"]), *after, ("together", told["seconds"])]
    echo(f"\n{title}")
    print_table([(what, duration(seconds)) for what, seconds in rows], indent="  ")


def duration(seconds: float) -> str:
    """A stretch of time: 0.34 s, 12 s, 4 min 05 s, 2 h 07 min."""
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _print_layers(through: Passed, depth: int) -> None:
    from labwright_instruments.layers import COUNTED

    rows = [("layer", "output", "parameters", "FLOPs")]
    left = 0
    for layer in through.layers:
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
    whole = through.layers[0]
    frozen = f", {whole.frozen:,} of them frozen" if whole.frozen else ", all of them trained"
    echo(f"\nparameters: {whole.parameters:,}{frozen}")
    echo(f"FLOPs of the forward pass: {number(through.flops)} ({COUNTED})")


def print_parts(parts: Parts) -> None:
    rows = []
    for part, what in _PARTS.items():
        value = getattr(parts, part)
        if value or part == "activations":
            rows.append((part, "not known" if value is None else amount(value), what))
    rows.append(("together", amount(parts.together), "without what operations take while they run"))
    echo("\nmemory of a step")
    print_table(rows, indent="  ")


def number(count: float) -> str:
    """A count with a prefix: 3.3 M, 1.25 G."""
    for prefix, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= unit:
            return f"{count / unit:.3g} {prefix}"
    return f"{count:.3g}"


def amount(count: int) -> str:
    """Bytes in decimal units: 104 kB, 1.2 GB."""
    return f"{number(count)}B" if count >= 1000 else f"{count} B"
