"""Metrics over a split. A metric is anything with update, compute and reset: see metrics.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from labwright.base import ranks
from labwright.base.errors import LabwrightError, listed, nearest, words
from labwright.base.isolation import isolated
from labwright.base.seeding import derived_seed, epoch_order
from labwright.data.batching import IndexedBatches, Workers
from labwright.data.dataset import Batch, with_tensors
from labwright.interfaces.task import Goal, Metric, Task
from labwright.train.metrics import Of


@dataclass(frozen=True)
class Evaluated:
    """Metrics by name, and of how many samples they are."""

    metrics: dict[str, float]
    samples: int


def evaluate(
    task: Task,
    model: nn.Module,
    split: str,
    *,
    device: torch.device,
    size: int,
    seed: int,
    workers: Workers | None = None,
    autocast: Callable[[], AbstractContextManager[Any] | None] | None = None,
    most: int | None = None,
    drawn: int | None = None,
    alone: bool = False,
) -> Evaluated | None:
    """The task's metrics over a split, in batches of `size` and without augmentation; None if there is no such split.

    It leaves no trace: every module is in training or evaluation mode as it was, and the global generators of the CPU
    and of the device go on where they were. Each of several processes takes every n-th batch, and the first one's
    metrics see all results in order. A metric whose result is a table of numbers gives one metric for each, `name/key`.

    Args:
        task: says what is measured; its data is prepared.
        model: on `device`.
        split: `train`, `valid` or `test`.
        device: where batches are moved to, of `size` samples each.
        seed: of random numbers within it, alone: nothing drawn before changes the figures.
        workers: those who fetch data which isn't in memory.
        autocast: makes the context that a forward pass runs in; None, or giving None, is full precision.
        most: bounds the number of batches; `drawn` that of samples, which the seed draws, each once.
        alone: this process measures all by itself, whoever trains with it.

    Raises LabwrightError if the split is empty, a metric is no single number, or the goal is not among the metrics.

    Example: `lw.evaluate(task, model, "valid", device=torch.device("cpu"), size=256, seed=0)`
    """
    batches = task.batches(split, size=size, seed=seed, epoch=0, workers=workers, plain=True)
    if batches is None:
        return None
    if drawn is not None:
        batches = batches.of(torch.split(epoch_order(len(batches.split), seed=seed, epoch=0)[:drawn].sort()[0], size))
    if not len(batches):
        raise LabwrightError(f"{type(task).__name__}: the {split!r} split has no samples to evaluate on.")
    alone = alone or ranks.count() == 1
    metrics = {name: one for name, one in task.metrics().items() if split in (getattr(one, "splits", None) or [split])}
    _check_goal(task.goal, metrics, within=True)  # before the pass over the data, which may be long
    for metric in metrics.values():
        if isinstance(metric, nn.Module):  # torchmetrics' keep their sums in buffers
            metric.to(device if alone else "cpu")
            _ask_nobody(metric)

    samples, results_of = 0, partial(_results, task, model, device, autocast)
    with evaluating(model), isolated(device, seed=derived_seed(seed, 3)):
        for length, results in map(results_of, islice(batches, most)) if alone else _of_all(batches, most, results_of):
            samples += length
            for name, metric in metrics.items():
                _take_in(name, metric, results)
        computed = partial(_computed, metrics, samples)
        evaluated = computed() if alone else ranks.by_first(computed)
    _check_goal(task.goal, evaluated.metrics, within=False)  # again: `f1/macro` stands in a table that a metric gives
    return evaluated


def _results(
    task: Task,
    model: nn.Module,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any] | None] | None,
    batch: Batch,
) -> tuple[int, Any]:
    """The number of samples of a batch, and what its task's metrics take."""
    moved = batch if device.type == "cpu" else batch.to(device)
    with (autocast() if autocast else None) or nullcontext():
        return len(batch), task.evaluate(model, moved)


def _take_in(name: str, metric: Metric, results: Any) -> None:
    """Give a metric what the task evaluated. Raises LabwrightError for one that can't take a whole table."""
    table = isinstance(results, Mapping)
    try:
        metric.update(*((results,) if table else results))
    except (TypeError, AttributeError) as error:
        if not table or isinstance(metric, Of):
            raise
        raise LabwrightError(
            f"metric {name!r} can't take the table of {listed(results)} that evaluate() of the task gives "
            f"({words(error)}). What it takes is picked by names: lw.Of({type(metric).__name__}(), ...)."
        ) from error


def _computed(metrics: Mapping[str, Metric], samples: int) -> Evaluated:
    values = (value for name, metric in metrics.items() for value in _numbers(name, metric.compute()))
    return Evaluated(dict(values), samples)


def _of_all(
    batches: IndexedBatches, most: int | None, results_of: Callable[[Batch], tuple[int, Any]]
) -> Iterator[tuple[int, Any]]:
    """The results of the batches of all processes in order, for the first of them; the others compute and get none.

    A process without a batch does the first again, as a forward pass may itself be something that all do together.
    """
    parts, count, given = list(batches.parts[:most]), ranks.count(), 0
    own = [*parts[ranks.number() :: count], parts[0]][: -(-len(parts) // count)]
    for batch in batches.of(own):
        length, results = results_of(batch)
        for answer in ranks.gathered((length, with_tensors(results, Tensor.cpu))):
            given += 1
            if given <= len(parts):
                yield answer


def _ask_nobody(metric: nn.Module) -> None:
    """Keep those of torchmetrics from asking the other processes: what is computed has seen all results."""
    for part in metric.modules():
        if hasattr(part, "sync_on_compute"):
            part.sync_on_compute = part._to_sync = False  # type: ignore[assignment]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within it the model is in evaluation mode and no gradient is recorded; after it, each module is as it was.

    Example: `with lw.evaluating(model): logits = model(x_BCHW)`
    """
    with modes_kept(model), torch.no_grad():
        model.eval()
        yield


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """After it each module is in training or evaluation mode as it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_goal(goal: Goal, names: Mapping[str, Any], *, within: bool) -> None:
    """Raises LabwrightError if the goal is not among the names; `within`: nor can be in the table one of them gives."""
    if goal.metric in names or (within and any(goal.metric.startswith(f"{name}/") for name in names)):
        return
    within_it = [name for name in names if name.startswith(f"{goal.metric}/")]  # it is a table, and a goal one number
    hint = f"; did you mean {within_it[0]!r}?" if within_it else nearest(goal.metric, names)
    raise LabwrightError(
        f"metrics() of the task gives {listed(names)}; its goal, {goal.metric!r}, is none of them{hint}"
    )


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _numbers(f"{name}/{key}", one)
        return
    try:
        yield name, float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
        raise LabwrightError(
            f"metric {name!r} gave a {type(value).__name__}{shape}; a metric is one number, or a table of numbers."
        ) from error
