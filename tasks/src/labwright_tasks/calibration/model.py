"""A model whose logits are divided by a temperature. B batch, C classes."""

from __future__ import annotations

from typing import Annotated, Any, final

import torch
from labwright import Classes, Part, Port
from torch import Tensor, nn


@final
class Calibrated(nn.Module):
    """Any classifier whose logits are divided by exp(log_temperature), at first 1.

    Above 1 it is less sure; which class is the most probable stays the same. Its weights are under `model.`, so that
    `start.take = { "*" = "model.*" }` brings those of a run.

    Args:
        model: the classifier.

    Source: Guo et al. 2017, section 4.2.
    """

    def __init__(self, inputs: Port, outputs: Classes, *, model: Annotated[Any, Part("model")]) -> None:
        super().__init__()
        self.model: nn.Module = model if isinstance(model, nn.Module) else model(inputs=inputs, outputs=outputs)
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits (B, C)."""
        logits_BC: Tensor = self.model(*inputs)
        return logits_BC / self.log_temperature.exp().to(logits_BC.dtype)
