"""What goes wrong before a run has a folder: metrics, batches BatchNorm can't take, losses that can't be cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from warnings import catch_warnings

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm

from labwright.base import ranks
from labwright.base.errors import LabwrightError
from labwright.base.isolation import isolated
from labwright.base.seeding import derived_seed, generator
from labwright.data.batching import micro_batches
from labwright.data.dataset import Batch
from labwright.interfaces.closed_form import ClosedForm
from labwright.train.built import Built
from labwright.train.evaluation import modes_kept
from labwright.train.phase_step import Objective, summed
from labwright.train.settings import Train

_DROPOUT = (nn.modules.dropout._DropoutNd, nn.MultiheadAttention, nn.RNNBase)  # some have a dropout of their own
_MUCH = 10**9  # bytes
_CLOSE = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 5e-2}  # relative: rounding apart, a loss is what its parts are


def preflight(built: Built, train: Train) -> list[str]:
    """What a person should know of an experiment that was built, a sentence each.

    Raises LabwrightError for metrics that one batch can't be evaluated with, for a batch of one sample under BatchNorm,
    for a loss that isn't the mean of its micro-batches' losses where `device.accumulate` cuts batches, and for a model
    in closed form that needs more memory than there is.
    """
    batches = built.task.batches("train", size=train.batch_size, seed=train.seed, epoch=0, whole=train.drop_last)
    if isinstance(built.model, ClosedForm):
        return _taken(built.model)
    if batches is None or not built.optimizers:
        return []
    accumulate = built.device_settings.accumulate
    size = train.batch_size // accumulate
    smallest = min(batches.parts, key=lambda part: _smallest(len(part), size), default=None)
    normed = any(isinstance(module, _BatchNorm) for module in built.model.modules())
    with isolated(built.device, seed=derived_seed(train.seed, 8)):
        if normed and smallest is not None and _smallest(len(smallest), size) <= 1:
            batch = _drawn(built, batches.split.fetch(smallest, 0, train.seed))
            _check_one(built, train, batch.rows(slice(len(batch) - 1, None)))
        with _kept(built.model), catch_warnings(action="ignore"):  # of what one batch lacks, such as a class
            for split in ("valid", "test"):  # a metric that can't be computed would end the run after an epoch
                built.evaluate(split, size=max(train.batch_size, 2), seed=train.seed, most=1)
        if accumulate > 1 and len(batches.parts):
            whole = _drawn(built, batches.split.fetch(batches.parts[0][: 2 * size], 0, train.seed))
            _check_cut(built, size, whole)
    return _differences(built) if accumulate > 1 else []


def _smallest(length: int, size: int) -> int:
    """Of the micro-batches of a batch, the samples of the smallest share of a process."""
    return length // ranks.count() // len(micro_batches(length, size))


def _taken(model: ClosedForm) -> list[str]:
    needed = model.cost().get("fit_memory_bytes", 0)
    return [f"computing the model takes {needed / 1e9:.1f} GB of memory."] if needed >= _MUCH else []


def _drawn(built: Built, batch: Batch) -> Batch:
    drawn: Batch = built.task.draw(batch, generator(0))
    return drawn


def _check_one(built: Built, train: Train, one: Batch) -> None:
    with _kept(built.model):
        try:
            for phase in built.task.phases():
                _loss(built, phase.name, one)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise LabwrightError(
                f"train.batch_size: with {train.batch_size} samples at once an epoch's last batch or micro-batch has "
                "only one, and BatchNorm has no statistics of one. train.drop_last=true leaves that batch out, another "
                "batch size avoids it."
            ) from error


def _check_cut(built: Built, size: int, batch: Batch) -> None:
    """Compares the loss of two micro-batches together with their mean, where the model itself draws nothing."""
    pieces = [batch.rows(some) for some in micro_batches(len(batch), size)]
    if len(pieces) < 2:
        return
    weights = [built.divisor(piece) for piece in pieces]
    with _kept(built.model):
        built.model.eval()
        for phase in built.task.phases():
            whole, again = (float(_loss(built, phase.name, batch).detach()) for _ in range(2))
            parts = [float(_loss(built, phase.name, piece).detach()) for piece in pieces]
            mean = sum(w * part for w, part in zip(weights, parts, strict=True)) / (sum(weights) or 1.0)
            far = _CLOSE[built.device_settings.precision] * max(1e-3, abs(whole))
            if whole == again and abs(mean - whole) > far:
                raise LabwrightError(
                    f"device.accumulate cuts a batch into micro-batches of {size}, and the loss of phase "
                    f"{phase.name!r} is not the mean of theirs: {whole:.6g} over {len(batch)} samples, {mean:.6g} over "
                    "their parts. It compares samples with one another, or divides by something of its own (which a "
                    "Loss says by `normalizer`). Leave device.accumulate out."
                )


def _loss(built: Built, phase: str, batch: Batch) -> Tensor:
    objective = Objective(built.task, built.model, built.criterion, phase, {})
    moved = batch if built.device.type == "cpu" else batch.to(built.device)
    around = built.sharding.around(objective, ())[0] if built.sharding else objective
    with built.device_settings.autocast(built.device) or nullcontext():
        return summed(around(moved))


@contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Within it a model may be tried; after it buffers and modes are as before."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with modes_kept(model):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def _differences(built: Built) -> list[str]:
    """Why an accumulated run isn't bit for bit, or not in its last digits, the one that isn't cut."""
    modules = list(built.model.modules())
    why = []
    if any(isinstance(module, _BatchNorm) for module in modules):
        why.append("BatchNorm takes its statistics from micro-batches")
    if any(isinstance(module, _DROPOUT) and getattr(module, "p", getattr(module, "dropout", 0)) for module in modules):
        why.append("dropout draws for each micro-batch")
    if any(isinstance(module, _SpectralNorm) for module in modules):
        why.append("spectral normalisation takes a power iteration for each micro-batch")
    if built.device_settings.precision != "fp32":
        why.append(f"{built.device_settings.precision} rounds each micro-batch's gradients")
    accumulate = built.device_settings.accumulate
    return [f"device.accumulate={accumulate} is not the same update as without: {'; '.join(why)}."] if why else []
