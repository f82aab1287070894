"""A training that is thrown away: what the instruments take their measurements on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from labwright import Experiment, LabwrightError, Task, derived_seed, isolated

WARM_UP = 2  # steps: the first allocates and compiles, the second settles what that began


def lengthened(experiment: Experiment, steps: int, **train: object) -> Experiment:
    """The same experiment with so many steps to go, whatever its recipe says, and with other `train` settings."""
    changed = {"train.steps": steps, "train.epochs": None, **{f"train.{key}": value for key, value in train.items()}}
    return experiment.varied(changed)


def refuse_closed_form(experiment: Experiment, instrument: str) -> None:
    """Raises LabwrightError for a model in closed form, which takes no steps."""
    if experiment.closed_form:
        raise LabwrightError(
            f"{instrument} measures steps of an optimizer, and model {experiment.model.label!r} is computed in closed "
            "form: it has none. `labwright summary` says what it holds."
        )


@contextmanager
def workbench(experiment: Experiment, task: Task | None = None) -> Iterator[Any]:
    """A trainer of the experiment in a folder that is gone afterwards; nobody listens to it and nothing is reported.

    Args:
        experiment: what is to be trained.
        task: the experiment's, with its data read: then it isn't read again, and nothing is tried beforehand.

    Raises LabwrightError for what can't be built.
    """
    with TemporaryDirectory(prefix="labwright-") as scratch:
        quiet, folder = experiment.quiet(), Path(scratch) / "run"
        trainer: Any = quiet.trainer(folder) if task is None else quiet.trial(folder, task)
        trainer.run.kept = False
        try:
            with isolated(trainer.device, seed=derived_seed(trainer.train.seed, 0), threads=trainer.settings.threads):
                yield trainer
        finally:
            if trainer.built.workers is not None:
                trainer.built.workers.close()
            if trainer.lock is not None:
                trainer.lock.release()


def first_cut(trainer: Any) -> tuple[Sequence[Any], Sequence[float]]:
    """The micro-batches of the first step on the device, and the share of each in the loss."""
    batch = next(iter(trainer.built.method.feed(trainer)))
    _, batches, shares = trainer.cut(trainer.drawn(batch))
    return batches, shares


def wait_for(device: torch.device) -> None:
    """Until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
