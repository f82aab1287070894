"""A residual pair, conditional where classes are asked for. B batch, D latent, C channels, H height, W width."""

from __future__ import annotations

from typing import Annotated, Literal, final

from labwright import Choice, Image, Integers, Latent
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_gan.models.pair import CriticNorm, Pair, Stages, normalised, stages_of
from labwright_gan.ports import ClassLatent


@final
class ResNet(Pair):
    """Residual generator and critic (Gulrajani et al. 2017; Miyato et al. 2018, table 4).

    The critic halves a side as often as the generator doubles it, with two blocks more, and sums over the pixels that
    are left. It has no batch normalisation, so that penalties on its slope go with it. Where classes are asked for,
    they choose scale and shift of the generator's batch normalisation (de Vries et al. 2017), and the critic adds the
    inner product of its features with the class's embedding (Miyato & Koyama 2018).

    Args:
        width: channels of all maps, of both networks.
        critic_norm: norm of each of the critic's layers.

    Raises LabwrightError for pictures with a side below 4 pixels, or too small for so many stages.
    """

    def __init__(
        self,
        inputs: Latent | ClassLatent,
        outputs: Image,
        *,
        width: Annotated[int, Field(ge=1), Integers(16, 128, log=True)] = 64,
        stages: Stages | None = None,
        critic_norm: Annotated[Literal["spectral", "none"], Choice("spectral", "none")] = "spectral",
    ) -> None:
        number = stages_of(outputs, stages)
        classes = len(inputs.names) if isinstance(inputs, ClassLatent) else 0
        super().__init__(
            ResidualDrawer(inputs.dim, outputs, width, number, classes),
            ResidualViewer(outputs, width, number, critic_norm, classes),
        )

    def forward(self, z_BD: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Pictures (B, C, H, W), of the classes asked for if there are any."""
        made: Tensor = self.generator(z_BD, labels_B)
        return made


@final
class ResidualDrawer(nn.Module):
    """A generator: latents, and classes if there are any, to pictures with values -1..1."""

    def __init__(self, dim: int, picture: Image, width: int, stages: int, classes: int) -> None:
        super().__init__()
        self.size = picture.height, picture.width
        sides = [-(-side // 2**stages) for side in self.size]
        self.start = nn.Sequential(nn.Linear(dim, width * sides[0] * sides[1]), nn.Unflatten(1, (width, *sides)))
        self.blocks = nn.ModuleList(_Up(width, classes) for _ in range(stages))
        self.norm = nn.BatchNorm2d(width)
        self.last = _convolution(width, picture.channels, 3)

    def forward(self, z_BD: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Pictures (B, C, H, W)."""
        x_BCHW = self.start(z_BD)
        for block in self.blocks:
            x_BCHW = block(x_BCHW, labels_B)
        made_BCHW: Tensor = self.last(self.norm(x_BCHW).relu()).tanh()
        top, left = ((have - want) // 2 for have, want in zip(made_BCHW.shape[2:], self.size, strict=True))
        return made_BCHW[:, :, top : top + self.size[0], left : left + self.size[1]]


@final
class ResidualViewer(nn.Module):
    """A critic: pictures, and their classes if there are any, to scores (B,)."""

    def __init__(self, picture: Image, width: int, stages: int, norm: CriticNorm, classes: int) -> None:
        super().__init__()
        halved = [True] * stages + [False] * 2
        self.body = nn.Sequential(
            *(
                _Down(width if number else picture.channels, width, norm, halve=halve, first=not number)
                for number, halve in enumerate(halved)
            ),
            nn.ReLU(),
        )
        self.head = normalised(nn.Linear(width, 1), norm)
        self.of_class = normalised(nn.Embedding(classes, width), norm) if classes else None

    def forward(self, x_BCHW: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Scores (B,), higher for what looks real."""
        features_BF = self.body(x_BCHW).sum((2, 3))
        scores_B: Tensor = self.head(features_BF).squeeze(1)
        if self.of_class is not None:
            scores_B = scores_B + (self.of_class(labels_B) * features_BF).sum(1)
        return scores_B


class _Up(nn.Module):
    """Twice the side: normalise, ReLU, double, convolve, twice over, beside the doubled input."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(_Norm(width, classes) for _ in range(2))
        self.convolutions = nn.ModuleList(_convolution(width, width, 3) for _ in range(2))
        self.beside = _convolution(width, width, 1)

    def forward(self, x_BCHW: Tensor, labels_B: Tensor | None) -> Tensor:
        inner = self.convolutions[0](_doubled(self.norms[0](x_BCHW, labels_B).relu()))
        inner = self.convolutions[1](self.norms[1](inner, labels_B).relu())
        made: Tensor = inner + _doubled(self.beside(x_BCHW))
        return made


class _Norm(nn.Module):
    """Batch normalisation whose scale and shift are those of a class, if there are any."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=not classes)
        self.of_class = nn.Embedding(classes, 2 * width) if classes else None
        if self.of_class is not None:
            nn.init.zeros_(self.of_class.weight)  # a scale of 1 and no shift, as batch normalisation begins

    def forward(self, x_BCHW: Tensor, labels_B: Tensor | None) -> Tensor:
        normal: Tensor = self.norm(x_BCHW)
        if self.of_class is None:
            return normal
        scale, shift = self.of_class(labels_B)[:, :, None, None].chunk(2, dim=1)
        of_class: Tensor = normal * (1 + scale) + shift
        return of_class


class _Down(nn.Module):
    """ReLU and convolution, twice over, beside the input; half the side where `halve` says so.

    The `first` sees the picture itself, of which nothing should be cut off by a ReLU.
    """

    def __init__(self, before: int, after: int, norm: CriticNorm, *, halve: bool, first: bool) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.convolutions = nn.ModuleList(
            normalised(_convolution(channels, after, 3), norm) for channels in (before, after)
        )
        self.beside = normalised(_convolution(before, after, 1), norm) if halve or before != after else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inner = self.convolutions[0](x_BCHW if self.first else x_BCHW.relu())
        inner = self.convolutions[1](inner.relu())
        beside = x_BCHW if self.beside is None else self.beside(x_BCHW)
        made: Tensor = inner + beside
        return functional.avg_pool2d(made, 2) if self.halve else made


def _convolution(before: int, after: int, side: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, side, padding=side // 2)
    nn.init.xavier_uniform_(layer.weight)
    return layer


def _doubled(x_BCHW: Tensor) -> Tensor:
    return functional.interpolate(x_BCHW, scale_factor=2)
