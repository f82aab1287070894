"""A task: what is learned from a batch, and how success is measured. B batch, C classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Protocol

import labwright as lw
import torch
from pydantic import Field
from torch import Generator, Tensor, nn


class Criterion(Protocol):
    """What a loss is called with: logits (B, C) and labels (B,) int64; a loss that takes others is refused."""

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor: ...


class Sample(lw.Task):
    """Tell classes apart. Higher is better: accuracy.

    Args:
        data: inputs, each of one of several classes.
        noise: standard deviation of what is added to the input in training.
    """

    goal = lw.Goal("accuracy", "maximize")
    contract = Criterion

    def __init__(
        self,
        data: Annotated[lw.Data, lw.Part("data")],
        *,
        noise: Annotated[float, Field(ge=0), lw.Uniform(0.0, 0.2)] = 0.05,
    ) -> None:
        self.data, self.noise = data, noise

    def draw(self, batch: lw.Batch, generator: Generator) -> lw.Batch:
        """The batch with noise on its first input; all that is random in the objective is drawn here."""
        first, *others = batch.inputs
        noise = self.noise * torch.randn(first.shape, generator=generator).to(first.device)
        return replace(batch, inputs=(first + noise, *others))

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Criterion, phase: str) -> Tensor:
        return criterion(model(*batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, C) and labels (B,), which the metrics are updated with."""
        return model(*batch.inputs), batch.targets

    def metrics(self) -> dict[str, lw.Metric]:
        return {"accuracy": lw.Accuracy()}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        """The most probable class of each row."""
        _, outputs = self.data.ports()
        assert isinstance(outputs, lw.Classes)
        return [{"label": outputs.names[label]} for label in model(*inputs).argmax(1).tolist()]
