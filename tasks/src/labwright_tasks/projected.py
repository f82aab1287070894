"""Models around a trunk: any encoder, built to give so many `features` of a sample, which other parts go on from.

B batch, F features, D numbers of a projection. The trunk's weights are under `trunk.` in each, so that
`start.take = { "trunk.*" = "trunk.*" }` carries them from one to another.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Protocol, final, runtime_checkable

import torch
from labwright import Classes, Integers, Part, Port, Uniform, Values
from pydantic import Field
from torch import Generator, Tensor, nn

from labwright_tasks.trunk import built_trunk

Trunk = Annotated[
    Any, Part("model"), Field(description="any model that tells classes apart, built as if features were its logits.")
]
Features = Annotated[
    int, Field(ge=1, description="numbers of a sample that the trunk gives."), Integers(32, 512, log=True)
]
Hidden = Annotated[int, Field(ge=1, description="units of a hidden layer."), Integers(64, 1024, log=True)]
Dim = Annotated[int, Field(ge=2, description="numbers of a projection."), Integers(16, 256, log=True)]
Layers = Annotated[int, Field(ge=1, description="linear layers of the projector."), Integers(1, 3)]


@dataclass(frozen=True)
class Projections(Port):
    """What views are compared by: forward returns (B, D), where D is the model's own. There is no target."""

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:  # noqa: ARG002 - nothing to draw
        return (torch.empty(batch_size, 0),)


class Embeds(Protocol):
    """A model that learns a representation: what is kept of it, and what a loss compares instead."""

    def embed(self, *inputs: Tensor) -> Tensor:
        """The representation of each sample, (B, F)."""
        ...

    def project(self, features_BF: Tensor) -> Tensor:
        """Projections of representations, (B, D)."""
        ...


@runtime_checkable
class Taught(Protocol):
    """A model with a teacher: from one view, its forward pass predicts what the teacher gives for the other."""

    def targets(self, *inputs: Tensor) -> Tensor:
        """What the teacher gives, (B, D), without a gradient."""
        ...

    def teach(self, progress: float) -> None:
        """Let the teacher follow the model; `progress` is the share of the run's steps that are done."""
        ...


@final
class Projected(nn.Module):
    """Any encoder as a trunk, and on it a perceptron that projects to where views are compared.

    What the trunk gives is the representation. The projector is linear layers, with batch normalisation and ReLU
    between them (Chen et al. 2020, section 4.2: what stands before it serves other tasks better than what it gives).

    Args:
        hidden: units of each hidden layer of the projector, where it has more than one layer.
        dim: numbers of a projection, where there is a projector.
        layers: linear layers of the projector; with 0 there is none, and what is compared is the representation
            itself, as of sentences (Reimers & Gurevych 2019).
    """

    def __init__(
        self,
        inputs: Port,
        outputs: Projections,  # noqa: ARG002 - how many is a setting
        *,
        trunk: Trunk,
        features: Features = 128,
        hidden: Hidden = 256,
        dim: Dim = 64,
        layers: Annotated[int, Field(ge=0, description="linear layers of the projector"), Integers(1, 3)] = 2,
    ) -> None:
        super().__init__()
        self.trunk = built_trunk(trunk, inputs, features)
        self.projector = perceptron(features, *[hidden] * (layers - 1), dim) if layers else nn.Identity()

    def embed(self, *inputs: Tensor) -> Tensor:
        features_BF: Tensor = self.trunk(*inputs)
        return features_BF

    def project(self, features_BF: Tensor) -> Tensor:
        projections_BD: Tensor = self.projector(features_BF)
        return projections_BD

    def forward(self, *inputs: Tensor) -> Tensor:
        """Projections (B, D)."""
        return self.project(self.embed(*inputs))


@final
class WithTeacher(nn.Module):
    """Trunk and projector as in `projected`, a predictor on them, and a teacher: their average over the updates.

    After each update the teacher goes a share 1 - m of the way to trunk and projector.

    Args:
        hidden: units of each hidden layer of projector and predictor.
        momentum: m at the beginning; 0 that doesn't rise makes the weights themselves the teacher, as in SimSiam (Chen
            & He 2021).
        rising: whether m goes from `momentum` to 1 over the run along half a cosine.

    Source: Grill et al. 2020, "Bootstrap your own latent", section 3.1 and 3.2.
    """

    def __init__(
        self,
        inputs: Port,
        outputs: Projections,  # noqa: ARG002 - how many is a setting
        *,
        trunk: Trunk,
        features: Features = 128,
        hidden: Hidden = 256,
        dim: Dim = 64,
        layers: Layers = 2,
        momentum: Annotated[float, Field(ge=0, lt=1), Uniform(0.9, 0.999)] = 0.99,
        rising: bool = True,
    ) -> None:
        super().__init__()
        self.momentum, self.rising = momentum, rising
        self.trunk = built_trunk(trunk, inputs, features)
        self.projector = perceptron(features, *[hidden] * (layers - 1), dim)
        self.predictor = perceptron(dim, hidden, dim)
        self.teacher = nn.Sequential(deepcopy(self.trunk), deepcopy(self.projector)).requires_grad_(False)

    def embed(self, *inputs: Tensor) -> Tensor:
        features_BF: Tensor = self.trunk(*inputs)
        return features_BF

    def project(self, features_BF: Tensor) -> Tensor:
        projections_BD: Tensor = self.projector(features_BF)
        return projections_BD

    def forward(self, *inputs: Tensor) -> Tensor:
        """Predictions (B, D) of what the teacher gives for the other view."""
        predictions_BD: Tensor = self.predictor(self.project(self.embed(*inputs)))
        return predictions_BD

    def targets(self, *inputs: Tensor) -> Tensor:
        trunk, projector = self.teacher
        with torch.no_grad():
            targets_BD: Tensor = projector(trunk(*inputs))
            return targets_BD

    def teach(self, progress: float) -> None:
        momentum = self.momentum
        if self.rising:
            momentum = 1 - (1 - momentum) * (math.cos(math.pi * progress) + 1) / 2
        taught: list[Tensor] = list(self.teacher.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(taught, [*self.trunk.parameters(), *self.projector.parameters()], 1 - momentum)


@final
class Headed(nn.Module):
    """Any encoder as a trunk that gives so many `features` of a sample, and a linear layer on them.

    With the trunk's weights from a run that learned without labels it is fine-tuned; with the trunk frozen besides, it
    is a linear probe of what was learned.
    """

    def __init__(self, inputs: Port, outputs: Classes | Values, *, trunk: Trunk, features: Features = 128) -> None:
        super().__init__()
        self.trunk = built_trunk(trunk, inputs, features)
        self.head = nn.Linear(features, len(outputs.names) if isinstance(outputs, Classes) else outputs.dim)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits (B, classes), or values (B, numbers)."""
        answers: Tensor = self.head(self.trunk(*inputs))
        return answers


def perceptron(*sizes: int) -> nn.Sequential:
    """Linear layers from one size to the next, with batch normalisation and ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        if layers:
            layers += [nn.BatchNorm1d(before), nn.ReLU()]
        layers.append(nn.Linear(before, after))
    return nn.Sequential(*layers)
