"""A run as tasks and hook implementations see it, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labwright.base.elsewhere import Shown
from labwright.base.errors import RunFailed
from labwright.base.files import numbers, write_json

if TYPE_CHECKING:
    import torch
    from torch import nn

    from labwright.data.summary import DataSummary
    from labwright.interfaces.task import Task


Status = Literal["finished", "stopped", "interrupted", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the status, its reason in words, the steps done, and the last metrics of each split.

    `samples` says of how many samples a split's metrics are; `notes` is what to know besides, a sentence each. `floors`
    are metrics of the split that is reported, `test` if there is one, as simple rules reach them: see `Task.floors`.
    `figures` are the method's own: see `Method.figures`.

    Example: `accuracy = experiment.run().metrics["test"]["accuracy"]`
    """

    status: Status
    reason: str
    step: int
    metrics: dict[str, dict[str, float]]
    seconds: float
    folder: Path
    samples: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    data: DataSummary | None = None
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder)}

    def write(self) -> None:
        """Write outcome.json; a disk that takes no more doesn't hide the outcome itself."""
        # the outcome is told all the same, to listeners and on the terminal
        with suppress(RunFailed):
            write_json(self.folder / "outcome.json", self.json())

    @classmethod
    def read(cls, folder: Path | str) -> Outcome:
        """What `write` wrote. Raises OSError, ValueError, TypeError or KeyError if it isn't there or is torn."""
        told = json.loads((Path(folder) / "outcome.json").read_text(encoding="utf-8"))
        # the folder may have been moved since
        return cls(**(numbers(told) | {"folder": Path(folder)}))


@dataclass(repr=False)
class Run(Shown):
    """A run as hook implementations see it.

    `losses` are the mean losses of the steps between the last two evaluations, by the names of the log. `calling` makes
    the context in which the model is called, without gradients: where each of several processes holds a part of it,
    all of them call it alike. `defaults` is the recipe with each setting at its component's default, if it has one.
    Of a run that isn't `kept`, as a dry run, nothing may stay, inside its folder or outside.

    Example: `def labwright_run_started(run): print(run.folder, run.total_steps)`
    """

    folder: Path
    recipe: Mapping[str, Any]
    task: Task
    model: nn.Module
    device: torch.device
    total_steps: int
    steps_per_epoch: int
    name: str = "experiment"
    step: int = 0
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    data: DataSummary | None = None
    notes: list[str] = field(default_factory=list)
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    best: float | None = None
    losses: dict[str, float] = field(default_factory=dict)
    outcome: Outcome | None = None
    calling: Callable[[], AbstractContextManager[None]] = nullcontext
    defaults: Mapping[str, Any] = field(default_factory=dict)
    kept: bool = True

    @property
    def epoch(self) -> float:
        return self.step / self.steps_per_epoch

    def __repr__(self) -> str:
        status, goal = self.outcome.status if self.outcome else "not ended", self.task.goal.metric
        told = "".join(f", {split} {goal} {of[goal]:.4g}" for split, of in self.metrics.items() if goal in of)
        return f"Run({str(self.folder)!r}, {status} after {self.step:,} of {self.total_steps:,} steps{told})"
