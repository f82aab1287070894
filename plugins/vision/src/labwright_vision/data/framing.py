"""How pictures of any size, and masks, become those of the size a model takes. C channels, H height, W width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from labwright import LEFT_OUT
from labwright_tasks.dense_labels import Shown
from PIL import Image

from labwright_vision.data.reading import values

Fit = Literal["letterbox", "crop", "stretch"]


@dataclass(frozen=True)
class Frame:
    """A size, and how what has another aspect fits: with a border, cut to it around the middle, or stretched."""

    height: int
    width: int
    fit: Fit

    def window(self, height: int, width: int) -> Shown:
        """What is seen of a picture of this size."""
        if self.fit == "stretch":
            return Shown(height, width, (0.0, 0.0, height, width))
        if self.fit == "crop":
            scale = max(self.height / height, self.width / width)
            high, wide = self.height / scale, self.width / scale
            return Shown(height, width, ((height - high) / 2, (width - wide) / 2, high, wide))
        inner_height, inner_width, top, left = self.inner(height, width)
        down, across = height / inner_height, width / inner_width
        return Shown(height, width, (-top * down, -left * across, self.height * down, self.width * across))

    def picture(self, picture: Image.Image, border: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
        """The pixels, uint8 of shape (C, H, W), bilinear; the border has a value for each channel.

        `size` is the width and height of the file's picture, which may have been decoded smaller: see `upright`.
        """
        if self.fit != "letterbox":
            top, left, high, wide = self.window(size[1], size[0]).window
            across, down = picture.width / size[0], picture.height / size[1]
            right, bottom = min(picture.width, (left + wide) * across), min(picture.height, (top + high) * down)
            box = (max(0.0, left) * across, max(0.0, top) * down, right, bottom)
            return values(picture.resize((self.width, self.height), Image.Resampling.BILINEAR, box=box))
        height, width, top, left = self.inner(size[1], size[0])
        framed = np.empty((len(border), self.height, self.width), dtype=np.uint8)
        framed[:] = np.array(border, dtype=np.uint8)[:, None, None]
        framed[:, top : top + height, left : left + width] = values(
            picture.resize((width, height), Image.Resampling.BILINEAR)
        )
        return framed

    def labels(self, labels_HW: np.ndarray) -> np.ndarray:
        """The label of the nearest pixel for each that is seen; LEFT_OUT in a border."""
        height, width = labels_HW.shape
        top, left, high, wide = self.window(height, width).window
        rows = np.floor(top + (np.arange(self.height) + 0.5) * high / self.height).astype(int)
        columns = np.floor(left + (np.arange(self.width) + 0.5) * wide / self.width).astype(int)
        framed: np.ndarray = labels_HW[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
        framed[(rows < 0) | (rows >= height)] = LEFT_OUT
        framed[:, (columns < 0) | (columns >= width)] = LEFT_OUT
        return framed

    def inner(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Height, width, top and left of a picture within its border."""
        scale = min(self.height / height, self.width / width)
        high, wide = max(1, round(height * scale)), max(1, round(width * scale))
        return high, wide, (self.height - high) // 2, (self.width - wide) // 2
