"""Layers over stacks: one call for N trials. N trials, B batch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from labwright.fused.functions import feature_shape

if TYPE_CHECKING:
    from labwright.fused.program import Program

DROPOUTS = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}  # whole channels?


def install(program: Program) -> None:
    """Let the layers of a program's shell that are known go over stacks."""
    for path, module in program.rows.shell.named_modules():
        if type(module) in DROPOUTS:
            shares = [model.get_submodule(path).p for model in program.rows.models]
            module.forward = partial(_dropout, program, module, shares)  # type: ignore[method-assign, assignment]


def _dropout(program: Program, module: Any, shares: list[float], x: Tensor) -> Tensor:
    if not module.training:
        return x
    return program.masks.dropout(x, shares, program.level, feature_shape(x) if DROPOUTS[type(module)] else None)
