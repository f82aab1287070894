"""The interface of a method: what a step eats, and how it becomes gradients. And whatever keeps a state of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from labwright.interfaces.run import Run
from labwright.interfaces.task import Task


class Steps(Protocol):
    """A training as a method sees it: what is trained, on what, and how far it is (`run.step`).

    Example: `def feed(self, steps: lw.Steps): return (batch for batch in steps.batches())`
    """

    task: Task
    model: nn.Module
    device: torch.device
    run: Run

    def batches(self) -> Iterator[Any]:
        """The batch of every step that is still to do, in the task's order."""
        ...


class Update(Protocol):
    """The update of one phase as a method sees it: its parameters, and losses over them.

    A loss is a scalar, or a table of named parts whose sum is minimised.

    Example: `def gradients(self, update: lw.Update, batches, weights): return update.backward(batches, weights)`
    """

    name: str
    model: nn.Module

    @property
    def parameters(self) -> Sequence[Tensor]:
        """What the phase trains."""
        ...

    def losses(self, batch: Any) -> Tensor | Mapping[str, Tensor]:
        """The loss of a batch on the device, in the precision of the run."""
        ...

    def derivative(self, loss: Tensor, *, keep: bool = False) -> Sequence[Tensor | None]:
        """The gradient of a scalar by each parameter, None where it doesn't depend on it; `keep` its graph.

        With a loss scale (fp16) it is the scaled one: what is left in `grad` is scaled back later.
        """
        ...

    def backward(self, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        """Add the gradient of the weighted mean over micro-batches to `grad` of each parameter.

        Returns the mean under the phase's name, its parts under PHASE/PART, as scalars on the device.
        """
        ...


class Method:
    """What a step eats, and how it becomes gradients. This is plain descent, which others derive from.

    A method overrides `gradients`, or `feed` if its steps eat something else than the task's batches, or both.
    Clipping, averages, the optimizer with its schedule, and `Task.after_step` stay outside. One with a state of its own
    has `state` and `load_state` (see Stateful). `divisible` says that an overridden method is right where several
    processes each have a share of the batch: what `Update` gives as gradients is summed over them, and what is drawn is
    drawn alike. `of_studies` is what a study of many runs by it has to say, a sentence.

    Example: `class Noisy(lw.Method): ...`
    """

    divisible: bool = False
    of_studies: str = ""

    def check(self, task: Task, model: nn.Module) -> None:
        """Raises LabwrightError for what this method can't train, with the reason; before the first step."""

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:
        """Called with all that is about to be trained, and the complete recipe; before there is a folder.

        Returns what to know of the run, a sentence each. Raises LabwrightError as `check` does.
        """
        return ()

    def figures(self, step: int) -> Mapping[str, float]:
        """Numbers of the method itself after so many steps, such as what was spent: for log, outcome and report."""
        return {}

    def feed(self, steps: Steps) -> Iterator[Any]:
        """What each step that is still to do takes, in order: a function of the run's seed and step."""
        return steps.task.collect(steps) if isinstance(steps.task, Collecting) else steps.batches()

    def gradients(self, update: Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        """Leave gradients in `grad` of the phase's parameters.

        Args:
            update: of the phase that is due.
            batches: the step's micro-batches, on the device; one, if `device.accumulate` is 1.
            weights: of each in the mean over all of them, those of other processes too: alone their sum is 1.

        Returns:
            What `Update.backward` returns: the losses for the log.
        """
        return update.backward(batches, weights)


@runtime_checkable
class Collecting(Protocol):
    """A task whose model makes its own training data by acting: it learns in rounds, and so counts steps, not epochs.

    Its `train` part shows what a batch looks like, and isn't trained on. Most are Stateful, too.

    Example: `rounds = task.round_steps(64) if isinstance(task, lw.Collecting) else len(batches)`
    """

    def round_steps(self, size: int) -> int:
        """How many steps learn from what is collected at once, in batches of `size`: what stands for an epoch.

        Raises LabwrightError for a size that doesn't go with it.
        """
        ...

    def collect(self, steps: Steps) -> Iterator[Any]:
        """The batch of each step that is still to do: see `Method.feed`."""
        ...


@dataclass(frozen=True)
class Appended:
    """A table of a state that grows at its end: each checkpoint writes the rows that those before it haven't written.

    `rows` are the last of the `count` that there were in all, the oldest first; those before them are forgotten.

    Example: `def state(self): return {"seen": lw.Appended(self.seen_ND, len(self.seen_ND))}`
    """

    rows: Tensor
    count: int


@runtime_checkable
class Stateful(Protocol):
    """A task, method or listener with a state that a checkpoint keeps: replay buffers, environments, memory banks.

    Example: `def state(self): return {"bank": self.bank_MD, "filled": self.filled}`
    """

    def state(self) -> Mapping[str, Any]:
        """Names to tensors, to tables that are Appended, or to values that JSON gives back as they are."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave; tensors are on the CPU."""
        ...
