"""Pictures fitted whole into one size; boxes and masks brought there and back. H height, W width, N boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labwright_vision.data.framing import Frame
from labwright_vision.data.reading import Readable, upright

_INSIDE = 128  # of 255: so much of a pixel belongs to an object whose mask has it
BESIDE = 114  # the grey value beside a picture, as in the YOLOs


@dataclass(frozen=True)
class Letterbox:
    """How pictures are fitted: as large as `height` and `width` let them be, in the middle, grey beside them."""

    height: int
    width: int
    channels: int = 3

    def window(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Where a picture of that size lies: left, top, and its width and height there."""
        high, wide, top, left = self._frame.inner(height, width)
        return left, top, wide, high

    def read(self, file: Readable) -> tuple[np.ndarray, tuple[int, int]]:
        """A picture as uint8 (C, H, W), fitted, and its own width and height. Raises LabwrightError for what is none.

        White is transparent.
        """
        mode = "L" if self.channels == 1 else "RGB"
        picture, size = upright(file, mode, (2 * self.width, 2 * self.height))
        return self._frame.picture(picture, (BESIDE,) * len(mode), size), size

    @property
    def _frame(self) -> Frame:
        return Frame(self.height, self.width, "letterbox")

    def boxes(self, boxes_N4: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes of a picture of some width and height, as they lie where it is fitted."""
        left, top, width, height = self.window(*size)
        factors = torch.tensor([width / size[0], height / size[1]] * 2)
        return boxes_N4 * factors + torch.tensor([left, top, left, top])

    def mask(self, mask_HW: np.ndarray) -> np.ndarray:
        """The mask of an object of a picture, bool, as it lies where the picture is fitted."""
        height, width = mask_HW.shape
        framed = self._frame.picture(Image.fromarray(mask_HW.astype(np.uint8) * 255), (0,), (width, height))
        inside_HW: np.ndarray = framed[0] >= _INSIDE
        return inside_HW


@dataclass(frozen=True)
class Origin:
    """What a prediction knows of its picture: the file's bytes, its size, and how it was fitted."""

    content: bytes
    size: tuple[int, int]
    letterbox: Letterbox

    def read_bytes(self) -> bytes:
        return self.content

    def __str__(self) -> str:
        return "the picture"

    def to_picture(self, boxes_N4: Tensor) -> Tensor:
        """Boxes in pixels of the picture itself, cut off at its sides."""
        left, top, width, height = self.letterbox.window(*self.size)
        factors = torch.tensor([width / self.size[0], height / self.size[1]] * 2)
        boxes_N4 = (boxes_N4 - torch.tensor([left, top, left, top])) / factors
        return torch.minimum(boxes_N4.clamp(min=0), torch.tensor([*self.size, *self.size]))

    def masks_to_picture(self, masks_NHW: Tensor) -> Tensor:
        """Masks in pixels of the picture itself, (N, H, W) bool."""
        left, top, width, height = self.letterbox.window(*self.size)
        fitted = masks_NHW[:, top : top + height, left : left + width].numpy()
        masks = [
            np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(self.size, Image.Resampling.BILINEAR))
            for mask in fitted
        ]
        return torch.from_numpy(np.array(masks).reshape(-1, *self.size[::-1]) >= _INSIDE)

    def picture(self) -> Tensor:
        """The picture in its own size, (3, H, W), values 0..1."""
        shown, _ = upright(self, "RGB", self.size)
        return torch.from_numpy(np.asarray(shown).copy()).permute(2, 0, 1).float() / 255
