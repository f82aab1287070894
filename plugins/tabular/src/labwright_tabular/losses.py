"""Losses of numbers in the unit of a table. B batch, D values, Q quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, final

import torch
from labwright import LabwrightError, Loss, Part, Port, normalizer, separable
from torch import Tensor, nn

from labwright_tabular.ports import Quantiles, Scaled


@final
class Standardized(Loss):
    """Another loss, of predictions and targets in standard deviations of the training targets.

    So a learning rate, a clip and a threshold such as that of `huber` mean the same whatever the table's unit.

    Args:
        loss: the other one, such as `mse`, that needs no ports.
    """

    def __init__(self, loss: Annotated[Any, Part("loss")]) -> None:
        super().__init__()
        if not isinstance(loss, nn.Module):  # one that needs ports comes as a callable awaiting them
            raise LabwrightError(f"loss.loss: it goes with a loss that is complete in itself, given {loss!r}.")
        self.inner = loss
        self.separable = separable(loss)
        self.deviation_D: Tensor | None  # as the task's data gives it, so that no checkpoint needs it
        self.register_buffer("deviation_D", None, persistent=False)

    def prepare(self, outputs: Port) -> None:
        if not isinstance(outputs, Scaled):
            raise LabwrightError(
                f"loss: 'tabular/standardized' needs to know how targets spread, as data of 'tabular' says; the "
                f"targets are {type(outputs).__name__}. Name the loss within instead."
            )
        self.deviation_D = torch.tensor(outputs.deviation)
        if isinstance(self.inner, Loss):
            self.inner.prepare(outputs)

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        if self.deviation_D is None:
            raise LabwrightError("loss: a task that holds a loss itself has to call its prepare(outputs) first.")
        deviation_D = self.deviation_D.to(predictions.dtype)
        # of quantiles there are several predictions of one target
        value: Tensor = self.inner(predictions / deviation_D, targets / deviation_D[: targets.shape[-1]])
        return value

    def normalizer(self, targets: Tensor) -> float | None:
        return normalizer(self.inner, targets)

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        return self.inner.penalty(parameters) if isinstance(self.inner, Loss) else None


@final
class Pinball(Loss):
    """The loss whose least mean is at the quantiles: level * above + (1 - level) * below (Koenker & Bassett 1978).

    For a target above the prediction, and below it. The levels are those of the task; the mean is over quantiles.
    """

    def __init__(self) -> None:
        super().__init__()
        self.levels: tuple[float, ...] = ()

    def prepare(self, outputs: Port) -> None:
        if not isinstance(outputs, Quantiles):
            raise LabwrightError(
                f"loss: 'tabular/pinball' compares quantiles, as task 'tabular/quantiles' predicts; the outputs are "
                f"{type(outputs).__name__}. 'mae' is the pinball loss of the median, twice."
            )
        self.levels = outputs.levels

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Predictions (..., B, Q) and targets (..., B, 1) to losses of shape (...)."""
        return pinball(predictions, targets, self.levels).mean((-2, -1))


def pinball(predictions: Tensor, targets: Tensor, levels: tuple[float, ...]) -> Tensor:
    """The pinball loss of each prediction (..., B, Q) of a target (..., B, 1)."""
    missed = targets - predictions
    level_Q = torch.tensor(levels, dtype=missed.dtype, device=missed.device)
    return torch.maximum(level_Q * missed, (level_Q - 1) * missed)
