"""What the networks are made of. B batch, D numbers of an observation, C colours, H height, W width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, final

import torch
from labwright import Choice, Integers
from pydantic import Field
from torch import Tensor, nn

from labwright_rl.ports import Observations

Width = Annotated[int, Field(ge=1, description="units of each hidden layer."), Integers(16, 512, log=True)]
Depth = Annotated[int, Field(ge=1, description="hidden layers."), Integers(1, 4)]
Activation = Annotated[Literal["tanh", "relu"], Choice("tanh", "relu")]
_FIRST = 1e-4  # observations of mean 0 and variance 1 that are taken to have been seen
_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


def perceptron(sizes: Sequence[int], activation: Activation = "relu") -> nn.Sequential:
    """Linear layers from each size to the next, an activation between two of them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def orthogonal(network: nn.Module, last: float) -> None:
    """Orthogonal weights scaled by the root of 2, of the last layer by `last`, and no biases.

    Source: Engstrom et al. 2020, "Implementation matters in deep policy gradients", section 3.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, last if layer is layers[-1] else math.sqrt(2))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@final
class Frames(nn.Module):
    """Three convolutions and a linear layer over pictures, uint8 (B, C, H, W), to `width` features.

    Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", for 84x84 pixels.
    """

    def __init__(self, inputs: Observations, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = inputs.shape[0], min(inputs.shape[1:])
        for size, stride, outputs in ((8, 4, 32), (4, 2, 64), (3, 1, 64)):
            if side < size:  # small pictures have had enough of it
                break
            layers += [nn.Conv2d(channels, outputs, size, stride), nn.ReLU()]
            channels, side = outputs, (side - size) // stride + 1
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            features = self.convolutions(torch.zeros(1, *inputs.shape)).shape[1]
        self.linear = nn.Linear(features, width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        features: Tensor = self.linear(self.convolutions(x_BCHW / 255)).relu()
        return features


@final
class Normalizer(nn.Module):
    """Observations less their mean, in standard deviations, at most 10 of them; the statistics are those seen so far.

    They change in `take_in` alone, and so while a policy collects, not while it is trained or measured. What float32
    rounds away of a sum is kept beside it: where a policy stands still, the same is seen for long, and what is added to
    the mean each time is rounded the same way each time.
    Source: Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing sample variances"; Kahan 1965,
    "Further remarks on reducing truncation errors".
    """

    mean: Tensor
    mean_rest: Tensor
    squares: Tensor
    squares_rest: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("mean_rest", torch.zeros(shape))
        self.register_buffer("squares", torch.full(shape, _FIRST))  # of distances from the mean, their sum
        self.register_buffer("squares_rest", torch.zeros(shape))
        self.register_buffer("count", torch.full((), _FIRST))

    def take_in(self, x_BD: Tensor) -> None:
        size = len(x_BD)
        total = self.count + size
        mean = x_BD[0] if size == 1 else x_BD.mean(0)
        distance = mean - self.mean - self.mean_rest
        squares = distance.square() * (self.count * size / total)
        if size > 1:
            squares += x_BD.var(0, correction=0) * size
        _add_(self.mean, self.mean_rest, distance * (size / total))
        _add_(self.squares, self.squares_rest, squares)
        self.count.copy_(total)

    def forward(self, x_BD: Tensor) -> Tensor:
        return ((x_BD - self.mean) * (self.squares / self.count + 1e-8).rsqrt()).clamp(-10, 10)


def _add_(whole: Tensor, rest: Tensor, more: Tensor) -> None:
    """Kahan's sum: `rest` is what `whole` lacks of it."""
    more = more + rest
    sum_ = whole + more
    rest.copy_(more - (sum_ - whole))
    whole.copy_(sum_)
