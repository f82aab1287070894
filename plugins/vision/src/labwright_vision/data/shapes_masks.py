"""Shapes drawn on noise, with the class of each pixel. N samples, C channels, H height, W width."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
from labwright import Data, Image, Input, Port
from labwright_tasks.dense_labels import PositionClasses
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_vision.data.augment import Affine, Flip, Rotate, Scale, Shift
from labwright_vision.data.folders import Tally, pictures
from labwright_vision.data.framing import Frame
from labwright_vision.data.masked_pictures import InMemory, MaskedPictures, scaled
from labwright_vision.data.reading import SUFFIXES, read_picture, size_of

_NAMES = ("ground", "disc", "square", "triangle")
_MOST = 4  # shapes in a picture
_SMALLEST, _LARGEST = 0.15, 0.3  # radius, as a share of the shorter side
_EDGE = 0.1  # from which on a shape's middle lies, as a share of a side
_NOISE = 0.08  # deviation of each pixel
_COARSE = 6  # of the noise that grounds are made of, along a side
_FARTHEST = 0.25  # of a shape's colour from the ground's, at least
_PARTS = ("train", "valid", "test")
_MEAN, _DEVIATION = (0.5,) * 3, (0.25,) * 3


class ShapesMasks(Data):
    """Discs, squares and triangles in any colour and position on a ground of noise, drawn when a run begins.

    A picture has one to four shapes, later ones over earlier. Nothing but its outline tells what a shape is. All are
    the same each time.

    Args:
        height, width: of a picture, in pixels.
        samples: pictures to learn from; `valid` and `test` have a quarter as many each, and others.
    """

    item = Image
    target = PositionClasses
    source = "drawn by labwright-vision"
    licence = "none needed"
    suffixes = SUFFIXES

    def __init__(
        self,
        *,
        height: Annotated[int, Field(ge=16)] = 48,
        width: Annotated[int, Field(ge=16)] = 64,
        samples: Annotated[int, Field(ge=4)] = 400,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
        flip: Flip = False,
    ) -> None:
        self.height, self.width, self.samples = height, width, samples
        self.affine = Affine(samples, rotate=rotate, shift=shift, scale=scale, flip=flip)
        self._splits: dict[str, MaskedPictures] = {}

    def prepare(self) -> None:
        for seed, part in enumerate(_PARTS):
            draw = torch.Generator().manual_seed(seed)
            count = self.samples if part == "train" else self.samples // 4
            drawn = [_drawn(self.height, self.width, draw) for _ in range(count)]
            source = InMemory(*(torch.stack(rows) for rows in zip(*drawn, strict=True)))
            affine = self.affine if part == "train" else None
            self._splits[part] = MaskedPictures(source, _MEAN, _DEVIATION, affine)

    def ports(self) -> tuple[Port, Port]:
        return Image(3, self.height, self.width), PositionClasses(_NAMES, (self.height, self.width))

    def split(self, name: str) -> MaskedPictures | None:
        return self._splits.get(name)

    def files(self, folder: Path) -> list[Path]:
        return pictures(folder, Tally())

    def read(self, path: Path) -> Input:
        pixels = read_picture(path, channels=3, height=self.height, width=self.width)
        width, height = size_of(path)
        return Input(
            (scaled(torch.from_numpy(pixels)[None], _MEAN, _DEVIATION),),
            origin=Frame(self.height, self.width, "crop").window(height, width),
        )

    def identity(self, split: str) -> Iterator[str]:
        source = self._splits[split].source
        assert isinstance(source, InMemory)
        return source.identity()


def _drawn(height: int, width: int, draw: Generator) -> tuple[Tensor, Tensor]:
    """A picture, uint8 of shape (3, H, W), and the labels of its pixels, int16 of shape (H, W)."""
    coarse = torch.rand(1, 3, _COARSE, _COARSE, generator=draw)
    values_CHW = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)[0]
    labels_HW = torch.zeros(height, width, dtype=torch.int16)
    y_HW, x_HW = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    for _ in range(int(torch.randint(1, _MOST + 1, (), generator=draw))):
        label = int(torch.randint(1, len(_NAMES), (), generator=draw))
        top, left, size, turn = torch.rand(4, generator=draw).tolist()
        top, left = (_EDGE + (1 - 2 * _EDGE) * place for place in (top, left))
        radius = min(height, width) * (_SMALLEST + (_LARGEST - _SMALLEST) * size)
        down_HW, right_HW = y_HW - height * top, x_HW - width * left
        inside_HW = _outline(_NAMES[label], down_HW, right_HW, turn * math.tau) <= radius
        colour_C = torch.rand(3, generator=draw)
        ground_C = values_CHW.mean((1, 2))
        while (colour_C - ground_C).abs().max() < _FARTHEST:
            colour_C = torch.rand(3, generator=draw)
        values_CHW = torch.where(inside_HW, colour_C[:, None, None], values_CHW)
        labels_HW[inside_HW] = label
    values_CHW = values_CHW + _NOISE * torch.randn(values_CHW.shape, generator=draw)
    return (255 * values_CHW).round().clamp(0, 255).to(torch.uint8), labels_HW


def _outline(name: str, down_HW: Tensor, right_HW: Tensor, turn: float) -> Tensor:
    """How far each pixel is from a shape's middle, in units in which the outline is a circle of its radius."""
    if name == "disc":
        return torch.hypot(down_HW, right_HW)
    corners = 4 if name == "square" else 3
    sides = [turn + math.tau * corner / corners for corner in range(corners)]
    # to the farthest of its sides, which lie nearer than its corners
    farthest_HW = torch.stack([down_HW * math.sin(side) + right_HW * math.cos(side) for side in sides]).amax(0)
    return farthest_HW / math.cos(math.pi / corners)
