"""Checks of losses, as their task calls them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from labwright import Batch, LabwrightError, separable
from torch import Tensor, nn

from labwright_testing.kit import NotApplicable, Subject, check


@check("loss")
def has_the_gradient_of_its_value(subject: Subject) -> None:
    """In float64 the gradient agrees with a central difference, along a random direction of the model's parameters.

    If not, part of it is detached, is computed under `no_grad`, or has a backward of its own that is wrong.
    """
    built = subject.built()
    built.model.double().eval()
    if isinstance(built.criterion, nn.Module):
        built.criterion.double()
    batch = _converted(subject.batch(4))
    draw = torch.Generator().manual_seed(0)
    for phase in built.optimizers:
        loss = subject.losses(built, batch)[phase]
        double = loss.dtype is torch.float64  # one that computes in float32 on purpose can't be looked at so closely
        far, rough = (1e-6, 1e-4) if double else (1e-3, 5e-2)
        # frozen ones, such as a teacher's, are not what it is minimised over
        parameters = [one for one in built.optimizers[phase].parameters.values() if one.requires_grad]
        directions = [torch.randn(one.shape, generator=draw, dtype=torch.float64) for one in parameters]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
        values = []
        for step in (far, -2 * far, far):  # there, beyond, and back
            with torch.no_grad():
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter.add_(direction, alpha=step)
            values.append(float(subject.losses(built, batch)[phase].detach()))
        difference = (values[0] - values[1]) / (2 * far)
        close = abs(slope - difference) <= rough * max(abs(difference), 1e-3)
        assert close, f"phase {phase}: the gradient's slope is {slope:.6g}, the difference quotient {difference:.6g}"


@check("loss")
def is_a_mean_that_uneven_batches_agree_on(subject: Subject) -> None:
    """The loss of 6 samples is the mean, by `Task.weight` or its `normalizer`, of those of the first and the others.

    A loss is a mean over samples or tokens, not a sum, and nothing in it depends on the size of the batch. One that
    compares samples with one another says so: `separable = False`.
    """
    built = subject.built()
    if not separable(built.criterion):
        raise NotApplicable("it compares the samples of a batch with one another")
    built.model.eval()
    batch = subject.batch(6)
    try:
        parts = [batch.rows(slice(0, 1)), batch.rows(slice(1, len(batch)))]
    except LabwrightError as error:  # of which the task's checks speak
        raise NotApplicable(str(error)) from error
    weights = [built.divisor(part) for part in parts]
    whole = subject.losses(built, batch)
    each = [subject.losses(built, one) for one in parts]
    for phase, loss in whole.items():
        mean = sum(w * float(one[phase].detach()) for w, one in zip(weights, each, strict=True)) / sum(weights)
        value = float(loss.detach())
        close = abs(value - mean) <= 1e-4 * max(abs(mean), 1e-2)
        assert close, f"phase {phase}: it is {value:.6g}, the mean of the parts {mean:.6g}"


def _converted(batch: Batch) -> Batch:
    def doubled(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.double() if value.is_floating_point() else value
        if isinstance(value, dict):
            return {key: doubled(inner) for key, inner in value.items()}
        return tuple(map(doubled, value)) if isinstance(value, tuple) else value

    return replace(batch, **{field.name: doubled(getattr(batch, field.name)) for field in fields(batch)})
