"""Gradients and runs that optimizers are tested with, beside those of torch.optim."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from labwright import Optimizer
from torch import Tensor, nn

SHAPES = {"body.weight": (5, 3), "body.bias": (5,), "head.weight": (1, 5), "scale": ()}
Parameters = dict[str, nn.Parameter]
Gradients = Callable[[int, str, Tensor], Tensor | None]


def new_parameters(dtype: torch.dtype = torch.float64) -> Parameters:
    generator = torch.Generator().manual_seed(0)
    return {name: nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for name, shape in SHAPES.items()}


def noisy(step: int, name: str, value: Tensor) -> Tensor:
    """The gradient of a bowl, with noise that depends on the step and the name alone."""
    return value + noise(step * 100 + list(SHAPES).index(name), value.shape, value.dtype)


@functools.cache
def noise(seed: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def with_gaps(step: int, name: str, value: Tensor) -> Tensor | None:
    """As `noisy`, but in some steps some parameters, or all, have no gradient; all have one in step 0."""
    if step % 7 == 3 or (name == "scale" and step % 2) or (name == "body.bias" and 0 < step < 5):
        return None
    return noisy(step, name, value)


def late(step: int, name: str, value: Tensor) -> Tensor | None:
    """As `with_gaps`, but two parameters have their first gradient later than the others, and one has none at all."""
    if (name == "body.bias" and step < 4) or (name == "scale" and step < 9) or name == "head.weight":
        return None
    return with_gaps(step, name, value)


def set_gradients(parameters: Parameters, step: int, gradients: Gradients) -> None:
    for name, parameter in parameters.items():
        parameter.grad = gradients(step, name, parameter.detach())


def train(optimizer: Optimizer, steps: range, *, gradients: Gradients = noisy, found_inf: Tensor | None = None) -> None:
    for step in steps:
        set_gradients(optimizer.parameters, step, gradients)
        optimizer.step(optimizer.lr_at(step, 200), found_inf)


def train_theirs(
    theirs: torch.optim.Optimizer, parameters: Parameters, ours: Optimizer, steps: int, gradients: Gradients = noisy
) -> None:
    """torch.optim's run with the rates of `ours`, given group by group."""
    for step in range(steps):
        set_gradients(parameters, step, gradients)
        for group, (_, factor, _) in zip(theirs.param_groups, ours.groups, strict=True):
            group["lr"] = ours.lr_at(step, 200) * factor
        theirs.step()


def their_groups(ours: Optimizer, parameters: Parameters) -> list[dict[str, Any]]:
    return [{"params": [parameters[n] for n in names], "weight_decay": decay} for names, _, decay in ours.groups]


def values(parameters: Parameters) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def assert_equal(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, Tensor):
            assert torch.equal(value, other[key]), key
        else:
            assert_equal(value, other[key])


def assert_within(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    """The largest difference in a tensor is within a share of its largest value."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert (value - other[name]).abs().max() <= tolerance * other[name].abs().max(), name


def copied(state: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    return {name: {slot: tensor.clone() for slot, tensor in slots.items()} for name, slots in state.items()}
