"""The update of SGD and of Adam, one elementwise formula each.

Hyper-parameters are numbers, or tensors with one value per trial that go along the first axis of stacked parameters.
There is no `maximize`: a loss is minimised.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Value = float | Tensor
State = dict[str, Tensor]


def sgd(
    parameter: Tensor,
    gradient: Tensor,
    state: State,
    *,
    lr: Value,
    weight_decay: Value = 0.0,
    momentum: Value = 0.0,
    dampening: Value = 0.0,
    nesterov: bool = False,
) -> None:
    """One update of stochastic gradient descent; `parameter` and `state` change in place.

    `state` is empty before the first update and then holds `momentum_buffer`, of the parameter's shape, if there is a
    momentum. The first buffer is the gradient itself, undampened. A hyper-parameter is a number, a scalar tensor, or
    one value per trial, shape (N,), for a parameter of shape (N, ...); a trial whose momentum is 0 is not dampened.

    Source: Sutskever et al. 2013, section 2, in the form of torch.optim.SGD.
    """
    if isinstance(momentum, Tensor) and _counts(dampening):
        dampening = torch.where(momentum == 0, 0.0, dampening)
    if _counts(weight_decay):
        gradient = _sum(gradient, parameter, weight_decay)
    if _counts(momentum):
        buffer = state.get("momentum_buffer")
        if buffer is None:
            buffer = state["momentum_buffer"] = torch.empty_like(parameter).copy_(gradient)
        else:
            _add_(buffer.mul_(_along(momentum, buffer)), gradient, 1 - dampening)
        gradient = _sum(gradient, buffer, momentum) if nesterov else buffer
    _add_(parameter, gradient, -lr)


def adam(
    parameter: Tensor,
    gradient: Tensor,
    state: State,
    *,
    step: Value,
    lr: Value,
    weight_decay: Value = 0.0,
    betas: tuple[Value, Value] = (0.9, 0.999),
    eps: Value = 1e-8,
    amsgrad: bool = False,
    decoupled: bool = False,
) -> None:
    """Update number `step`, counted from 1, of Adam; `parameter` and `state` change in place.

    `state` is empty before the first update and then holds `exp_avg` and `exp_avg_sq`, with `amsgrad` also
    `max_exp_avg_sq`, of the parameter's shape. `decoupled` takes the weight decay from the parameter instead of adding
    it to the gradient. A hyper-parameter is a number, a scalar tensor, or one value per trial, shape (N,), for a
    parameter of shape (N, ...); give tensors in float64, since 1 - beta**step loses digits in float32.

    Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2 (decoupled); Reddi et al. 2018,
    algorithm 2 (amsgrad), in the form of torch.optim.Adam: the maximum is taken before the bias correction.
    """
    if not state:
        state.update({slot: torch.zeros_like(parameter) for slot in adam_slots(amsgrad)})
    if parameter.is_complex():
        parameter, gradient = torch.view_as_real(parameter), torch.view_as_real(gradient)
        state = {slot: torch.view_as_real(value) for slot, value in state.items()}
    beta1, beta2 = betas
    if _counts(weight_decay):
        if decoupled:
            parameter.mul_(_along(1 - lr * weight_decay, parameter))
        else:
            gradient = _sum(gradient, parameter, weight_decay)
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.lerp_(gradient, _along(1 - beta1, mean))
    _add_(square.mul_(_along(beta2, square)), gradient * gradient, 1 - beta2)
    if amsgrad:
        square = torch.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    scale = square.sqrt().div_(_along(correction2**0.5, square)).add_(_along(eps, square))
    _add_(parameter, mean / scale, -(lr / correction1))


def _sum(one: Tensor, other: Tensor, factor: Value) -> Tensor:
    """one + other * factor."""
    if isinstance(factor, Tensor):
        return torch.addcmul(one, other, _along(factor, one))
    return torch.add(one, other, alpha=factor)


def _add_(target: Tensor, other: Tensor, factor: Value) -> Tensor:
    """target += other * factor, in place."""
    if isinstance(factor, Tensor):
        return target.addcmul_(other, _along(factor, target))
    return target.add_(other, alpha=factor)


def _along(value: Any, like: Tensor) -> Any:
    """A hyper-parameter so that it goes along the first axis of `like`."""
    if not isinstance(value, Tensor):
        return value
    value = value.to(like.dtype)
    return value.reshape(-1, *(1,) * (like.dim() - 1)) if value.dim() else value


def _counts(value: Value) -> bool:
    """Whether a term with this factor is computed: a tensor's values are not looked at."""
    return isinstance(value, Tensor) or value != 0


def adam_slots(amsgrad: bool) -> tuple[str, ...]:
    return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
