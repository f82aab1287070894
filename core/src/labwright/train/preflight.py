"""What goes wrong before anything is written: metrics, models, files, batches of one, losses that can't be cut.

A batch of each part that is measured is measured, and the plugins are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from traceback import walk_tb
from warnings import catch_warnings

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm

from labwright.base import ranks
from labwright.base.errors import LabwrightError, words
from labwright.base.isolation import isolated
from labwright.base.memory import out_of_memory
from labwright.base.seeding import derived_seed, generator
from labwright.data.batching import IndexedBatches, micro_batches
from labwright.data.dataset import Batch
from labwright.interfaces.closed_form import ClosedForm
from labwright.train import evaluation
from labwright.train.built import Built
from labwright.train.phase_step import Objective, summed
from labwright.train.settings import Train

_DROPOUT = (nn.modules.dropout._DropoutNd, nn.MultiheadAttention, nn.RNNBase)  # some have a dropout of their own
_CLOSE = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 5e-2}  # relative: rounding apart, a loss is what its parts are


def preflight(built: Built, train: Train, asked: Callable[[], object] = lambda: None) -> None:
    """Try what was built, which has its metrics and notes then, and let plugins look at it too.

    Nothing is measured of a model in closed form, which isn't fitted yet. Raises LabwrightError for metrics that a
    batch can't be evaluated with, for a batch of one sample under BatchNorm, for a loss that isn't the mean of its
    micro-batches' losses where `device.accumulate` cuts batches, and for whatever breaks meanwhile.

    Args:
        built: of an experiment.
        train: its settings.
        asked: lets them look, within what keeps random numbers, modes and buffers as they are.
    """
    if built.device_settings.precision == "bf16" and built.device.type == "cpu" and _emulates_bf16():
        built.notes.append("this processor only emulates bf16, many times slower than device.precision=fp32.")
    batches = built.task.batches("train", size=train.batch_size, seed=train.seed, epoch=0, whole=train.drop_last)
    with isolated(built.device, seed=derived_seed(train.seed, 8)):
        if isinstance(built.model, ClosedForm):
            needed = built.model.cost().get("fit_memory_bytes", 0)
            built.notes += [f"computing the model takes {needed / 1e9:.1f} GB of memory."] * (needed >= 1e9)
        elif batches is not None and built.optimizers:
            _tried(built, train, batches)
        with _trying(built, "a first batch of `train`"):
            ranks.by_first(asked)


def _emulates_bf16() -> bool:
    """Whether the processor lacks what oneDNN computes bf16 with: AVX-512 on x86."""
    with_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return with_onednn and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _tried(built: Built, train: Train, batches: IndexedBatches) -> None:
    accumulate = built.device_settings.accumulate
    size = train.batch_size // accumulate
    smallest = min(batches.parts, key=lambda part: _smallest(len(part), size), default=None)
    normed = any(isinstance(module, _BatchNorm) for module in built.model.modules())
    if normed and smallest is not None and _smallest(len(smallest), size) <= 1:
        with _trying(built, "a batch of one sample"):
            batch = built.task.draw(batches.split.fetch(smallest, 0, train.seed), generator(0))
            for phase in built.task.phases():
                _loss(built, phase.name, batch.rows(slice(len(batch) - 1, None)))
    # a metric that can't be computed would end the run after an epoch
    for split in ("valid", "test", *["train"] * bool(train.evaluate_train)):
        with _trying(built, f"a first batch of `{split}`"), catch_warnings(action="ignore"):  # of a class it lacks
            evaluated = built.evaluate(split, size=max(train.batch_size, 2), seed=train.seed, most=1)
        built.metrics |= {} if evaluated is None else {split: evaluated.metrics}
    if accumulate > 1 and len(batches.parts):
        whole = built.task.draw(batches.split.fetch(batches.parts[0][: 2 * size], 0, train.seed), generator(0))
        _check_cut(built, size, whole)
    built.notes += _differences(built) if accumulate > 1 else []


def _smallest(length: int, size: int) -> int:
    """Of the micro-batches of a batch, the samples of the smallest share of a process."""
    return length // ranks.count() // len(micro_batches(length, size))


@contextmanager
def _trying(built: Built, what: str) -> Iterator[None]:
    """Within it model and loss are tried, and are as before after it; what breaks in them is LabwrightError."""
    parts = [part for part in (built.model, built.criterion) if isinstance(part, nn.Module)]
    before = [(vars(module), dict(vars(module))) for part in parts for module in part.modules()]  # modes and counts too
    owners = [attributes["_buffers"] for _, attributes in before]
    buffers = [(own, name, one, one.clone()) for own in owners for name, one in own.items() if one is not None]
    try:
        yield
    except LabwrightError:
        raise
    except Exception as error:
        why = f"{what} fails{_within(built.model, error)}."
        if "more than 1 value per channel" in str(error):
            why = (
                "train.batch_size: an epoch's last batch or micro-batch has only one, and BatchNorm has no statistics "
                "of one. train.drop_last=true leaves that batch out, another batch size avoids it."
            )
        elif out_of_memory(error):
            why = f"{what} needs more memory than there is; device.accumulate=2 takes half of it."
        raise LabwrightError(why) from error
    finally:
        for attributes, were in before:
            attributes.update(were)
        with torch.no_grad():
            for own, name, buffer, before in buffers:
                own[name] = buffer.copy_(before)  # there may be another tensor in its place


def _within(model: nn.Module, error: BaseException) -> str:
    """An error and where it was raised: in which metric or layer, given what shapes; the last line outside torch."""
    names, place, at = {module: name for name, module in model.named_modules()}, "", ""
    for frame, line in walk_tb(error.__traceback__):
        here, file = frame.f_locals, Path(frame.f_code.co_filename)
        at = at if "torch" in file.parts else f"{file.name}, line {line}"
        if frame.f_globals["__name__"] == evaluation.__name__ and "metric" in here and "name" in here:
            place = f" in metric {here['name']!r}"
        elif frame.f_code.co_name == "_call_impl" and isinstance(here["self"], nn.Module) and here["self"] in names:
            layer, shapes = here["self"], [str(tuple(one.shape)) for one in here["args"] if isinstance(one, Tensor)]
            whose = f"layer {names[layer]!r} of the model" if names[layer] else "the model"
            place = f" in {whose}, {type(layer).__name__}({layer.extra_repr()}), given {' and '.join(shapes)}"
    return f"{place}: {words(error)} ({at})"


def _check_cut(built: Built, size: int, batch: Batch) -> None:
    """Compares the loss of two micro-batches together with their mean, where the model itself draws nothing."""
    pieces = [batch.rows(some) for some in micro_batches(len(batch), size)]
    weights = [built.divisor(piece) for piece in pieces]
    with _trying(built, "the loss of micro-batches"):
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
