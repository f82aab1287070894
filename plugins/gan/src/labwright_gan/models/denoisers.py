"""Denoisers for diffusion. B batch, C channels, H height, W width, E embedding."""

from __future__ import annotations

import math
from typing import Annotated, final

import torch
from labwright import Choice, Features, Image, Integers, LabwrightError
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from labwright_gan.ports import Noised

_FREQUENCIES = 32


class _Told(nn.Module):
    """What a denoiser is told beside the sample: the time as sines and cosines, and the class if it is told one."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.of_class = nn.Embedding(classes + 1, width) if classes else None  # the last is none
        # from one to a thousand radians over all of the time
        frequencies = torch.logspace(0, 3, _FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.frequencies: Tensor

    def forward(self, times_B: Tensor, labels_B: Tensor | None) -> Tensor:
        """Embeddings (B, E)."""
        angles = times_B[:, None] * self.frequencies
        told_BE: Tensor = self.mix(torch.cat([angles.sin(), angles.cos()], dim=1))
        if self.of_class is not None:
            told_BE = told_BE + self.of_class(labels_B)
        return functional.silu(told_BE)


@final
class MLPDenoiser(nn.Module):
    """A multilayer perceptron of residual layers, for points.

    Args:
        width: units of each layer.
        depth: residual layers.
    """

    def __init__(
        self,
        inputs: Noised,
        outputs: Features,
        *,
        width: Annotated[int, Field(ge=1), Integers(32, 512, log=True)] = 128,
        depth: Annotated[int, Field(ge=1), Integers(1, 6)] = 3,
    ) -> None:
        super().__init__()
        self.shape, size = outputs.shape, math.prod(inputs.shape)
        self.told = _Told(width, len(inputs.names))
        self.first = nn.Linear(size, width)
        self.shifts = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(depth))
        self.last = nn.Sequential(nn.SiLU(), nn.Linear(width, size))

    def forward(self, x_BD: Tensor, times_B: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """What is predicted of each noised sample, of its shape."""
        told_BE = self.told(times_B, labels_B)
        h_BE = self.first(x_BD.flatten(1))
        for shift, layer in zip(self.shifts, self.layers, strict=True):
            h_BE = h_BE + layer(h_BE + shift(told_BE))
        predicted: Tensor = self.last(h_BE).view(-1, *self.shape)
        return predicted


@final
class UNet(nn.Module):
    """A small U-Net that is told time and class (Ho et al. 2020, appendix B; Dhariwal & Nichol 2021, section 3).

    Pixels attend to one another at the lowest level. Sides that don't divide are filled up with zeros and cut again.

    Args:
        width: channels of the maps at the first level; twice as many at each further one, four times at most.
        levels: sizes of the maps, each half of the one before.
        blocks: residual blocks of each level on the way down; on the way up there is one more.
        patch: pixels along the side of a square that is taken as one pixel, with a channel for each within (Hoogeboom
            et al. 2023); cheaper where pictures are larger.

    Raises LabwrightError for more levels than the side of a picture can be halved.
    """

    def __init__(
        self,
        inputs: Noised,
        outputs: Image,
        *,
        width: Annotated[int, Field(ge=8, multiple_of=8), Integers(16, 128, step=8)] = 32,
        levels: Annotated[int, Field(ge=1), Integers(1, 3)] = 2,
        blocks: Annotated[int, Field(ge=1), Integers(1, 3)] = 1,
        patch: Annotated[int, Field(ge=1), Choice(1, 2)] = 1,
    ) -> None:
        super().__init__()
        side = min(outputs.height, outputs.width)
        if side < patch * 2 ** (levels - 1):
            raise LabwrightError(
                f"model.levels: given {levels}; pictures of {outputs.height}x{outputs.width} in patches of {patch} "
                f"can't be halved {levels - 1} times. Fewer levels or smaller patches do."
            )
        channels = [width * min(2**level, 4) for level in range(levels)]
        self.patch, self.multiple = patch, patch * 2 ** (levels - 1)
        pixels = outputs.channels * patch**2
        told = 4 * width
        self.told = _Told(told, len(inputs.names))
        self.first = nn.Conv2d(pixels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.smaller, self.larger = nn.ModuleList(), nn.ModuleList()
        kept = [width]  # channels of the maps that the way up sees again
        for level, after in enumerate(channels):
            before = channels[max(0, level - 1)]
            if level:
                self.smaller.append(nn.Conv2d(before, before, 3, stride=2, padding=1))
                kept.append(before)
            for number in range(blocks):
                self.down.append(_Block(after if number else before, after, told))
                kept.append(after)
        self.middle = nn.ModuleList(
            [
                _Block(channels[-1], channels[-1], told),
                _Attention(channels[-1]),
                _Block(channels[-1], channels[-1], told),
            ]
        )
        before = channels[-1]
        for level, after in reversed(list(enumerate(channels))):
            for _ in range(blocks + 1):
                self.up.append(_Block(before + kept.pop(), after, told))
                before = after
            if level:
                self.larger.append(nn.Conv2d(after, after, 3, padding=1))
        self.blocks = blocks
        self.last = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, pixels, 3, padding=1))

    def forward(self, x_BCHW: Tensor, times_B: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """What is predicted of each noised picture, of its shape."""
        told_BE = self.told(times_B, labels_B)
        height, width = x_BCHW.shape[2:]
        filled = functional.pad(x_BCHW, (0, -width % self.multiple, 0, -height % self.multiple))
        h = self.first(functional.pixel_unshuffle(filled, self.patch))
        kept = [h]
        for number, block in enumerate(self.down):
            if number and number % self.blocks == 0:
                h = self.smaller[number // self.blocks - 1](h)
                kept.append(h)
            h = block(h, told_BE)
            kept.append(h)
        before, attention, after = self.middle
        h = after(attention(before(h, told_BE)), told_BE)
        for number, block in enumerate(self.up):
            if number and number % (self.blocks + 1) == 0:
                h = self.larger[number // (self.blocks + 1) - 1](functional.interpolate(h, scale_factor=2))
            h = block(torch.cat([h, kept.pop()], dim=1), told_BE)
        predicted = functional.pixel_shuffle(self.last(h), self.patch)
        return predicted[:, :, :height, :width]


class _Block(nn.Module):
    """Two convolutions beside the input; what is told scales and shifts the maps between them."""

    def __init__(self, before: int, after: int, told: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.norm = nn.GroupNorm(8, after)
        self.of_told = nn.Linear(told, 2 * after)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        nn.init.zeros_(self.second.weight)  # so that a block begins as what it is beside
        self.beside = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x_BCHW: Tensor, told_BE: Tensor) -> Tensor:
        scale, shift = self.of_told(told_BE)[:, :, None, None].chunk(2, dim=1)
        inner = self.norm(self.first(x_BCHW)) * (1 + scale) + shift
        made: Tensor = self.beside(x_BCHW) + self.second(functional.silu(inner))
        return made


class _Attention(nn.Module):
    """Every pixel attends to all others, with 4 heads, beside the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.asked = nn.Conv2d(channels, 3 * channels, 1)
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        queries, keys, values = (
            part.flatten(2).unflatten(1, (4, -1)).transpose(2, 3)
            for part in self.asked(self.norm(x_BCHW)).chunk(3, dim=1)
        )
        seen = functional.scaled_dot_product_attention(queries, keys, values)
        made: Tensor = x_BCHW + self.last(seen.transpose(2, 3).reshape(x_BCHW.shape))
        return made
