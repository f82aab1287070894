"""A task whose report sums its errors up in a statistic. B batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import labwright as lw
import torch
from torch import Tensor, nn

from labwright_survey.statistics import Statistic


class Criterion(Protocol):
    """What a loss is called with: two tensors of shape (B, 1)."""

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor: ...


class Level(lw.Task):
    """Predict a number. Lower is better: the mean absolute error.

    Args:
        data: inputs with a number each.
        statistic: what the report says of the errors.
    """

    goal = lw.Goal("error", "minimize")
    contract = Criterion

    def __init__(
        self,
        data: Annotated[lw.Data, lw.Part("data")],
        *,
        statistic: Annotated[Any, lw.Part("statistic")] = "survey/middle",
    ) -> None:
        self.data = data
        self.statistic: Statistic = statistic

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Criterion, phase: str) -> Tensor:
        return criterion(model(*batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor]:
        """Absolute errors, (B, 1)."""
        return ((model(*batch.inputs) - batch.targets).abs(),)

    def metrics(self) -> dict[str, lw.Metric]:
        return {"error": lw.Mean()}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """The number for each row."""
        return [{"level": float(level)} for level in model(*inputs)]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[lw.Section]:
        """A table with the statistic of the errors."""
        part = self.data.split(split)
        if part is None:
            return []
        batch = part.fetch(torch.arange(len(part)), 0, 0)
        with lw.evaluating(model), torch.no_grad():
            errors_N = (model(*(one.to(device) for one in batch.inputs)).cpu() - batch.targets).flatten()
        row = (type(self.statistic).__name__, f"{self.statistic.of(errors_N):.4f}")
        return [lw.Table("Errors surveyed", ("statistic", "value"), [row])]
