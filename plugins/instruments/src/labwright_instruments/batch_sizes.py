"""How large a batch can be, and what a sample costs at each size: steps of twice as many samples, then twice again."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from labwright import Collecting, Experiment, LabwrightError, Task, free_memory

from labwright_instruments.layers import tensors_of
from labwright_instruments.parts_of_memory import kept_for_backward, size, weights_of
from labwright_instruments.workbench import first_cut, lengthened, refuse_closed_form, wait_for, workbench

NEAR = 1.05  # times the fewest seconds for a sample: what counts as as fast
_WARM_UP, _MOST_STEPS, _SECONDS = 2, 20, 1.0


@dataclass(frozen=True)
class Size:
    """A batch size that fits: seconds of a step, samples in it, and the bytes that it kept at once.

    On the CPU these are the batch and what autograd kept; on a GPU the most that was allocated, weights included.
    """

    size: int
    samples: int
    step_seconds: float
    peak_bytes: int

    @property
    def sample_seconds(self) -> float:
        return self.step_seconds / self.samples


@dataclass(frozen=True)
class Sizes:
    """The sizes that fit, in their order, and why no larger one was tried, in words."""

    tried: tuple[Size, ...]
    ended: str

    @property
    def fast(self) -> Size:
        """The smallest whose samples take at most 5 % longer than those of the fastest."""
        fewest = min(one.sample_seconds for one in self.tried)
        return next(one for one in self.tried if one.sample_seconds <= NEAR * fewest)


def batch_sizes(
    experiment: Experiment, most: int, tell: Callable[[str], None], room: Callable[[], int | None] = free_memory
) -> Sizes:
    """Take steps of device.accumulate samples, of twice as many and so on, to `most`, until memory or data end.

    On the CPU, whose memory can't be used up without slowing down the whole machine, a size is tried only if what it
    needs, by what the sizes before it took, is free: `room` says how many bytes are. On a GPU all are tried until there
    is no room.

    Raises LabwrightError for what takes no steps, for a task that collects its data, and where not even the first fits.
    """
    refuse_closed_form(experiment, "find-batch-size")
    task = experiment.prepared()
    if isinstance(task, Collecting):
        raise LabwrightError(
            f"find-batch-size: task {experiment.task.label!r} collects what it learns from, and how much at once is "
            "part of how it learns. Choose train.batch_size by its documentation."
        )
    tried: list[Size] = []
    ended, estimate = "", 0
    highest = _highest()
    first = number = _first(experiment)
    while not ended and number <= most:
        free = room()
        if free is not None and estimate > free:
            ended = f"{number:,} would take about {estimate / 1e9:,.1f} GB; {free / 1e9:,.1f} GB are free"
            break
        found = _attempt(experiment, task, number, first)
        if isinstance(found, _LeftOut):
            tell(f"{number} is left out: {found}")
        elif isinstance(found, str):
            ended = f"{number:,}: {found}"
        elif tried and (found.samples <= tried[-1].samples or found.samples < number == 2 * tried[-1].samples):
            ended = f"the training data has {found.samples:,} samples"
        else:
            tried.append(found)
            tell(f"{number:,} fits")
            # twice this size keeps twice as much; what operations took besides has raised the process's peak by half of
            # what this size needs, so that it is four times that
            grown = _highest() - highest
            estimate = 0 if _has_own_memory(experiment) else max(2 * found.peak_bytes, 4 * grown)
        highest = _highest()
        number *= 2
    if not tried:
        raise LabwrightError(f"find-batch-size: no batch fits. {ended or f'--most {most} is below the first size'}.")
    return Sizes(tuple(tried), ended or f"--most {most:,}")


def _first(experiment: Experiment) -> int:
    accumulate: int = experiment.device.build().accumulate
    return accumulate


def _has_own_memory(experiment: Experiment) -> bool:
    device: torch.device = experiment.device.build().find()
    return device.type == "cuda"


class _LeftOut(str):
    """Why a single sample isn't enough, such as for BatchNorm."""


def _attempt(experiment: Experiment, task: Task, number: int, first: int) -> Size | str:
    """What steps of this size took, or why they can't be taken; what they held is given back."""
    try:
        with workbench(lengthened(experiment, _WARM_UP + _MOST_STEPS + 1, batch_size=number), task) as trainer:
            return _measured(trainer, number)
    except (RuntimeError, MemoryError, ValueError) as error:
        short = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error)
        if not short and number > first:
            raise
        why = "there is no room for it" if short else _LeftOut(str(error).splitlines()[0])
    # only now, as an error keeps alive what it came from
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return why


def _measured(trainer: Any, number: int) -> Size:
    with _peak(trainer.device) as allocated:
        batch = next(iter(trainer.built.method.feed(trainer)))
        kept = 0
        if trainer.device.type != "cuda":
            kept = _kept(trainer)
        seconds: list[float] = []
        for _ in range(_WARM_UP + _MOST_STEPS):
            begun = time.perf_counter()
            trainer.step(batch)
            wait_for(trainer.device)
            seconds.append(time.perf_counter() - begun)
            if len(seconds) > _WARM_UP + 2 and sum(seconds) > _SECONDS:
                break
        return Size(number, len(batch), median(seconds[_WARM_UP:]), kept or allocated())


def _kept(trainer: Any) -> int:
    """Bytes of the first micro-batch and of what autograd keeps of it, in the phase that keeps most."""
    batches, _ = first_cut(trainer)
    weights = weights_of(trainer.model, trainer.criterion)
    own = size(tensors_of(batches[0]))
    try:
        return own + max(kept_for_backward(step, batches[0], weights) for step in trainer.phase_steps)
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        return own  # a loss with gradients of its own, by torch.func: the process's peak tells the rest


@contextmanager
def _peak(device: torch.device) -> Iterator[Callable[[], int]]:
    """Within it the most bytes that were allocated on a GPU at once can be asked for; of others it is 0."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device)
    else:
        yield lambda: 0


def _highest() -> int:
    """The most bytes that this process has held."""
    # macOS counts bytes, Linux kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
