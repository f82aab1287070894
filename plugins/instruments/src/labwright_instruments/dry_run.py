"""A dry run: build everything, train two steps, evaluate one batch, say what a run would cost. Nothing is kept."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labwright import ClosedForm, Experiment, Run, hookimpl, ranks
from labwright.cli.shared import print_json, print_table, say
from labwright.engine import Trainer


class _Times:
    def __init__(self) -> None:
        self.ends: list[float] = []

    @hookimpl
    def labwright_run_started(self) -> None:
        self.ends = [time.perf_counter()]

    @hookimpl
    def labwright_step_ended(self) -> None:
        self.ends.append(time.perf_counter())

    # each of several processes goes on with what it makes of them
    labwright_run_started.every_process = labwright_step_ended.every_process = True  # type: ignore[attr-defined]


def tell_dry_run(experiment: Experiment, as_json: bool) -> None:
    """Print what `dry_run` says, as `labwright run --dry-run` does."""
    run, cost = _looked(experiment)
    if as_json:
        print_json(cost)
    elif run.data is not None:
        cost["data"] = run.data.line()
        say(*(f"note: {note}" for note in cost.pop("notes")))
        print_table([(key.replace("_", " "), str(value)) for key, value in cost.items()])


def dry_run(experiment: Experiment) -> dict[str, Any]:
    """What the experiment is made of and would cost, ready for JSON: seconds, bytes, counts.

    A model in closed form is built and not fitted, which is all of its training: it says what that takes.
    """
    return _looked(experiment)[1]


def _looked(experiment: Experiment) -> tuple[Run, dict[str, Any]]:
    with TemporaryDirectory(prefix="labwright-") as scratch:
        times = _Times()
        trainer = experiment.quiet().trainer(Path(scratch) / "run", listeners=[times])
        model = trainer.model
        steps = dict(model.cost()) if isinstance(model, ClosedForm) else _stepped(trainer, times)
    data, device = trainer.run.data, trainer.device
    assert data is not None
    # macOS counts bytes, Linux kibibytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return trainer.run, {
        "device": str(device),
        "data": data.json(),
        "notes": trainer.run.notes,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad),
        "steps": trainer.intervals.total,
        "steps_per_epoch": trainer.intervals.per_epoch,
        **steps,
        "peak_memory_bytes": peak,
    }


def _stepped(trainer: Trainer, times: _Times) -> dict[str, Any]:
    """What two steps and a checkpoint show, and before them a batch of each part that is measured."""
    # the first step also allocates and compiles; the second is what the others cost
    trainer.fit(until=2)
    written = trainer.checkpoints.path(trainer.run.step)
    checkpoint = ranks.by_first(lambda: sum(file.stat().st_size for file in written.iterdir()))
    seconds = [later - earlier for earlier, later in zip(times.ends, times.ends[1:], strict=False)]
    return {
        "first_step_seconds": round(seconds[0], 4),
        "step_seconds": round(seconds[-1], 5),
        "training_seconds": round(seconds[-1] * trainer.intervals.total, 1),
        "checkpoint_bytes": checkpoint,
        "one_batch": trainer.built.metrics,
    }
