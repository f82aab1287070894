"""Tasks whose data was read, kept for whoever asks for the same ones again: trials of a study, runs of a comparison."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable

from labwright.config.resolve import ComponentSpec
from labwright.interfaces.task import Task
from labwright.runs.experiment import Experiment


class Prepared:
    """Gives an experiment its prepared task, and keeps the last `most`, as each holds its data in memory.

    Two experiments share a task if theirs have the same settings, and the same classes and objects from Python: the
    very same, as two objects of one class may hold anything. `check` is called with each task that was prepared anew.

    Example: `task = lw.Prepared().of(experiment)`
    """

    def __init__(self, most: int = 1, check: Callable[[Task], None] | None = None) -> None:
        self.most, self.check = most, check
        self._kept: list[tuple[Experiment, Task]] = []  # the one asked for last stands last

    def of(self, experiment: Experiment) -> Task:
        """The task of an experiment with its data read. Raises LabwrightError if it can't be."""
        task = next((task for kept, task in self._kept if _same(kept, experiment)), None)
        if task is None:
            self.forget(self.most - 1)  # before the next is read, so that there are never more
            task = experiment.prepared()
            if self.check is not None:
                self.check(task)
        self._kept = [*((kept, other) for kept, other in self._kept if other is not task), (experiment, task)]
        return task

    def forget(self, most: int = 0) -> None:
        """Keep the last `most` alone."""
        if len(self._kept) > most:
            del self._kept[: len(self._kept) - most]
            gc.collect()  # a run and its listeners hold one another, and the task


def _same(one: Experiment, other: Experiment) -> bool:
    """Whether two tasks are of the same class or are the very same object, with all their settings, and start alike."""
    things, others = _things(one.task), _things(other.task)
    identical = len(things) == len(others) and all(a is b for a, b in zip(things, others, strict=True))
    return identical and one.start == other.start and _settings(one.task) == _settings(other.task)


def _things(spec: ComponentSpec) -> list[object]:
    """The class of a component and of its parts, or the object from Python that one is."""
    things = (thing for part in spec.parts().values() for thing in _things(part))
    return [spec.target if spec.thing is None else spec.thing, *things]


def _settings(spec: ComponentSpec) -> str:
    """All settings as text: compared as values, true would be 1 and an array no answer."""
    return json.dumps(spec.table(), sort_keys=True, default=repr)
