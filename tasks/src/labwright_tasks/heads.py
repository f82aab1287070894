"""Heads on any trunk. B batch, D features."""

from __future__ import annotations

from typing import Annotated, Any

from labwright import Classes, Heads, Integers, LabwrightError, Part, Port, Values
from pydantic import Field
from torch import Tensor, nn

from labwright_tasks.trunk import built_trunk


class HeadsOnTrunk(nn.Module):
    """A trunk that all heads share, and for each head a linear layer on its features, behind ReLU (Caruana 1997).

    The trunk is built as if there were `features` classes, so that what would be its logits are hidden units here.

    Args:
        trunk: any model that tells classes apart, for inputs of this kind.
        features: hidden units that the trunk gives and the heads share.
    """

    def __init__(
        self,
        inputs: Port,
        outputs: Heads,
        *,
        trunk: Annotated[Any, Part("model")],
        features: Annotated[int, Field(ge=1), Integers(16, 256, log=True)] = 64,
    ) -> None:
        super().__init__()
        self.trunk = built_trunk(trunk, inputs, features)
        self.names = tuple(outputs.ports)
        for name, port in outputs.ports.items():
            self.add_module(f"head_{name}", nn.Linear(features, width_of(port, name)))

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """For each head logits (B, classes) or values (B, numbers)."""
        features_BD = self.trunk(*inputs).relu()
        return {name: self.get_submodule(f"head_{name}")(features_BD) for name in self.names}


def width_of(port: Port, head: str = "") -> int:
    """How many numbers a last layer gives for classes or values. Raises LabwrightError for another port."""
    if isinstance(port, Classes | Values):
        return len(port.names) if isinstance(port, Classes) else port.dim
    of_head = f"head {head!r} returns" if head else "it returns"
    raise LabwrightError(f"model: {of_head} {type(port).__name__}; a linear layer gives Classes or Values.")
