"""PCGrad: the gradients of several tasks, without what works against one another. K parts, P numbers they share."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from labwright import LabwrightError, Method, Task, Update, ranks
from torch import Generator, Tensor, nn

from labwright_tasks.classification import Classification
from labwright_tasks.sam import refuse_without_dense_gradients

_PENALTY = "penalty"  # what the core calls the part of a penalty on the weights

Gradients = list[Tensor | None]  # by each of the update's parameters; None where nothing depends on it


class ProjectedGradients(Method):
    """Take from each part's gradient what points against another part's, then add them up.

    For the named parts of a loss, such as those of task `multi`. Each part's gradient is projected onto the plane
    normal to that of every other it conflicts with (a negative inner product), in an order drawn anew for each part and
    step. Inner products are over the parameters that at least two parts depend on; other gradients are left as they
    are, and so is that of a penalty on weights. A step costs a backward pass for each part. `device.accumulate` changes
    nothing: gradients are projected once they are whole. Heads of `joined` data have updates of their own, which never
    conflict.
    Source: Yu et al. 2020, algorithm 1.
    """

    divisible = True

    def check(self, task: Task, model: nn.Module) -> None:
        refuse_without_dense_gradients("pcgrad", model)
        returned = inspect.get_annotations(type(task).loss).get("return")
        alone = isinstance(task, Classification) and task.teaching is None
        if alone or returned in ("Tensor", "torch.Tensor", Tensor):
            raise _without_parts(f"task {type(task).__name__}")

    def gradients(self, update: Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        # drawn first, so that it depends neither on the model's dropout nor on the number of micro-batches
        order = Generator().manual_seed(ranks.shared(int(torch.randint(2**62, ()))))
        gradients, losses = _of_parts(update, batches, weights)
        penalty = gradients.pop(_PENALTY, None)
        summed = without_conflicts(list(gradients.values()), order)
        summed = summed if penalty is None else _sums([summed, penalty])
        for parameter, gradient in zip(update.parameters, summed, strict=True):
            # a tensor of its own, laid out as the parameter is: optimizers and clipping count on both
            parameter.grad = None if gradient is None else torch.empty_like(parameter).copy_(gradient)
        whole = torch.stack(tuple(losses.values())).sum()
        return {update.name: whole, **{f"{update.name}/{part}": loss for part, loss in losses.items()}}


def without_conflicts(gradients: Sequence[Gradients], order: Generator) -> Gradients:
    """The sum of several parts' gradients, each projected on the others it conflicts with."""
    summed = _sums(gradients)
    counts = [sum(gradient is not None for gradient in of_one) for of_one in zip(*gradients, strict=True)]
    shared = [(at, total) for at, total in enumerate(summed) if counts[at] > 1 and total is not None]
    if shared:
        flat_KP = torch.stack([torch.cat([_flat(part[at], total) for at, total in shared]) for part in gradients])
        whole_P = mixture(flat_KP @ flat_KP.T, order).sum(0) @ flat_KP
        pieces = torch.split(whole_P, [total.numel() for _, total in shared])
        for (at, total), piece in zip(shared, pieces, strict=True):
            summed[at] = piece.view(total.shape)
    return summed


def mixture(gram_KK: Tensor, order: Generator) -> Tensor:
    """What of each gradient is in each projected one, (K, K), from the inner products of all with all.

    Row k holds the factors of the sum that gradient k becomes: 1 for itself, and for another what undoes a conflict.
    """
    count = len(gram_KK)
    mix_KK = torch.eye(count, dtype=gram_KK.dtype, device=gram_KK.device)
    for part in range(count):
        for other in torch.randperm(count, generator=order).tolist():
            if other != part:
                conflict = (mix_KK[part] @ gram_KK[:, other]).clamp(max=0)
                mix_KK[part, other] -= conflict / gram_KK[other, other].clamp(min=torch.finfo(gram_KK.dtype).tiny)
    return mix_KK


def _of_parts(
    update: Update, batches: Sequence[Any], weights: Sequence[float]
) -> tuple[dict[str, Gradients], dict[str, Tensor]]:
    """The gradient and the loss of each part, means over all micro-batches."""
    gradients: dict[str, Gradients] = {}
    losses: dict[str, Tensor] = {}
    for batch, weight in zip(batches, weights, strict=True):
        parts = update.losses(batch)
        if isinstance(parts, Tensor):
            raise _without_parts("this run")
        for number, (name, part) in enumerate(parts.items(), 1):
            share = part * weight
            # they come from one graph, which is given back with the last of them
            derivative = list(update.derivative(share, keep=number < len(parts)))
            gradients[name] = _sums([gradients[name], derivative]) if name in gradients else derivative
            losses[name] = losses[name] + share.detach() if name in losses else share.detach()
    return gradients, losses


def _sums(gradients: Sequence[Gradients]) -> Gradients:
    known = [[gradient for gradient in of_one if gradient is not None] for of_one in zip(*gradients, strict=True)]
    return [reduce(torch.add, each) if each else None for each in known]


def _flat(gradient: Tensor | None, like: Tensor) -> Tensor:
    return (torch.zeros_like(like) if gradient is None else gradient).flatten()


def _without_parts(whose: str) -> LabwrightError:
    return LabwrightError(
        f"method: 'pcgrad' projects the gradients of a loss's named parts on one another, and the loss of {whose} "
        "has none: it is a single number. Task 'multi' has a part for each head; or leave the method out."
    )
