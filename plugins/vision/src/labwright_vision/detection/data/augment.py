"""Augmentation of pictures with boxes, a whole batch at once. B batch, C channels, H height, W width, N boxes.

What a sample gets is a function of (seed, epoch, its index in the split), as in data/augment.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import torch
from labwright import Choice, Uniform, derived_seed, draws
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from labwright_vision.detection.data.letterbox import BESIDE

# The settings, as they stand in a constructor. 0 and false: off.
Flip = Annotated[
    bool, Field(description="whether half of the training pictures are mirrored, left to right."), Choice(False, True)
]
Turn = Annotated[
    bool, Field(description="whether half of the training pictures are mirrored, top to bottom."), Choice(False, True)
]
Scale = Annotated[
    float, Field(ge=0, lt=1, description="largest change of size of training pictures, as a share."), Uniform(0.0, 0.6)
]
Mosaic = Annotated[
    float, Field(ge=0, le=1, description="share of the training pictures that are made of four."), Uniform(0.0, 1.0)
]

_STREAM, _OF_SAMPLE = 20, 9  # of draws, and how many a sample has
_SEEN = 0.25  # of a box's area: one of which less is left after cutting is no longer looked for
_SMALLEST = 2.0  # pixels along a side
_INSIDE = 0.5  # of a pixel: so much of it belongs to an object whose mask has it


@dataclass(frozen=True)
class Sample:
    """A picture and its boxes: `pixels` uint8 (C, H, W), `boxes` (N, 4), `labels` (N,) and `crowd` (N,).

    Where there are masks, `masks` (N, H, W) bool.
    """

    pixels: Tensor
    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    masks: Tensor | None = None


@dataclass(frozen=True)
class Zoom:
    """Shows a part of each picture, or more than it: sizes change by a factor uniform in 1 ± `scale`.

    What is larger than before is cut at a place drawn by chance, what is smaller stands at one. `flip` and `turn`
    mirror. A share `mosaic` of pictures has three others beside and below it, and of the four together a part of the
    usual size is shown (Bochkovskiy et al. 2020). Boxes and masks follow; a box of which less than a quarter is left is
    dropped, unless it is a crowd's, and one of whose mask nothing is seen.
    """

    scale: float
    flip: bool
    turn: bool
    mosaic: float

    @property
    def active(self) -> bool:
        return self.flip or self.turn or max(self.scale, self.mosaic) > 0

    def __call__(
        self, get: Callable[[int], Sample], length: int, indices_B: Tensor, epoch: int, seed: int
    ) -> tuple[Tensor, list[Sample]]:
        """The pictures of the samples at `indices_B`, float (B, C, H, W) with values 0..255, and their boxes.

        `get` gives any of the split's `length` samples.
        """
        draws_BD = _table(length, seed, epoch)[indices_B]
        pictures, samples = [], []
        for index, draws_D in zip(indices_B.tolist(), draws_BD, strict=True):
            canvas = self._canvas(get, length, index, draws_D)
            picture, sample = self._shown(canvas, get(index).pixels.shape, draws_D)
            pictures.append(picture)
            samples.append(sample)
        return torch.cat(pictures), samples

    def _canvas(self, get: Callable[[int], Sample], length: int, index: int, draws_D: Tensor) -> Sample:
        """The sample itself, or one twice as high and wide with three others."""
        if draws_D[4] >= self.mosaic:
            return get(index)
        places = [index, *(draws_D[5:8] * length).long().tolist()]
        return _four([get(place) for place in _turned(places, int(draws_D[8] * 4))])

    def _shown(self, canvas: Sample, shape: torch.Size, draws_D: Tensor) -> tuple[Tensor, Sample]:
        factor = 1 + self.scale * (2 * float(draws_D[0]) - 1)
        _, height, width = shape
        # the window that is shown, in the canvas's pixels; larger than it, there is grey around
        across, down = width / factor, height / factor
        left, top = (
            float(draw) * (canvas.pixels.shape[axis] - side)
            for draw, axis, side in ((draws_D[1], 2, across), (draws_D[2], 1, down))
        )
        mirrored, turned = self.flip and float(draws_D[3]) < 0.5, self.turn and float(draws_D[3] * 2 % 1) < 0.5
        window, size = (left, top, across, down), (height, width)
        picture = _sampled(canvas.pixels, window, size, mirrored, turned, BESIDE)
        masks_NHW = canvas.masks
        if masks_NHW is not None and len(masks_NHW):
            masks_NHW = _sampled(masks_NHW, window, size, mirrored, turned, 0)[0] >= _INSIDE
        elif masks_NHW is not None:
            masks_NHW = masks_NHW.new_zeros(0, *size)
        boxes_N4 = (canvas.boxes - torch.tensor([left, top, left, top])) * factor
        if mirrored:
            boxes_N4 = torch.stack([width - boxes_N4[:, 2], boxes_N4[:, 1], width - boxes_N4[:, 0], boxes_N4[:, 3]], 1)
        if turned:
            boxes_N4 = torch.stack(
                [boxes_N4[:, 0], height - boxes_N4[:, 3], boxes_N4[:, 2], height - boxes_N4[:, 1]], 1
            )
        return picture, _cut(Sample(canvas.pixels, boxes_N4, canvas.labels, canvas.crowd, masks_NHW), height, width)


@lru_cache(maxsize=2)
def _table(length: int, seed: int, epoch: int) -> Tensor:
    return draws(length, _OF_SAMPLE, seed=derived_seed(seed, _STREAM), epoch=epoch)


def _turned(places: Sequence[int], times: int) -> list[int]:
    return [*places[times:], *places[:times]]


def _four(samples: Sequence[Sample]) -> Sample:
    """Four pictures as one, two above two."""
    first, second, third, fourth = (sample.pixels for sample in samples)
    pixels = torch.cat([torch.cat([first, second], dim=2), torch.cat([third, fourth], dim=2)], dim=1)
    _, height, width = first.shape
    places = [(x, y) for y in (0, height) for x in (0, width)]
    moves = [torch.tensor([x, y, x, y]) for x, y in places]
    masks = [
        functional.pad(sample.masks, (x, width - x, y, height - y))
        for sample, (x, y) in zip(samples, places, strict=True)
        if sample.masks is not None
    ]
    return Sample(
        pixels,
        torch.cat([sample.boxes + move for sample, move in zip(samples, moves, strict=True)]),
        torch.cat([sample.labels for sample in samples]),
        torch.cat([sample.crowd for sample in samples]),
        torch.cat(masks) if masks else None,
    )


def _sampled(
    pixels_CHW: Tensor,
    window: tuple[float, float, float, float],
    size: tuple[int, int],
    mirrored: bool,
    turned: bool,
    beside: int,
) -> Tensor:
    """What a window (left, top, width, height) shows, in a size of its own: (1, C, H, W), `beside` beside it."""
    height, width = pixels_CHW.shape[1:]
    left, top, across, down = window
    # in the coordinates of grid_sample, -1..1 from side to side; columns and rows each by themselves, which is faster
    # than affine_grid's product for each pixel
    scales = across / width * (-1 if mirrored else 1), down / height * (-1 if turned else 1)
    middle = (2 * left + across) / width - 1, (2 * top + down) / height - 1
    y_H, x_W = (
        scale * ((2 * torch.arange(pixels) + 1) / pixels - 1) + at
        for scale, at, pixels in zip(scales[::-1], middle[::-1], size, strict=True)
    )
    grid_bhw2 = torch.stack([x_W.expand(size), y_H[:, None].expand(size)], dim=-1)[None]
    x_bchw = pixels_CHW[None].float().sub_(beside)
    return functional.grid_sample(x_bchw, grid_bhw2, align_corners=False).add_(beside)


def _cut(sample: Sample, height: int, width: int) -> Sample:
    """Boxes cut off at the sides, without those of which too little is left."""
    limit = torch.tensor([width, height, width, height])
    boxes_N4 = torch.minimum(sample.boxes.clamp(min=0), limit)
    sides_N2, whole_N2 = boxes_N4[:, 2:] - boxes_N4[:, :2], sample.boxes[:, 2:] - sample.boxes[:, :2]
    much = sides_N2.prod(1) >= _SEEN * whole_N2.prod(1)
    kept = (much | sample.crowd) & (sides_N2 >= _SMALLEST).all(1)  # what is seen of a crowd is no background
    masks = sample.masks
    if masks is not None:
        kept &= masks.flatten(1).any(1)
        masks = masks[kept]
    return Sample(sample.pixels, boxes_N4[kept], sample.labels[kept], sample.crowd[kept], masks)
