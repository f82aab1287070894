"""Layers over stacks: one call for N trials. N trials, B batch, D and E features, C channels, V rows of a table.

A rule is called with the layer, its own parameters and buffers as stacks (N, ...) by name, and its inputs as stacks.
It returns the stack of the outputs, or NotImplemented for what it doesn't do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from labwright import LEFT_OUT
from labwright.builtin.losses import CrossEntropy
from torch import Tensor, nn
from torch.nn import functional

from labwright_study.fused.batching import as_stack, as_trial, at_level
from labwright_study.fused.functions import feature_shape

if TYPE_CHECKING:
    from labwright_study.fused.program import Program

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


def install(program: Program) -> None:
    """Let the layers of a program's shell that are known go over stacks."""
    roots = [(program.rows.shell, [trainer.model for trainer in program.trainers])]
    for path, module in program.rows.shell.named_modules():
        if type(module) in DROPOUTS:
            shares: list[Any] = [model.get_submodule(path).p for model in roots[0][1]]
            _give(module, _Dropout(program, module, shares))
    if program.form != "grouped":
        return
    for path, module in program.rows.shell.named_modules():
        rule = rule_of(module)
        if rule is not None:
            prefix = f"{path}." if path else ""
            own = {
                place.removeprefix(prefix): tensor
                for places, tensors in (
                    (program.rows.names, program.rows.parameters),
                    (program.rows.buffer_names, program.rows.buffers),
                )
                for place, name in places.items()
                if place.startswith(prefix) and "." not in place.removeprefix(prefix)
                for tensor in [tensors.get(name)]
                if tensor is not None
            }
            _give(module, _OverStacks(program, module, rule, own))
    for shell in program.shells.values():
        for module in shell.modules() if isinstance(shell, nn.Module) else ():
            rule = rule_of(module)
            if rule is not None:
                _give(module, _OverStacks(program, module, rule, {}))


def rule_of(module: nn.Module) -> Callable[..., Any] | None:
    """How a module goes over stacks: its own way, or that of torch's layers."""
    if isinstance(module, Grouped):
        return _its_own
    return _RULES.get(type(module))


def _give(module: nn.Module, forward: Any) -> None:
    module.forward = forward


class _Dropout:
    def __init__(self, program: Program, module: Any, shares: list[float]) -> None:
        self.program, self.module, self.shares = program, module, shares
        self.of_channels = DROPOUTS[type(module)]

    def __call__(self, x: Tensor) -> Tensor:
        if not self.module.training:
            return x
        shape = feature_shape(x) if self.of_channels else None
        return self.program.masks.dropout(x, self.shares, self.program.level, shape)


class _OverStacks:
    """A module's forward that goes over stacks, outside of any gradient that the trial itself takes."""

    def __init__(self, program: Program, module: nn.Module, rule: Callable[..., Any], own: Stacks) -> None:
        self.program, self.module, self.rule = program, module, rule
        self.own = dict(own) | {key: values for one, key, values in program.values if one is module}
        self.count = len(program.trainers)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        level = self.program.level
        if named or not at_level(level):
            return type(self.module).forward(self.module, *inputs, **named)
        stacks = [as_stack(one, level, self.count) if isinstance(one, Tensor) else one for one in inputs]
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
    found = functional.embedding(ids + first_N.view(-1, *(1,) * (ids.dim() - 1)), table_NVD.flatten(0, 1))
    if layer.padding_idx is None:
        return found
    return torch.where((ids == layer.padding_idx).unsqueeze(-1), found.detach(), found)  # it isn't learned


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


def _cross_entropy(loss: CrossEntropy, own: Stacks, logits_NBC: Tensor, labels_NB: Tensor) -> Any:
    smoothing = own.get("label_smoothing")
    if logits_NBC.dim() != 3:
        return NotImplemented
    if smoothing is not None:
        return _smoothed(logits_NBC, labels_NB, smoothing)
    assert isinstance(loss.label_smoothing, float)
    each_NB = functional.cross_entropy(
        logits_NBC.flatten(0, 1), labels_NB.flatten(), reduction="none", label_smoothing=loss.label_smoothing
    ).view(labels_NB.shape)
    return each_NB.sum(1) / (labels_NB != LEFT_OUT).sum(1)


def _smoothed(logits_NBC: Tensor, labels_NB: Tensor, smoothing_N: Tensor) -> Tensor:
    """Cross-entropy of which each trial spreads a share of its own over all classes."""
    log_shares = logits_NBC.log_softmax(-1)
    counted = labels_NB != LEFT_OUT
    each = log_shares.gather(-1, labels_NB.where(counted, 0).unsqueeze(-1)).squeeze(-1)
    each = each.lerp(log_shares.mean(-1), smoothing_N.to(each.dtype).unsqueeze(-1))
    return -each.where(counted, 0.0).sum(-1) / counted.sum(-1)


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
    CrossEntropy: _cross_entropy,
    **dict.fromkeys(_CONVOLVE, _convolution),
}
