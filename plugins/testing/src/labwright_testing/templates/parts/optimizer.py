"""An optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import labwright as lw
import torch
from pydantic import Field
from torch import Tensor, nn


class Sample(lw.Optimizer):
    """Steps of the size of the rate, in the direction of the sign of a running mean of the gradients.

    Args:
        lr: learning rate, the size of a step; the highest of the run.
        weight_decay: share of a weight that is taken away in a step, times the rate.
        groups: what differs for parameters whose names match a pattern such as "*.bias"; the first pattern wins.
        momentum: share of the mean so far in the running mean of the gradients.

    Source: Bernstein et al. 2018, algorithm 2 (Signum), with decoupled weight decay.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: Annotated[float, Field(gt=0), lw.Uniform(1e-4, 1e-2, log=True)] = 1e-3,
        weight_decay: Annotated[float, Field(ge=0)] = 0.0,
        groups: dict[str, lw.Group] | None = None,
        momentum: Annotated[float, Field(ge=0, lt=1), lw.Uniform(0.5, 0.99)] = 0.9,
    ) -> None:
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, groups=groups)
        self.momentum = momentum
        self._means = {name: torch.zeros_like(one) for name, one in self.parameters.items()}

    @torch.no_grad()
    def step(self, lr: float, found_inf: Tensor | None = None) -> None:
        if found_inf is not None and float(found_inf):
            return
        for names, factor, decay in self.groups:
            for name in names:
                parameter, mean = self.parameters[name], self._means[name]
                if parameter.grad is not None:
                    mean.lerp_(parameter.grad, 1 - self.momentum)
                    parameter.mul_(1 - lr * factor * decay).sub_(mean.sign(), alpha=lr * factor)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        return {name: {"mean": one} for name, one in self._means.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, mean in self._means.items():
            mean.copy_(state[name]["mean"])
