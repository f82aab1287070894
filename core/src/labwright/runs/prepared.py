"""Tasks whose data was read, kept for whoever asks for the same ones again: trials of a study, runs of a comparison."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

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
        self._kept: list[tuple[tuple[Any, ...], Task]] = []  # the one asked for last stands last

    def of(self, experiment: Experiment) -> Task:
        """The task of an experiment with its data read. Raises LabwrightError if it can't be."""
        key = _identity(experiment.task)
        task = next((task for other, task in self._kept if other == key), None)
        if task is None:
            self._forget(self.most - 1)  # before the next is read, so that there are never more
            task = experiment.prepared()
            if self.check is not None:
                self.check(task)
        self._kept = [*(one for one in self._kept if one[0] != key), (key, task)]
        return task

    def forget(self) -> None:
        """Keep none."""
        self._forget(0)

    def _forget(self, most: int) -> None:
        if len(self._kept) > most:
            del self._kept[: len(self._kept) - most]
            gc.collect()  # a run and its listeners hold one another, and the task


class _Same:
    """A thing that equals itself alone, and stays alive as long as it is compared."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing

    __hash__ = None  # type: ignore[assignment]


def _identity(spec: ComponentSpec) -> tuple[Any, ...]:
    """What makes a component the same as another: its class or object, and all its settings."""
    thing = spec.target if spec.thing is None else spec.thing
    parts = [(key, _identity(one)) for key, one in spec.settings.items() if isinstance(one, ComponentSpec)]
    settings = json.dumps(spec.table(), sort_keys=True, default=repr)
    return _Same(thing), settings, tuple(parts)
