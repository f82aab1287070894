"""What the pairs of networks share, and spectral normalisation that costs one power iteration a phase."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import torch
from labwright import Image, LabwrightError
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

CriticNorm = Literal["spectral", "batch", "none"]
Stages = Annotated[
    int,
    Field(ge=1, description="how often the generator doubles a side; left out, from 4 pixels or more to the whole."),
]


class Pair(nn.Module):
    """A `generator`, whose output is the model's, and a `critic`, which gives scores of shape (B,)."""

    def __init__(self, generator: nn.Module, critic: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.critic = critic

    def forward(self, z_BD: Tensor) -> Tensor:
        """What the generator makes of the latents."""
        made: Tensor = self.generator(z_BD)
        return made


def normalised(layer: nn.Module, norm: CriticNorm) -> nn.Module:
    """A layer of a critic, divided by its largest singular value if the norm is spectral (Miyato et al. 2018)."""
    return spectral_norm(layer) if norm == "spectral" else layer


def stages_of(picture: Image, asked: int | None) -> int:
    """How often a generator doubles a side: as asked, or up to the whole from 4 pixels or more.

    Raises LabwrightError for pictures that are too small.
    """
    side = min(picture.height, picture.width)
    size = f"{picture.height}x{picture.width}"
    if side < 4:
        raise LabwrightError(
            f"model: this generator doubles 2x2 pixels or more, and pictures of {size} are too small for it; "
            "'gan/mlp' makes pictures of any size."
        )
    most = (side // 2).bit_length() - 1
    if asked is not None and asked > most:
        raise LabwrightError(
            f"model.stages: given {asked}; pictures of {size} allow {most} at most, doubling from 2 pixels or more. "
            "Left out, it follows their size."
        )
    return asked or max(1, most - 1)


@contextmanager
def computed_once(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within it every spectrally normalised weight has been computed, once and in full precision.

    So a phase is one power iteration however often the critic is called, and none of them falls within
    `torch.func.grad`, where no buffer can be changed, or autocast, where the factors would be rounded.
    """
    with parametrize.cached():
        with torch.autocast(device.type, enabled=False):
            for module in model.modules():
                if parametrize.is_parametrized(module):
                    for name in module.parametrizations:  # type: ignore[union-attr]
                        getattr(module, str(name))
        yield
