"""Lazy layers, whose sizes a first forward pass finds: made complete before anything asks for their parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from labwright.base.errors import LabwrightError
from labwright.base.seeding import generator
from labwright.data.ports import Port


def complete(model: nn.Module, inputs: Port) -> nn.Module:
    """The model, its lazy layers initialised by an example of its input. Raises LabwrightError if some stay lazy."""
    if not any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        return model
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(*inputs.example(2, generator(0)))
    except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise LabwrightError(
            f"model {type(model).__name__} has lazy layers, and a first forward pass over {inputs} failed: {error}"
        ) from error
    model.train(training)
    left = [name for name, one in model.named_parameters() if is_lazy(one)]
    if left:
        raise LabwrightError(f"model {type(model).__name__}: {left[0]!r} stays lazy; its forward pass doesn't use it.")
    return model
