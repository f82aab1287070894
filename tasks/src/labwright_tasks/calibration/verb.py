"""`labwright calibrate`: a run whose probabilities mean what they say, made of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from labwright.cli.shared import Json, RunFolder, echo, print_json, print_table, say


def verb(
    ctx: typer.Context,
    run: RunFolder,
    folder: Annotated[
        Path | None, typer.Option(help="The new run folder; by default runs/NAME-calibrated-001 and so on.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="final (what the run ended with), last or best.")] = "final",
    as_json: Json = False,
) -> None:
    """Fit one temperature on a run's valid part, by which its logits are divided, in a new run folder.

    Temperature scaling (Guo et al. 2017) makes a classifier as sure as it is right. Which class is the most probable
    stays the same, but for close ones of inputs that are shown several times (task.test_time). The new run is asked,
    measured and exported like any other; the old one stays as it is.

    Example: labwright calibrate runs/vision-digits-001 --folder runs/calibrated
    """
    from labwright.cli.shared import new_folder

    from labwright_tasks.calibration.recipe import calibrating

    experiment, notes = calibrating(run, checkpoint, ctx.obj.plugins)
    say(*(f"note: {note}" for note in notes))
    done = experiment.run(folder or new_folder(f"{experiment.name}-calibrated"))
    assert done.outcome is not None
    if as_json:
        print_json(done.outcome.json())
        return
    # the logger 'progress' has said what there is to know, where there is one
    if not any(spec.name == "progress" for spec in experiment.listeners):
        say(*(f"note: {note}" for note in done.outcome.notes))
    _tell(done.outcome.figures, done.outcome.samples, done.folder)


def _tell(figures: Any, samples: Any, folder: Path) -> None:
    low, high = figures.get("temperature_low", 0.0), figures.get("temperature_high")
    interval = f" (95%: {low:.4g} to {high:.4g})" if low and high else ""
    rows = [("temperature", f"{figures['temperature']:.4g}{interval}")]
    for split in ("valid", "test"):
        for key, name in (("nll", "cross-entropy"), ("ece", "calibration error")):
            if f"{split}/{key}_before" in figures:
                before, after = figures[f"{split}/{key}_before"], figures[f"{split}/{key}_after"]
                fitted = ", which it was fitted on" if split == "valid" else ""
                rows.append((f"{name} on {split}", f"{before:.4g} -> {after:.4g} ({samples[split]:,} samples{fitted})"))
    print_table(rows)
    echo(f"everything is in {folder}")
