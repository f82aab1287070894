"""Two multilayer perceptrons."""

from __future__ import annotations

import math
from typing import Annotated, Literal, final

from labwright import Choice, Features, Image, Integers, Latent
from pydantic import Field
from torch import nn

from labwright_gan.models.pair import Pair, normalised

Norm = Annotated[Literal["spectral", "none"], Choice("spectral", "none")]


@final
class MLP(Pair):
    """Two multilayer perceptrons, a generator and a critic, for points or pictures of any size.

    The generator has ReLU, the critic leaky ReLU of slope 0.2. Pictures end in tanh, between -1 and 1.

    Args:
        width: units of each hidden layer, of both networks.
        depth: hidden layers of each of the two.
        critic_norm: norm of each of the critic's layers.
    """

    def __init__(
        self,
        inputs: Latent,
        outputs: Features | Image,
        *,
        width: Annotated[int, Field(ge=1), Integers(32, 512, log=True)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 4)] = 3,
        critic_norm: Norm = "none",
    ) -> None:
        picture = isinstance(outputs, Image)
        shape = (outputs.channels, outputs.height, outputs.width) if isinstance(outputs, Image) else outputs.shape
        size = math.prod(shape)
        generator: list[nn.Module] = []
        critic: list[nn.Module] = [nn.Flatten()]
        for layer in range(depth):
            generator += [nn.Linear(width if layer else inputs.dim, width), nn.ReLU()]
            critic += [normalised(nn.Linear(width if layer else size, width), critic_norm), nn.LeakyReLU(0.2)]
        generator += [nn.Linear(width, size), *([nn.Tanh()] if picture else []), nn.Unflatten(1, shape)]
        critic += [normalised(nn.Linear(width, 1), critic_norm), nn.Flatten(0)]
        super().__init__(nn.Sequential(*generator), nn.Sequential(*critic))
