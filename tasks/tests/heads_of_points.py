"""Points with several targets, and models for them."""

from __future__ import annotations

from typing import Any

import labwright as lw
import torch
from labwright import LEFT_OUT, Batch, Classes, Features, Heads, Values
from torch import Tensor, nn

PORTS = Heads({"kind": Classes(("a", "b", "c")), "side": Classes(("left", "right")), "size": Values(2)})


class Samples(lw.Data):
    """Points in four dimensions: which of three axes they lie along, on which side of 0, and two numbers of them.

    With `gaps` every third sample has no kind, every fifth no size.
    """

    item, target = Features, Heads
    source = "made by this test"
    licence = "CC0-1.0"

    def __init__(self, *, gaps: bool = False, rows: int = 60, double: bool = False) -> None:
        self.gaps, self.rows, self.double = gaps, rows, double

    def prepare(self) -> None:
        x_ND = torch.randn(self.rows, 4, generator=torch.Generator().manual_seed(3))
        x_ND = x_ND.double() if self.double else x_ND
        kind, side = x_ND[:, :3].abs().argmax(1), (x_ND[:, 3] > 0).long()
        size = torch.stack([x_ND.sum(1), x_ND[:, 0] - x_ND[:, 1]], dim=1)
        if self.gaps:
            kind[::3], size[::5] = LEFT_OUT, torch.nan
        self.x_ND, self.targets = x_ND, {"kind": kind, "side": side, "size": size}

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return Features((4,)), PORTS

    def split(self, name: str) -> lw.TensorSplit:
        some = {"train": slice(0, -20), "valid": slice(-20, -10), "test": slice(-10, None)}[name]
        return lw.TensorSplit((self.x_ND[some],), {head: values[some] for head, values in self.targets.items()})


class Single(Samples):
    """Samples of one head alone, as a classification has it."""

    target = Classes

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return Features((4,)), PORTS.ports["kind"]

    def split(self, name: str) -> lw.TensorSplit:
        split = super().split(name)
        return lw.TensorSplit(split.inputs, split.labels["kind"])


class Trunk(nn.Module):
    """A perceptron with one hidden layer, in double precision where that is the default."""

    def __init__(self, inputs: Features, outputs: Classes, *, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(*inputs.shape, width), nn.Tanh(), nn.Linear(width, len(outputs.names)))

    def forward(self, x_BD: Tensor) -> Tensor:
        logits: Tensor = self.layers(x_BD)
        return logits


ON_TRUNK = {"name": "heads", "trunk": Trunk, "features": 8}


def experiment(**changed: Any) -> lw.Experiment:
    settings: dict[str, Any] = {
        "task": {"name": "multi", "data": Samples},
        "model": ON_TRUNK,
        "loss": "weighted",
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": {"steps": 8, "batch_size": 20},
        "device": {"name": "cpu"},
        "log": (),
    }
    return lw.Experiment(**{**settings, **changed})


def of_gaps(**changed: Any) -> dict[str, Any]:
    return {"name": "multi", "data": {"name": Samples, "gaps": True, **changed}}


def first_batch(built: lw.Built, size: int = 20) -> Batch:
    batches = built.task.batches("train", size=size, seed=0, epoch=0)
    assert batches is not None
    return next(iter(batches))
