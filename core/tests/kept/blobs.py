"""The plugin the kept runs were made with, by version 0.1: public names alone, so that 0.2 uses the same file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Protocol

import labwright as lw
import torch
from torch import Tensor, nn


class Blobs(lw.Data):
    """Three Gaussian blobs in four dimensions."""

    item = lw.Features
    target = lw.Classes
    source = "made here"
    licence = "none needed"
    line = "point"

    def prepare(self) -> None:
        random = torch.Generator().manual_seed(7)
        self.splits = {name: self._points(size, random) for name, size in (("train", 90), ("valid", 60), ("test", 60))}

    @staticmethod
    def _points(size: int, random: torch.Generator) -> lw.TensorSplit:
        labels_N = torch.arange(size) % 3
        return lw.TensorSplit((2 * torch.eye(3, 4)[labels_N] + torch.randn(size, 4, generator=random),), labels_N)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((4,)), lw.Classes(("a", "b", "c"))

    def split(self, name: str) -> lw.Split | None:
        return self.splits.get(name)

    def parse(self, line: str) -> tuple[Tensor, ...]:
        return (torch.tensor([[float(number) for number in line.split()]]),)


class Sorting(lw.Task):
    """Which of the blobs a point is of."""

    goal = lw.Goal("accuracy", "maximize")

    class Contract(Protocol):
        def __call__(self, logits: Tensor, labels: Tensor) -> Tensor: ...

    contract = Contract

    def __init__(self, data: Annotated[lw.Data, lw.Part("data")]) -> None:
        self.data = data

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        return criterion(model(*batch.inputs), batch.targets)

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> tuple[Tensor, Tensor]:
        return model(*batch.inputs), batch.targets

    def metrics(self) -> dict[str, lw.Metric]:
        return {"accuracy": lw.Accuracy()}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        shares_BC = model(*inputs).softmax(-1)
        return [{"class": "abc"[int(row.argmax())], "share": float(row.max())} for row in shares_BC]


class Net(nn.Module):
    """Linear, BatchNorm, dropout, linear."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs.shape[0], width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(width, len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.head(self.body(x_BD))


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    yield lw.Component("data", "kept/blobs", f"{__name__}:Blobs", "three blobs")
    yield lw.Component("task", "kept/sorting", f"{__name__}:Sorting", "tell blobs apart")
    yield lw.Component("model", "kept/net", f"{__name__}:Net", "a small net")
