"""How the losses of several heads become one: by weights that are given, or learned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch
from labwright import Heads, LabwrightError, Values, listed, nearest
from pydantic import Field
from torch import Tensor, nn


class Weighted(nn.Module):
    """The sum of the heads' losses, each times a weight.

    Args:
        weights: factor of each head's loss, by its name; 1 where none is given.
    """

    def __init__(self, outputs: Heads, *, weights: dict[str, Annotated[float, Field(ge=0)]] | None = None) -> None:
        super().__init__()
        self.weights = dict(weights or {})
        _check("loss.weights", self.weights, outputs)
        if self.weights and not any(self.weights.get(name, 1.0) for name in outputs.ports):
            raise LabwrightError("loss.weights: all weights are 0, so that there is nothing to train.")

    def forward(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses by head to the parts of the sum."""
        return {name: self.weights.get(name, 1.0) * loss for name, loss in losses.items()}


class Uncertainty(nn.Module):
    """The sum of the heads' losses, each weighed by a variance that is learned with the model.

    With s the logarithm of a head's variance, 0 at first, its part is exp(-s) * loss + s / 2, for a head of Values
    exp(-s) * loss / 2 + s / 2: the likelihood of a Gaussian, up to a constant, if the loss is the squared error. Parts
    may fall below 0. A weight decay of the optimizer draws s to 0; `optimizer.groups` can leave `loss.*` out of it.
    Source: Kendall, Gal & Cipolla 2018, equations 7 and 10.
    """

    def __init__(self, outputs: Heads) -> None:
        super().__init__()
        self.factors = {name: 0.5 if isinstance(port, Values) else 1.0 for name, port in outputs.ports.items()}
        for name in outputs.ports:
            # one for each, so that a head that has no targets in a batch stays as it is
            self.register_parameter(f"log_variance_{name}", nn.Parameter(torch.zeros(())))

    def forward(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses by head to the parts of the sum."""
        parts = {}
        for name, loss in losses.items():
            log_variance = self.get_parameter(f"log_variance_{name}")
            parts[name] = self.factors[name] * torch.exp(-log_variance) * loss + log_variance / 2
        return parts


def _check(where: str, names: Iterable[str], outputs: Heads) -> None:
    """Raises LabwrightError for a name that is no head's."""
    for name in names:
        if name not in outputs.ports:
            raise LabwrightError(
                f"{where}.{name}: the data has no head {name!r}{nearest(name, outputs.ports)} It has "
                f"{listed(outputs.ports)}."
            )
