"""A dry run: build everything, take some steps, measure, end as a run ends, say what it would cost. Nothing is kept."""

from __future__ import annotations

import math
import resource
import sys
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labwright import ClosedForm, Experiment, Run, derived_seed, isolated, ranks
from labwright.cli.shared import echo, print_json, print_table, say
from labwright.engine import Status, Trainer

from labwright_instruments.cost import Cost, Seconds, cost
from labwright_instruments.parts_of_memory import Parts, parts_of_memory

_LONGEST = 60.0  # seconds up to which the end of a run is gone through
_LINES = 20_000  # of a log, at most


@dataclass
class _Told:
    """What a dry run found out: `end` is what follows the last step, None where that would take too long."""

    start: Seconds
    cost: Cost
    parts: Parts | None
    end: Seconds | None
    files: int  # bytes of all but the checkpoints

    @property
    def spans(self) -> dict[str, Seconds]:
        return {"start": self.start, **self.cost.parts, "end": self.end or Seconds()}

    def json(self) -> dict[str, Any]:
        """The run's seconds are by the clock, but for `processor_seconds` of this process; bytes of the disk."""
        told = self.cost.json()
        told["first_step_seconds"] = (self.cost.first + self.cost.step).wall
        told |= {"start_seconds": self.start.wall, "end_seconds": self.end and self.end.wall}
        together = sum(self.spans.values(), Seconds())
        told |= {"seconds": together.wall, "processor_seconds": together.processor}
        told["disk_bytes"] = [self.files + checkpoints for checkpoints in self.cost.disk]
        told = {name: round(value, 5) if isinstance(value, float) else value for name, value in told.items()}
        told["processor"] = {name: round(spent.processor, 5) for name, spent in self.spans.items()}
        return told | ({"memory": self.parts.json()} if self.parts else {})


def tell_dry_run(experiment: Experiment, as_json: bool) -> None:
    """Print what `dry_run` says, as `labwright run --dry-run` does."""
    so_far = Seconds.now().processor  # a run comes here in the same way
    run, facts, told = _looked(experiment, Seconds(so_far, so_far))
    if as_json:
        print_json(facts)
        return
    from labwright_instruments.verbs.summary import amount, print_parts, print_seconds

    say(*(f"note: {note}" for note in facts["notes"]))
    data = run.data.line() if run.data is not None else "not kept"
    rows = [("device", facts["device"]), ("data", data), ("parameters", f"{facts['parameters']:,}")]
    if told is None:
        left = [(key, value) for key, value in facts.items() if key not in ("device", "data", "notes", "parameters")]
        print_table([*rows, *((key.replace("_", " "), str(value)) for key, value in left)])
        return
    print_table([*rows, ("steps of an epoch", f"{facts['steps_per_epoch']:,}")])
    ends = [("its end, with simple rules and the report", told.end.wall)] if told.end else []
    before = [("starting up", told.start.wall), ("the first step, beyond another", told.cost.first.wall)]
    print_seconds("a run here", facts, before, ends)
    if told.parts:
        print_parts(told.parts)
    low, high = facts["disk_bytes"]
    echo(f"\npeak of this process: {amount(facts['peak_memory_bytes'])}")
    better = f"; {amount(high)} if the best weights aren't among the last" if high > low else ""
    echo(f"on disk at the end: {amount(low)}{better}")


def dry_run(experiment: Experiment) -> dict[str, Any]:
    """What the experiment is made of and would cost, ready for JSON: seconds, bytes, counts.

    A model in closed form is built and not fitted, which is all of its training: it says what that takes.
    """
    return _looked(experiment, Seconds())[1]


def _looked(experiment: Experiment, before: Seconds) -> tuple[Run, dict[str, Any], _Told | None]:
    with TemporaryDirectory(prefix="labwright-") as scratch:
        begun = Seconds.now()
        ending = copy(experiment)
        ending.listeners = [spec for spec in experiment.listeners if spec.name == "report"]
        trainer = ending.trainer(Path(scratch) / "run")
        trainer.run.kept = False
        start = before + (Seconds.now() - begun)
        notes = [*trainer.run.notes]
        model, told = trainer.model, None
        if isinstance(model, ClosedForm):
            if trainer.lock is not None:
                trainer.lock.release()
            figures = dict(model.cost())
        else:
            told = _Rehearsal(trainer, start).told()
            figures = told.json()
            notes += _notes(experiment, told)
    data = trainer.run.data
    assert data is not None
    # macOS counts bytes, Linux kibibytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    facts = {
        "device": str(trainer.device),
        "data": data.json(),
        "notes": notes,
        "parameters": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "steps": trainer.intervals.total,
        "steps_per_epoch": trainer.intervals.per_epoch,
        **figures,
        **({} if told is None else {"one_batch": trainer.built.metrics}),
        "peak_memory_bytes": peak,
    }
    return trainer.run, facts, told


def _notes(experiment: Experiment, told: _Told) -> list[str]:
    notes = list(told.parts.notes) if told.parts else []
    if stops := [repr(spec.name) for spec in experiment.listeners if spec.kind == "stop"]:
        notes.append(f"a run may end earlier, by {' or '.join(stops)}: what is said is of all steps.")
    if told.end is None:
        notes.append("what simple rules reach and the report take isn't counted: measuring alone takes over a minute.")
    return notes


class _Rehearsal:
    """A run of which some steps are taken, in a folder that is thrown away."""

    def __init__(self, trainer: Trainer, start: Seconds) -> None:
        self.trainer, self.start = trainer, start
        self.parts: Parts | None = None

    def told(self) -> _Told:
        trainer = self.trainer
        trainer.begin()
        with isolated(trainer.device, seed=derived_seed(trainer.train.seed, 0), threads=trainer.settings.threads):
            trainer.conclude(self._steps)
        spent = Seconds.now() - self.ended
        # counted already; a step that is measured anew is saved anew
        again = self.cost.test if self.cost.test.wall else self.cost.evaluation + self.cost.checkpoint
        end = spent - again if self.brief else None
        files = ranks.by_first(partial(_bytes, trainer.run.folder))
        return _Told(self.start, self.cost, self.parts, end, files)

    def _steps(self) -> tuple[Status, str]:
        """The steps of a run that is nearly over."""
        trainer = self.trainer
        trainer.started()
        self.cost = cost(trainer)
        if ranks.count() == 1:
            # of the last step once more: a method that draws its own batches knows of the latest alone
            _, batches, shares = trainer.cut(trainer.drawn(self.cost.batch))
            self.parts = parts_of_memory(trainer, batches, shares)
        measured = self.cost.test + self.cost.evaluation
        # a busy machine isn't a long test
        long = measured.processor if trainer.device.type == "cpu" else measured.wall
        self.brief = ranks.shared(long < _LONGEST)
        if self.brief:
            _lengthen(trainer)
        if self.cost.test.wall:
            trainer.evaluated = trainer.run.step  # `valid` has been counted
        self.ended = Seconds.now()
        return ("finished" if self.brief else "interrupted"), "a dry run"


def _lengthen(trainer: Trainer) -> None:
    """Make the log as long as a whole run's would be, as drawing it takes time and its curves take room."""
    if not ranks.first():
        return
    intervals = trainer.intervals
    rates = "lr" if len(trainer.phase_steps) == 1 else f"lr/{trainer.phase_steps[0].name}"
    measured = trainer.built.metrics
    splits = ["train"] * ("train" in measured) + [*trainer.built.beside] + ["valid"] * ("valid" in measured)
    every = max(intervals.log, intervals.total // _LINES)
    for step in range(every, intervals.total + 1, every):
        far = step / intervals.total
        train = {"event": "train", "step": step, "epoch": round(step / intervals.per_epoch, 4)}
        trainer.log.write(train | {"loss": _wavering(far), rates: 1e-3 * (1 - far) + 1e-6, "seconds": 1.234})
    for step in range(intervals.evaluate, intervals.total + 1, intervals.evaluate):
        for split in splits:
            metrics = {name: _wavering(step / intervals.total) for name in measured.get(split, measured["valid"])}
            told = {"event": "evaluation", "step": step, "epoch": round(step / intervals.per_epoch, 4), "split": split}
            trainer.log.write(told | {"samples": 1000, "metrics": metrics, "seconds": 1.234})


def _wavering(far: float) -> float:
    """A figure as they come, by how far the run is."""
    return math.exp(-far) + 0.1 * math.sin(1e4 * far)


def _bytes(folder: Path) -> int:
    """Bytes of a run's folder without its checkpoints."""
    files = (path for path in folder.rglob("*") if path.is_file() and folder / "checkpoints" not in path.parents)
    return sum(path.stat().st_size for path in files)
