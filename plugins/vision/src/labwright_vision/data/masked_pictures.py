"""A split of pictures with a label for each pixel. N samples, B batch, C channels, H height, W width."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from labwright import Batch
from torch import Tensor

from labwright_vision.data.augment import Affine, Augment


class Source(Protocol):
    """Where samples come from: their pixels (B, C, H, W) uint8 and labels (B, H, W) int16, in memory or from files."""

    def __len__(self) -> int: ...

    def __call__(self, indices_B: Tensor) -> tuple[Tensor, Tensor]: ...


class InMemory:
    """Samples that were read or drawn already."""

    def __init__(self, pixels_NCHW: Tensor, labels_NHW: Tensor) -> None:
        self.pixels_NCHW, self.labels_NHW = pixels_NCHW, labels_NHW

    def __len__(self) -> int:
        return len(self.labels_NHW)

    def __call__(self, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        return self.pixels_NCHW[indices_B], self.labels_NHW[indices_B]

    def identity(self) -> Iterator[str]:
        """A digest of the labels, and one of the pictures."""
        for tensor in (self.labels_NHW, self.pixels_NCHW):
            yield hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


class MaskedPictures:
    """Pictures scaled by the mean and deviation of each channel, values 0..1, and int64 labels that go with them.

    What `affine` does to a picture is done to its labels; `colours` are those of the picture alone.
    """

    def __init__(
        self,
        source: Source,
        mean: Sequence[float],
        deviation: Sequence[float],
        affine: Affine | None = None,
        colours: Augment | None = None,
    ) -> None:
        self.source, self.mean, self.deviation = source, mean, deviation
        self.affine = affine if affine is not None and affine.active else None
        self.colours = colours if colours is not None and colours.active else None

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        pixels_BCHW, labels_BHW = self.source(indices)
        x_BCHW, labels_BHW = scaled(pixels_BCHW, self.mean, self.deviation), labels_BHW.long()
        if self.affine is not None:
            x_BCHW, labels_BHW = self.affine.with_labels(x_BCHW, labels_BHW, indices, epoch, seed)
        if self.colours is not None:
            x_BCHW = self.colours(x_BCHW, indices, epoch, seed)
        return Batch((x_BCHW,), labels_BHW)

    def plain(self) -> MaskedPictures:
        return MaskedPictures(self.source, self.mean, self.deviation)


def scaled(pixels_BCHW: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """Pixel values 0..255 as float32: (value / 255 - mean) / deviation."""
    mean_C11, deviation_C11 = (torch.tensor(values)[:, None, None] for values in (mean, deviation))
    return pixels_BCHW.float().div_(255).sub_(mean_C11).div_(deviation_C11)
