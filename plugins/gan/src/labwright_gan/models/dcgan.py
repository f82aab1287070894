"""Deep convolutional pairs, also conditional. B batch, D latent, C channels, H height, W width, F features."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, TypeVar, final

from labwright import Choice, Image, Integers, Latent
from pydantic import Field
from torch import Tensor, nn

from labwright_gan.models.pair import CriticNorm, Pair, Stages, normalised, stages_of
from labwright_gan.ports import ClassLatent

# The settings of both, as they stand in a constructor.
Width = Annotated[
    int,
    Field(
        ge=1,
        description="channels of the maps next to the picture; twice as many at each further stage, up to 8 times.",
    ),
    Integers(16, 64, log=True),
]
Norm = Annotated[
    CriticNorm,
    Field(description="norm of the critic's layers; batch: from the second on. Penalties on its slope need another."),
    Choice("spectral", "batch", "none"),
]
Layer = TypeVar("Layer", nn.Linear, nn.Embedding, nn.Conv2d, nn.ConvTranspose2d)

_WIDEST = 8  # times `width`


@final
class DCGAN(Pair):
    """Generator of strided transposed convolutions, critic of strided convolutions (Radford et al. 2016, section 3).

    The paper's critic has batch normalisation. Pictures end in tanh, between -1 and 1; a side that is no multiple is
    cut from a larger one.

    Raises LabwrightError for pictures with a side below 4 pixels, or too small for so many stages.
    """

    def __init__(
        self,
        inputs: Latent,
        outputs: Image,
        *,
        width: Width = 32,
        stages: Stages | None = None,
        critic_norm: Norm = "spectral",
    ) -> None:
        number = stages_of(outputs, stages)
        super().__init__(Drawer(inputs.dim, outputs, width, number), Viewer(outputs, width, number, critic_norm))


@final
class ConditionalDCGAN(Pair):
    """A DCGAN that is told the class: the generator in its first layer, the critic by projection.

    The generator's first layer sees latent and class side by side (Mirza & Osindero 2014). The critic's score is
    linear in its features plus their inner product with the class's embedding (Miyato & Koyama 2018, equation 3).
    Settings and errors are those of `DCGAN`.
    """

    def __init__(
        self,
        inputs: ClassLatent,
        outputs: Image,
        *,
        width: Width = 32,
        stages: Stages | None = None,
        critic_norm: Norm = "spectral",
    ) -> None:
        number, classes = stages_of(outputs, stages), len(inputs.names)
        super().__init__(
            Drawer(inputs.dim, outputs, width, number, classes), Viewer(outputs, width, number, critic_norm, classes)
        )

    def forward(self, z_BD: Tensor, labels_B: Tensor) -> Tensor:  # type: ignore[override]
        """Pictures of the classes asked for, (B, C, H, W)."""
        made: Tensor = self.generator(z_BD, labels_B)
        return made


@final
class Drawer(nn.Module):
    """A generator: latents, and classes if there are any, to pictures with values -1..1."""

    def __init__(self, dim: int, picture: Image, width: int, stages: int, classes: int = 0) -> None:
        super().__init__()
        self.height, self.width = picture.height, picture.width
        sides = [-(-side // 2**stages) for side in (picture.height, picture.width)]
        channels = _channels(width, stages)[::-1]
        first = channels[0] * sides[0] * sides[1]
        self.start = _begun(nn.Linear(dim, first, bias=False))
        self.of_class = _begun(nn.Embedding(classes, first), dim**0.5) if classes else None  # weighs as the latent does
        layers: list[nn.Module] = [nn.Unflatten(1, (channels[0], *sides)), nn.BatchNorm2d(channels[0]), nn.ReLU()]
        for before, after in pairwise(channels):
            layers += [_begun(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)), nn.BatchNorm2d(after), nn.ReLU()]
        last = _begun(nn.ConvTranspose2d(channels[-1], picture.channels, 4, 2, 1))
        self.body = nn.Sequential(*layers, last, nn.Tanh())

    def forward(self, z_BD: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Pictures (B, C, H, W)."""
        start = self.start(z_BD)
        if self.of_class is not None:
            start = start + self.of_class(labels_B)
        x_BCHW: Tensor = self.body(start)
        top, left = (x_BCHW.shape[2] - self.height) // 2, (x_BCHW.shape[3] - self.width) // 2
        return x_BCHW[:, :, top : top + self.height, left : left + self.width]


@final
class Viewer(nn.Module):
    """A critic: pictures, and their classes if there are any, to scores (B,)."""

    def __init__(self, picture: Image, width: int, stages: int, norm: CriticNorm, classes: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = picture.channels
        for stage, after in enumerate(_channels(width, stages)):
            batch = norm == "batch" and stage > 0
            layers.append(normalised(_begun(nn.Conv2d(before, after, 4, 2, 1, bias=not batch)), norm))
            layers += [*([nn.BatchNorm2d(after)] if batch else []), nn.LeakyReLU(0.2)]
            before = after
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = before * (picture.height >> stages) * (picture.width >> stages)
        self.head = normalised(_begun(nn.Linear(features, 1)), norm)
        self.of_class = normalised(_begun(nn.Embedding(classes, features)), norm) if classes else None

    def forward(self, x_BCHW: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Scores (B,), higher for what looks real."""
        features_BF = self.body(x_BCHW)
        scores_B: Tensor = self.head(features_BF).squeeze(1)
        if self.of_class is not None:
            scores_B = scores_B + (self.of_class(labels_B) * features_BF).sum(1)
        return scores_B


def _channels(width: int, stages: int) -> list[int]:
    """Channels of the maps, from the one next to the picture on."""
    return [width * min(2**stage, _WIDEST) for stage in range(stages)]


def _begun(layer: Layer, scale: float = 1.0) -> Layer:
    """A layer with normal weights of deviation 0.02 * scale (Radford et al. 2016, section 4)."""
    nn.init.normal_(layer.weight, 0.0, 0.02 * scale)
    return layer
