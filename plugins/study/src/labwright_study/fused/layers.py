"""Layers over stacks: one call for N trials. N trials, B batch, D and E features, C channels, V rows of a table.

A rule is called with the layer, its own parameters and buffers as stacks (N, ...) by name, and its inputs as stacks.
It returns the stack of the outputs, or NotImplemented for what it doesn't do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from labwright_study.fused.batching import as_stack, as_trial, at_level
from labwright_study.fused.functions import Functions, feature_shape

Stacks = Mapping[str, Tensor]

DROPOUTS = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}  # whole channels?


@runtime_checkable
class Grouped(Protocol):
    """A layer, or a loss, that can go over stacks: give a module of a plugin this method, and fused trials use it."""

    def grouped(self, stacks: Stacks, *inputs: Tensor) -> Tensor:
        """What `forward` returns, for N trials at once.

        `stacks` has the module's own parameters and buffers, (N, ...) by name, and the floats that differ between
        trials, (N,); `inputs` are those of forward, (N, ...). Buffers may be changed in place. NotImplemented leaves
        the call to forward.
        """
        ...


def install_dropouts(shell: nn.Module, models: Sequence[nn.Module], functions: Functions) -> None:
    """Let the dropouts of a shell draw as those of the models do, each for its own trial."""
    for path, module in shell.named_modules():
        if type(module) in DROPOUTS:
            shares: list[Any] = [model.get_submodule(path).p for model in models]
            _give(module, _Dropout(module, shares, functions))


def install_rules(
    shell: nn.Module,
    stacks: Mapping[str, Tensor],
    values: Iterable[tuple[nn.Module, str, Tensor]],
    functions: Functions,
) -> None:
    """Let the layers of a shell that are known go over stacks.

    Args:
        shell: A model or a loss.
        stacks: Its parameters and buffers, (N, ...) by their place in it.
        values: The floats that differ between trials, (N,), with the module and the attribute they belong to.
        functions: What knows how many trials there are, and at which level they are computed.
    """
    values = list(values)
    for path, module in shell.named_modules():
        rule = rule_of(module)
        if rule is not None:
            prefix = f"{path}." if path else ""
            own = {
                place.removeprefix(prefix): stack
                for place, stack in stacks.items()
                if place.startswith(prefix) and "." not in place.removeprefix(prefix)
            }
            own |= {key: floats for owner, key, floats in values if owner is module}
            _give(module, _OverStacks(module, rule, own, functions))


def rule_of(module: nn.Module) -> Callable[..., Any] | None:
    """How a module goes over stacks: its own way, or that of torch's layers."""
    if isinstance(module, Grouped):
        return _its_own
    return _RULES.get(type(module))


def _give(module: nn.Module, forward: Any) -> None:
    module.forward = forward


class _Dropout:
    def __init__(self, module: Any, shares: list[float], functions: Functions) -> None:
        self.module, self.shares, self.functions = module, shares, functions
        self.of_channels = DROPOUTS[type(module)]

    def __call__(self, x: Tensor) -> Tensor:
        if not self.module.training:
            return x
        shape = feature_shape(x) if self.of_channels else None
        return self.functions.masks.dropout(x, self.shares, self.functions.level, shape)


class _OverStacks:
    """A module's forward that goes over stacks, outside of any gradient that the trial itself takes."""

    def __init__(self, module: nn.Module, rule: Callable[..., Any], own: Stacks, functions: Functions) -> None:
        self.module, self.rule, self.own, self.functions = module, rule, own, functions

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        level = self.functions.level
        if named or not at_level(level):
            return type(self.module).forward(self.module, *inputs, **named)
        count = self.functions.count
        stacks = [as_stack(each, level, count) if isinstance(each, Tensor) else each for each in inputs]
        output = self.rule(self.module, self.own, *stacks)
        if output is NotImplemented:
            return type(self.module).forward(self.module, *inputs)
        return as_trial(output, level)


def _its_own(module: Any, own: Stacks, *inputs: Tensor) -> Any:
    return module.grouped(own, *inputs)


def _linear(layer: nn.Linear, own: Stacks, x_ND: Tensor) -> Any:  # noqa: ARG001 - as all rules
    weight_NED, bias_NE = own["weight"], own.get("bias")
    if x_ND.dim() < 3:
        return NotImplemented
    if x_ND.dim() == 3:  # the weights first: their gradients then lie as they do, which saves a copy
        x_NDB = x_ND.transpose(1, 2)
        if bias_NE is None:
            return torch.bmm(weight_NED, x_NDB).transpose(1, 2)
        return torch.baddbmm(bias_NE[:, :, None], weight_NED, x_NDB).transpose(1, 2)
    x_NBD, weight_NDE = x_ND.flatten(1, -2), weight_NED.transpose(1, 2)  # so that the result lies as attention wants it
    y_NBE = torch.bmm(x_NBD, weight_NDE) if bias_NE is None else torch.baddbmm(bias_NE[:, None], x_NBD, weight_NDE)
    return y_NBE.view(*x_ND.shape[:-1], -1)


def _embedding(layer: nn.Embedding, own: Stacks, ids: Tensor) -> Any:
    """One table of N * V rows."""
    if layer.max_norm is not None or layer.scale_grad_by_freq or layer.sparse:
        return NotImplemented
    table_NVD = own["weight"]
    count, rows = table_NVD.shape[:2]
    first_N = torch.arange(0, count * rows, rows, device=ids.device)
    rows_of_ids = functional.embedding(ids + first_N.view(-1, *(1,) * (ids.dim() - 1)), table_NVD.flatten(0, 1))
    if layer.padding_idx is None:
        return rows_of_ids
    is_padding = (ids == layer.padding_idx).unsqueeze(-1)
    return torch.where(is_padding, rows_of_ids.detach(), rows_of_ids)  # it isn't learned


def _batch_norm(layer: Any, own: Stacks, x_NBC: Tensor) -> Any:
    """One normalisation of N * C channels."""
    if not layer.training or layer.momentum is None or not layer.track_running_stats or not layer.affine:
        return NotImplemented
    if x_NBC.dim() < 3:
        return NotImplemented
    own["num_batches_tracked"].add_(1)
    mean, var, weight, bias = (own[key].flatten() for key in ("running_mean", "running_var", "weight", "bias"))
    y = functional.batch_norm(_side_by_side(x_NBC), mean, var, weight, bias, True, layer.momentum, layer.eps)
    return _apart(y, len(x_NBC))


def _convolution(layer: Any, own: Stacks, x_NBC: Tensor) -> Any:
    """One convolution of N groups."""
    if layer.padding_mode != "zeros" or x_NBC.dim() != own["weight"].dim():
        return NotImplemented
    weight, bias = own["weight"], own.get("bias")
    y = _CONVOLVE[type(layer)](
        _side_by_side(x_NBC),
        weight.flatten(0, 1),
        None if bias is None else bias.flatten(),
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups * len(weight),
    )
    return _apart(y, len(weight))


def _side_by_side(x_NBC: Tensor) -> Tensor:
    """(N, B, C, ...) as (B, N * C, ...): without copying where it lies that way already."""
    return x_NBC.transpose(0, 1).flatten(1, 2)


def _apart(y: Tensor, count: int) -> Tensor:
    """(B, N * C, ...) as (N, B, C, ...), without copying."""
    return y.view(len(y), count, -1, *y.shape[2:]).transpose(0, 1)


_CONVOLVE: Mapping[type, Callable[..., Tensor]] = {
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
}
_RULES: Mapping[type, Callable[..., Any]] = {
    nn.Linear: _linear,
    nn.Embedding: _embedding,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
    **dict.fromkeys(_CONVOLVE, _convolution),
}
