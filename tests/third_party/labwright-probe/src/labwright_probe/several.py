"""Several answers about a point, by heads over one trunk: its quarter and its distance. N samples, B batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import labwright as lw
import torch
from pydantic import Field
from torch import Tensor, nn

QUARTERS = ("south-west", "south-east", "north-west", "north-east")
SIZES = {"train": 240, "valid": 80, "test": 80}


class Points(lw.Data):
    """Points of a square about the origin, the quarter in which each lies and its distance from the origin."""

    item, target = lw.Features, lw.Heads
    source, licence = "made by this plugin", "Apache-2.0"
    line = "point"

    def prepare(self) -> None:
        self._splits = {name: self._made(size, seed) for seed, (name, size) in enumerate(SIZES.items())}

    @staticmethod
    def _made(size: int, seed: int) -> lw.TensorSplit:
        points_N2 = torch.rand(size, 2, generator=lw.generator(seed)) * 2 - 1
        east_N, north_N = (points_N2 > 0).long().unbind(1)
        targets = {"quarter": east_N + 2 * north_N, "distance": points_N2.norm(dim=1, keepdim=True)}
        return lw.TensorSplit((points_N2,), targets)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((2,)), lw.Heads({"quarter": lw.Classes(QUARTERS), "distance": lw.Values(1)})

    def split(self, name: str) -> lw.TensorSplit | None:
        return self._splits.get(name)

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """A point such as `0.5 -0.25`."""
        try:
            return (torch.tensor([[float(number) for number in line.split()]]).reshape(1, 2),)
        except (ValueError, RuntimeError) as error:
            raise lw.LabwrightError(f"{line!r} is no point; write two numbers, such as '0.5 -0.25'.") from error


class HeadsOverTrunk(nn.Module):
    """One hidden layer, and a linear layer over it for each head.

    Args:
        width: units of the hidden layer.
    """

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Heads,
        *,
        width: Annotated[int, Field(ge=1), lw.Integers(8, 64)] = 32,
    ) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(inputs.shape[0], width), nn.Tanh())
        sizes = {
            name: len(port.names) if isinstance(port, lw.Classes) else port.dim
            for name, port in outputs.ports.items()
            if isinstance(port, lw.Classes | lw.Values)
        }
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})

    def forward(self, x_BF: Tensor) -> dict[str, Tensor]:
        hidden_BW = self.trunk(x_BF)
        return {name: head(hidden_BW) for name, head in self.heads.items()}


class Several(lw.Task):
    """Answer several questions about each input.

    Args:
        data: inputs with a target for each of several heads.
        losses: the loss of each head, by its name.
    """

    goal = lw.Goal("quarter/accuracy", "maximize")

    def __init__(
        self, data: Annotated[lw.Data, lw.Part("data")], *, losses: dict[str, Annotated[Any, lw.Part("loss")]]
    ) -> None:
        self.data, self.losses = data, losses

    def prepare(self) -> None:
        super().prepare()
        heads = self.ports()[1]
        assert isinstance(heads, lw.Heads)
        if heads.ports.keys() != self.losses.keys():
            raise lw.LabwrightError(
                f"task.losses: the heads are {lw.listed(heads.ports)}; given {lw.listed(self.losses)}."
            )

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: None, phase: str) -> dict[str, Tensor]:
        answers = model(*batch.inputs)
        return {name: loss(answers[name], batch.targets[name]) for name, loss in self.losses.items()}

    def evaluate(self, model: nn.Module, batch: lw.Batch) -> dict[str, Tensor]:
        """The heads' answers by name, and targets by `true/NAME`."""
        return model(*batch.inputs) | {f"true/{name}": target for name, target in batch.targets.items()}

    def metrics(self) -> dict[str, lw.Metric]:
        heads = self.ports()[1]
        assert isinstance(heads, lw.Heads)
        return {
            f"{name}/accuracy": lw.Of(lw.Accuracy(), name, f"true/{name}")
            for name, port in heads.ports.items()
            if isinstance(port, lw.Classes)
        }

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        answers = model(*inputs)
        quarters, distances = answers["quarter"].argmax(1).tolist(), answers["distance"].flatten().tolist()
        return [
            {"quarter": QUARTERS[quarter], "distance": distance}
            for quarter, distance in zip(quarters, distances, strict=True)
        ]
