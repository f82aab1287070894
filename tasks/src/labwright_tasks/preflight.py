"""What a run would stumble over at its first step, its first checkpoint or its end, found before it has a folder."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from labwright import (
    Built,
    Collecting,
    Experiment,
    IndexedBatches,
    LabwrightError,
    Method,
    free_memory,
    generator,
    ranks,
    sentence,
)
from torch import Tensor

from labwright_tasks.classification import Classification
from labwright_tasks.explaining import check_explained
from labwright_tasks.schedules import ReduceOnPlateau, Step

_MB, _GB = 1e6, 1e9


def check(experiment: Experiment, built: Built, folder: Path | None) -> None:
    """Look at what was built: `valid` for the best weights, explanations, the first loss, memory, room for checkpoints.

    Args:
        experiment: says how long it trains, and what it keeps.
        built: of the experiment; it is as before afterwards, but for what the core keeps itself.
        folder: where checkpoints would be written; None: nowhere.

    Raises LabwrightError for what ends the run, or would change it or its report without a word.
    """
    if isinstance(built.task, Classification) and built.task.explanations:
        check_explained(built.task.explanations, built.model)
    train = experiment.train
    if train.final == "best" and built.task.part("valid") is None:
        raise LabwrightError(
            "train.final: given 'best', the weights that are best on the `valid` split, and the data has none. Hold it "
            "out of the training part, for example with task.data.valid=0.1, or end with the last: train.final=last."
        )
    batches = built.task.batches("train", size=train.batch_size, seed=train.seed, epoch=0, whole=train.drop_last)
    if experiment.closed_form or batches is None or not built.optimizers:
        return
    per_epoch = built.task.round_steps(train.batch_size) if isinstance(built.task, Collecting) else len(batches)
    intervals = experiment.settled(per_epoch).train.intervals(per_epoch)
    check_schedules(built, intervals.total, per_epoch)
    averages = train.ema is not None
    if not built.sharding:  # of which each process holds a part
        check_memory(built, averages)
        if folder is not None:
            saves = -(-intervals.total // intervals.save)
            # one is removed once the next is there
            check_room(built, averages, folder, min(saves, train.keep + 1))
    if _eats_batches(built) and len(batches.parts):
        check_loss(built, batches, train.batch_size // built.device_settings.accumulate, train.seed)


# --------------------------------------------------------------------------------------------------------- the loss


def check_loss(built: Built, batches: IndexedBatches, size: int, seed: int) -> None:
    """Compute the loss of the first batch, or of its first micro-batch of `size`.

    Raises LabwrightError for one that isn't a finite number which gradients go through.
    """
    fetched = batches.split.fetch(batches.parts[0][: max(1, size // ranks.count())], 0, seed)
    batch = built.task.draw(fetched, generator(0))
    batch = batch if built.device.type == "cpu" else batch.to(built.device)
    for phase in built.task.phases():
        if phase.name in built.optimizers:
            loss = _loss(built, batch, phase.name)
            alone = len(built.optimizers) == 1  # then no name is needed to tell phases apart
            _check_parts(built, "loss" if alone else f"loss of phase {phase.name!r}", loss)


def _loss(built: Built, batch: Any, phase: str) -> Any:
    """The loss of a phase. Raises LabwrightError for what the model returns if that is what it breaks over."""
    returned: list[Any] = []
    handle = built.model.register_forward_hook(lambda *given: returned.append(given[-1]))
    try:
        with built.device_settings.autocast(built.device) or nullcontext():
            return built.task.loss(built.model, batch, built.criterion, phase)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        if not returned or isinstance(error, torch.OutOfMemoryError):
            raise  # within the model, whose layer the core finds
        raise LabwrightError(
            f"loss: that of the first batch of `train` can't be computed from what model {type(built.model).__name__} "
            f"returned, {_described(returned[-1])}: {type(error).__name__}: {sentence(str(error).strip())}"
        ) from error
    finally:
        handle.remove()


def _described(output: Any) -> str:
    return f"shape {tuple(output.shape)} of {output.dtype}" if isinstance(output, Tensor) else type(output).__name__


def _check_parts(built: Built, what: str, loss: Tensor | Mapping[str, Tensor]) -> None:
    parts = {f"{what}, {name!r}": part for name, part in loss.items()} if isinstance(loss, Mapping) else {what: loss}
    for name, part in parts.items():
        fault = _fault(part)
        if fault:
            raise LabwrightError(f"{name}: on the first batch of `train`, before anything is learned, it {fault}.")
    # another method may find gradients in its own way
    plain = type(built.method).gradients is Method.gradients
    if plain and not any(part.requires_grad for part in parts.values()):
        raise LabwrightError(
            f"{what}: it depends on nothing that is trained, so that nothing can be learned by it. In the model or the "
            "loss something is detached (.detach(), .item(), argmax), rounded, or made a whole number."
        )


def _fault(part: Any) -> str:
    if not isinstance(part, Tensor):
        return f"is a {type(part).__name__}; a loss is a tensor, from which gradients are taken"
    if part.numel() != 1:
        return (
            f"has shape {tuple(part.shape)}; a loss is one number, the mean over samples: of torch's losses that is "
            "reduction='mean'"
        )
    if not math.isfinite(float(part.detach())):
        return (
            f"is {float(part.detach())}. Look at the loss, at the initial weights, and whether the data holds values "
            "that are no numbers"
        )
    return ""


def _eats_batches(built: Built) -> bool:
    """Whether the steps are fed the task's own batches, and one process can compute the loss of one."""
    together = ranks.count() > 1 and built.device_settings.sync_batch_norm
    fed = type(built.method).feed is Method.feed and not isinstance(built.task, Collecting)
    return fed and not built.sharding and not together


# ------------------------------------------------------------------------------------------------------ the schedule


def check_schedules(built: Built, total: int, per_epoch: int) -> None:
    """Ask each schedule for the run's last rate, and one that follows a metric whether it is there.

    Places that a run of `total` steps doesn't reach are a note. Raises LabwrightError for what can't be followed.
    """
    for optimizer in built.optimizers.values():
        schedule = optimizer.lr_schedule
        schedule.begin(per_epoch, built.task.goal)
        optimizer.lr_at(total - 1, total)
        # where `valid` is there and wasn't measured, its metrics aren't known yet
        if isinstance(schedule, ReduceOnPlateau) and ("valid" in built.metrics or built.task.part("valid") is None):
            schedule.check(built.metrics.get("valid"))
        if isinstance(schedule, Step):
            built.notes += [
                f"optimizer.schedule: {place!r} isn't reached in a run of {total:,} steps: the rate doesn't fall there."
                for place in schedule.beyond(total)
            ]


# ------------------------------------------------------------------------------------------------- memory and room


def check_memory(built: Built, averages: bool) -> None:
    """Raises LabwrightError where gradients, the optimizer's state and averages alone need more memory than is free."""
    device = built.device
    if device.type == "cuda":
        free: int | None = torch.cuda.mem_get_info(device)[0]
    else:
        free = free_memory() if device.type == "cpu" else None
    needed = _of_trained(built, 1 + averages)
    if free is not None and needed > free:
        raise LabwrightError(
            f"device {device.type!r}: beside the weights a step needs {needed / _GB:,.1f} GB for gradients and what "
            f"the optimizer keeps, and {free / _GB:,.1f} GB are free. Make the model smaller, freeze parts of it "
            "(optimizer.groups), or take an optimizer that keeps less: sgd keeps nothing."
        )


def check_room(built: Built, averages: bool, folder: Path, count: int) -> None:
    """Raises LabwrightError where `count` checkpoints, which are there at once, don't fit into the folder's disk."""
    weights = sum(tensor.nbytes for tensor in built.model.state_dict().values() if isinstance(tensor, Tensor))
    training = _of_trained(built, int(averages))
    there = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), None)
    if there is None:
        return
    disk, needed = shutil.disk_usage(there), (weights + training) * count
    free = disk.free
    if disk.total and needed > free:  # some file systems say nothing of their size
        each = f", {count} of {(weights + training) / _MB:,.1f} MB each," if count > 1 else ""
        raise LabwrightError(
            f"the run's checkpoints need {needed / _MB:,.1f} MB{each} and {there} has {free / _MB:,.1f} MB of room. "
            "Make room there, give another --folder, or keep fewer of them: train.keep, train.save_every."
        )
    most = _largest_file()
    if most is not None and max(weights, training) > most:
        raise LabwrightError(
            f"the run's checkpoints have files of {max(weights, training) / _MB:,.1f} MB, and this process may write "
            f"files of {most / _MB:,.1f} MB at most: `ulimit -f` says so. Raise that, or make the model smaller."
        )


def _of_trained(built: Built, beside: int) -> int:
    """Bytes of the optimizers' state, with `beside` of the size of each parameter that is trained.

    The state of an optimizer that doesn't say what it will keep counts as nothing.
    """
    return sum(
        parameter.nbytes * (len(getattr(optimizer, "slots", ())) + beside)
        for optimizer in built.optimizers.values()
        for parameter in optimizer.parameters.values()
        if parameter.requires_grad
    )


def _largest_file() -> int | None:
    """Bytes that a file may have; None without a limit, and where the system has none."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
