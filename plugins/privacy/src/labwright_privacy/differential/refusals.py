"""What can't be trained with differential privacy, and what a private run gives away beside its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from labwright import (
    Batch,
    ClosedForm,
    Collecting,
    IndexedBatches,
    LabwrightError,
    Port,
    Stateful,
    Task,
    generator,
    listed,
    separable,
)
from labwright_tasks.losses import CrossEntropy
from labwright_tasks.weights import weights_in
from torch import Tensor, nn

_SEEN = 4  # samples that are put beside others
_ABOUT_DATA = {"read.json", "facts.json", "checksums.json"}  # what a run's folder says of its data anyway


def refuse_model(model: nn.Module) -> None:
    """Raises LabwrightError for a model that mixes samples, or that isn't descended to."""
    kind = type(model).__name__
    if isinstance(model, ClosedForm):
        raise LabwrightError(
            f"method: model {kind} is computed from all of the data in closed form, without gradients that noise could "
            "be added to. Take a model that is descended to."
        )
    for name, module in model.named_modules():
        layer = type(module).__name__
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise LabwrightError(
                f"method: {name!r} of model {kind} is {layer}, which mixes the samples of a batch and keeps their mean "
                "without noise. Take a model with GroupNorm or LayerNorm in its place, such as 'vision/cnn' with "
                "norm = 'group' or 'vision/timm' with an architecture that has them, or one without."
            )
        if isinstance(module, nn.modules.instancenorm._InstanceNorm) and module.track_running_stats:
            raise LabwrightError(
                f"method: {name!r} of model {kind} keeps running statistics of the samples without noise. Make it "
                "with track_running_stats=False."
            )
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            raise LabwrightError(
                f"method: the gradient of {name!r} of model {kind} is sparse, and which rows it has would be seen "
                "through the noise. Make it with sparse=False."
            )


def refuse_task(task: Task) -> None:
    """Raises LabwrightError for a task whose steps see more of the data than the gradients of single samples."""
    kind = type(task).__name__
    if len(task.phases()) > 1:
        names = listed(phase.name for phase in task.phases())
        raise LabwrightError(
            f"method: task {kind} has the phases {names}, each an update of its own from the same samples; what all of "
            "them spend isn't accounted here. Take a task of one phase."
        )
    if isinstance(task, Collecting):
        raise LabwrightError(
            f"method: task {kind} makes its own training data, of which nothing is a row or a user to protect. Take a "
            "task over data."
        )
    if isinstance(task, Stateful):
        raise LabwrightError(
            f"method: task {kind} keeps a state of its own from step to step, to which no noise is added: what earlier "
            "samples left in it would reach the weights again. Take a task without."
        )
    if task.replacement:
        raise LabwrightError(
            f"method: task {kind} draws its samples by what they are (task.sampling), so that one sample changes how "
            "often others are drawn. Leave it out: each unit is drawn by chance alone here."
        )


def refuse_samples_in(model: nn.Module, inputs: Port) -> None:
    """Raises LabwrightError for a model that keeps training samples which its port holds, such as a graph of them."""
    held = [name for name, value in vars(inputs).items() if isinstance(value, Tensor) and value.numel()]
    buffers = [name for name, _ in model.named_buffers()]
    if held and buffers:
        raise LabwrightError(
            f"method: model {type(model).__name__} keeps what its inputs say of the training part ({listed(held)}, in "
            f"{listed(buffers)}), to which no noise is added. Take a model of weights alone, such as 'recsys/bpr-mf'."
        )


def _losses(criterion: Any, task: Task) -> Iterator[Any]:
    """The recipe's loss and those that a task holds itself, each with what is within."""
    held = [one for value in vars(task).values() for one in (value.values() if isinstance(value, dict) else [value])]
    for loss in (criterion, *(one for one in held if isinstance(one, nn.Module))):
        yield from loss.modules() if isinstance(loss, nn.Module) else [loss]


def refuse_loss(criterion: Any, task: Task) -> None:
    """Raises LabwrightError for a loss that compares samples, that counts them, or that learns."""
    for loss in _losses(criterion, task):
        if isinstance(loss, CrossEntropy) and loss.weights == "balanced":
            raise LabwrightError(
                f"loss: {type(loss).__name__} weighs each class by how many samples it has, which are counted without "
                'noise. Leave weights = "balanced" out.'
            )
        if not separable(loss):
            raise LabwrightError(
                f"loss: {type(loss).__name__} compares the samples of a batch with one another, so that none has a "
                "gradient of its own to bound. Take a loss that is a mean over samples."
            )
    if isinstance(criterion, nn.Module) and any(p.requires_grad for p in criterion.parameters()):
        raise LabwrightError(
            f"loss: {type(criterion).__name__} learns parameters of its own, whose gradients 'privacy/dp-sgd' doesn't "
            "take. Take a loss without."
        )


def refuse_class_weights(criterion: Any, task: Task) -> None:
    """Raises LabwrightError for a loss that divides by the weights of classes: of one sample alone they cancel."""
    for loss in _losses(criterion, task):
        of_torch = isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) and loss.reduction == "mean"
        if (isinstance(loss, CrossEntropy) and loss.weights is not None) or (of_torch and loss.weight is not None):
            raise LabwrightError(
                f"loss: {type(loss).__name__} weighs samples by their classes, and here each unit counts alike, as no "
                "more of it than the bound may. Leave the weights out."
            )


def refuse_recipe(recipe: Mapping[str, Any]) -> None:
    """Raises LabwrightError for settings that would let more of the data through than is accounted."""
    train, device = recipe.get("train", {}), recipe.get("device", {})
    if train.get("final") == "best":
        raise LabwrightError(
            'train.final: "best" chooses the weights by how well they do on samples without noise, which isn\'t '
            "accounted. Leave it out: a private run ends with its last weights."
        )
    if any(rule.get("name") != "seconds" for rule in recipe.get("stop", ())):
        raise LabwrightError(
            "stop: a rule that ends the run looks at metrics without noise, and how long a run was tells of them. Take "
            "the rules out, and say train.epochs or train.steps."
        )
    if device.get("precision") == "fp16":
        raise LabwrightError(
            "device.precision: fp16 scales gradients by what overflowed before, which is known without noise; take "
            '"bf16" or "fp32".'
        )
    if device.get("compile"):
        raise LabwrightError(
            "device.compile: what is compiled can't be differentiated for each sample by torch.func. Leave it out."
        )
    if device.get("accumulate", 1) > 1:
        raise LabwrightError(
            "device.accumulate: the number of samples of a step is drawn by chance here, and method.at_once says how "
            "many go through the model together; leave accumulate out."
        )


def refuse_mixing(task: Task, batches: IndexedBatches) -> None:
    """Raises LabwrightError if what the objective sees of a sample depends on those that are drawn with it."""
    count = min(_SEEN, (len(batches.split) - 1) // 2)
    if count < 1:
        return
    first, others_N = torch.tensor([0]), torch.arange(1, len(batches.split))
    seen = []
    for others in (others_N[:count], others_N[-count:]):
        batch = batches.split.fetch(torch.cat([first, others]), 0, 0)
        drawn: Batch = task.draw(batch, generator(0))
        if any(weights_in(one) is not None for one in (batch, drawn)):
            raise LabwrightError(
                "task.data.weight: samples are weighed there, and here each unit counts alike, as no more of it "
                "than the bound may. Leave the weights out."
            )
        seen.append(drawn.rows(slice(0, 1)))
    if differing := sorted(name for name, same in _compared(*seen) if not same):
        raise LabwrightError(
            f"task: what the loss sees of a sample of {type(task).__name__} depends on the others in its batch "
            f"({', '.join(differing)} of {type(seen[0]).__name__}): then a bound on its own gradient bounds nothing. "
            "Take a task whose samples stand alone."
        )


def _compared(one: Batch, other: Batch) -> Iterator[tuple[str, bool]]:
    """The fields of two batches of the same sample, and whether they are the same, padding apart."""
    for name in (field.name for field in fields(one)):
        yield name, _same(getattr(one, name), getattr(other, name))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        # another number of columns is another padding
        return one.shape != other.shape or torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def learned_from_data(task: Task) -> list[str]:
    """The files that say what `prepare` learned of the data, such as a vocabulary."""
    with TemporaryDirectory(prefix="labwright-") as scratch:
        task.save(Path(scratch))
        files = (path.relative_to(scratch) for path in Path(scratch).rglob("*") if path.is_file())
        return sorted(str(file) for file in files if file.name not in _ABOUT_DATA)
