"""Pictures between the data and -1..1, as PNG files and side by side. B batch, C channels, H height, W width."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from labwright import IndexedBatches, LabwrightError, Split
from torch import Tensor

_AT_ONCE = 256


@dataclass(frozen=True)
class Scaling:
    """The smallest and the largest value of each channel in the data, which become -1 and 1."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, split: Split, where: str) -> Scaling:
        """That of a split as its first epoch shows it. Raises LabwrightError if all pictures are of one colour."""
        lows, highs = [], []
        for batch in IndexedBatches.in_order(split, _AT_ONCE):
            low_C, high_C = batch.inputs[0].transpose(0, 1).flatten(1).aminmax(dim=1)
            lows.append(low_C)
            highs.append(high_C)
        low_C, high_C = torch.stack(lows).amin(0), torch.stack(highs).amax(0)
        if bool((low_C == high_C).all()):
            raise LabwrightError(f"{where}: all training pictures are of one colour; there is nothing to learn.")
        return cls(tuple(low_C.tolist()), tuple(high_C.tolist()))

    def unit(self, x_BCHW: Tensor) -> Tensor:
        """Pictures of the data with values -1..1."""
        middle, half = self._middle_and_half(x_BCHW)
        return (x_BCHW - middle) / half

    def data(self, x_BCHW: Tensor) -> Tensor:
        """Pictures with values -1..1 in the data's scale."""
        middle, half = self._middle_and_half(x_BCHW)
        return x_BCHW * half + middle

    def _middle_and_half(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (x_BCHW.new_tensor(ends).view(1, -1, 1, 1) for ends in (self.low, self.high))
        half = (high - low) / 2
        return (high + low) / 2, torch.where(half > 0, half, 1.0)


def pixels(x_BCHW: Tensor) -> np.ndarray:
    """Pictures with values -1..1 as bytes: (B, H, W, 3) if they have three channels, else their mean, (B, H, W)."""
    values = ((x_BCHW.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    if values.shape[1] == 3:
        return np.asarray(values.permute(0, 2, 3, 1))
    return np.asarray(values.float().mean(1).round().to(torch.uint8))


def png(x_CHW: Tensor) -> bytes:
    """A picture with values -1..1 as a PNG file, in colour if it has three channels, else grey."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels(x_CHW[None])[0]).save(file, "PNG")
    return file.getvalue()


def sheet(rows: list[Tensor], columns: int) -> np.ndarray:
    """Rows of pictures, each (K, C, H, W) with K up to `columns`, as one on white with a pixel between: bytes."""
    drawn = [pixels(row) for row in rows]
    height, width, *colours = drawn[0].shape[1:]
    whole = np.full((len(rows) * (height + 1) - 1, columns * (width + 1) - 1, *colours), 255, dtype=np.uint8)
    for row, pictures in enumerate(drawn):
        for column, picture in zip(range(columns), pictures, strict=False):
            top, left = row * (height + 1), column * (width + 1)
            whole[top : top + height, left : left + width] = picture
    return whole
