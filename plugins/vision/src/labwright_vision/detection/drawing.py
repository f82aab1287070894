"""Boxes and masks drawn on pictures. C channels, H height, W width."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

# of classes in their order, as matplotlib's tab10, and then again
_COLOURS = (
    (31, 119, 180),
    (255, 127, 14),
    (44, 160, 44),
    (214, 39, 40),
    (148, 103, 189),
    (140, 86, 75),
    (227, 119, 194),
    (127, 127, 127),
    (188, 189, 34),
    (23, 190, 207),
)
_THIN = 400  # pixels of the longer side to a pixel of a line
_OPAQUE = 0.5  # how much of a mask's colour covers what is below
_SMALLEST = 160  # pixels of the longer side: smaller pictures are enlarged, so that a name can be read


@dataclass(frozen=True)
class Found:
    """A box to draw, its class and its score; without a score it is a true one. `mask` (H, W) bool, if it has one."""

    box: tuple[float, float, float, float]
    name: str
    score: float | None = None
    mask: Tensor | None = None


def drawn(picture_CHW: Tensor, boxes: Sequence[Found], names: Sequence[str]) -> Tensor:
    """A picture, values 0..1, with boxes in the colours of their classes: (3, H, W)."""
    pixels = np.asarray(_drawing(picture_CHW, boxes, names))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def png(picture_CHW: Tensor, boxes: Sequence[Found], names: Sequence[str]) -> bytes:
    """The same as a PNG file."""
    file = io.BytesIO()
    _drawing(picture_CHW, boxes, names).save(file, "PNG")
    return file.getvalue()


def _drawing(picture_CHW: Tensor, boxes: Sequence[Found], names: Sequence[str]) -> Image:
    from PIL import Image, ImageDraw

    pixels_CHW = picture_CHW.float().clamp(0, 1).expand(3, -1, -1).clone()
    for found in reversed(boxes):  # the best are drawn over the others
        if found.mask is not None:
            colour_31 = torch.tensor(_COLOURS[names.index(found.name) % len(_COLOURS)])[:, None] / 255
            pixels_CHW[:, found.mask] = pixels_CHW[:, found.mask].lerp(colour_31, _OPAQUE)
    image = Image.fromarray((pixels_CHW * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())
    times = max(1, -(-_SMALLEST // max(image.size)))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    canvas, line = ImageDraw.Draw(image), 1 + max(image.size) // _THIN
    for found in reversed(boxes):
        colour = _COLOURS[names.index(found.name) % len(_COLOURS)]
        left, top, right, bottom = (side * times for side in found.box)
        canvas.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=line)
        if found.score is None:
            continue
        text = f"{found.name} {found.score:.2f}"
        ends = canvas.textbbox((left, top), text)
        canvas.rectangle(ends, fill=colour)
        canvas.text((left, top), text, fill=(255, 255, 255))
    return image
