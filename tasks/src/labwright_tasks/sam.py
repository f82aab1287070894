"""Sharpness-aware minimisation: the gradient where the loss is worst nearby."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from labwright import ClosedForm, LabwrightError, Method, Task, Uniform, Update
from pydantic import Field
from torch import Tensor, nn


class SharpnessAware(Method):
    """Descend by the gradient at the point within `rho` of the weights where the loss is highest, to first order.

    A step computes two gradients: the first, of length 1, leads from the weights w to w + rho * g, and the second is
    taken there and applied at w. It costs twice as much as a plain step. The losses logged are those at w, running
    statistics are those of the first pass, and dropout draws anew for the second. `device.accumulate` changes nothing:
    both gradients are of the whole update. Each of several phases climbs with its own parameters.

    Args:
        rho: how far from the weights the second gradient is taken, as the Euclidean norm over all parameters.

    Source: Foret et al. 2021, algorithm 1.
    """

    divisible = True

    def __init__(self, *, rho: Annotated[float, Field(gt=0), Uniform(0.01, 0.5, log=True)] = 0.05) -> None:
        self.rho = rho

    def check(self, task: Task, model: nn.Module) -> None:  # noqa: ARG002 - the model alone decides
        refuse_without_dense_gradients("sam", model)

    def gradients(self, update: Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        losses = update.backward(batches, weights)
        slopes = [parameter.grad for parameter in update.parameters if parameter.grad is not None]
        climbing = [parameter for parameter in update.parameters if parameter.grad is not None]
        if not climbing:
            return losses
        kept = [tensor.detach().clone() for tensor in (*climbing, *update.model.buffers())]
        with torch.no_grad():
            length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(slopes)))
            # a loss scale drops out here, as only the direction counts
            torch._foreach_add_(climbing, list(torch._foreach_mul(slopes, self.rho / length.clamp(min=_TINY))))
        for parameter in climbing:
            parameter.grad = None
        update.backward(batches, weights)
        with torch.no_grad():
            # copies, as what was added and subtracted again would not be the same in its last bits
            torch._foreach_copy_([*climbing, *update.model.buffers()], kept)
        return losses


_TINY = 1e-12


def refuse_without_dense_gradients(method: str, model: nn.Module) -> None:
    """Raises LabwrightError for a model that has no gradients, or sparse ones."""
    if isinstance(model, ClosedForm):
        raise LabwrightError(f"method: {method!r} takes gradients, and model {type(model).__name__} has a closed form.")
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            raise LabwrightError(
                f"method: {method!r} compares whole gradients, and that of model {type(model).__name__}'s {name!r} is "
                "sparse. Make it with sparse=False."
            )
