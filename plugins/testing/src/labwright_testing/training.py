"""Some steps of a run, taken as a study's trials are: in a folder that is gone after, with checkpoints in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labwright import Appended, Stateful, hookimpl
from torch import Tensor

from labwright_testing.kit import Subject

STEPS = 4  # of a run that is stopped in its middle
LENGTH = {"train.epochs": None, "train.steps": 2 * STEPS}  # what schedules see; none is trained so far


@dataclass
class Losses:
    """A listener that keeps the losses of each step by their names."""

    of_step: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    @hookimpl
    def labwright_step_ended(self, step: int, losses: Mapping[str, Tensor]) -> None:
        self.of_step[step] = {name: loss.detach().clone() for name, loss in losses.items()}


@dataclass(frozen=True)
class Training:
    """A training under way: the core's trainer, and the losses of the steps it has taken."""

    trainer: Any
    losses: dict[int, dict[str, Tensor]]

    @property
    def checkpoint(self) -> Any:
        """Of the last step."""
        return self.trainer.checkpoints.read(self.trainer.run.step)


@contextmanager
def begun(
    subject: Subject, after: Training | None = None, changes: Mapping[str, Any] | None = None
) -> Iterator[Training]:
    """A training of the recipe that a component stands in, with changes; at its beginning, or where another is."""
    experiment = subject.experiment.varied({**LENGTH, **(changes or {})})
    # what one training leaves in a task with a state of its own isn't to reach another
    task = experiment.prepared() if isinstance(subject.task, Stateful) else subject.task
    losses = Losses()
    with TemporaryDirectory(prefix="labwright-") as scratch:
        trainer = experiment.trial(Path(scratch), task, listeners=[losses])
        if after is not None:
            trainer.restore(after.checkpoint)
        yield Training(trainer, losses.of_step)


def trained(
    subject: Subject, until: int, *, after: Training | None = None, changes: Mapping[str, Any] | None = None
) -> Training:
    """The training when it has come to a step, and its checkpoint is saved."""
    with begun(subject, after, changes) as training:
        training.trainer.fit(until=until, interruptible=False)
    return training


def alike(left: Any, right: Any) -> bool:
    """Whether two values, or tables and lists of them, are the same; tensors in every bit."""
    if isinstance(left, Tensor):
        same = isinstance(right, Tensor) and left.dtype == right.dtype and left.shape == right.shape
        return same and bool(((left == right) | ((left != left) & (right != right))).all())
    if isinstance(left, Appended):
        return isinstance(right, Appended) and alike(vars(left), vars(right))
    if isinstance(left, Mapping):
        return (
            isinstance(right, Mapping) and left.keys() == right.keys() and all(alike(left[k], right[k]) for k in left)
        )
    if isinstance(left, list | tuple):
        return isinstance(right, list | tuple) and len(left) == len(right) and all(map(alike, left, right))
    return bool(left == right)
