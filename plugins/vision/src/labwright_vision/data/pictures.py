"""What the datasets share: a split held in memory, parts held out, and a picture read from a file.

N samples, B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from labwright.data import Batch
from labwright.errors import LabwrightError
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from labwright_vision.data.augment import Affine

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Pictures:
    """A split held in memory: `x` (N, C, H, W) float32, already scaled, and `labels` (N,) int64."""

    def __init__(self, x: Tensor, labels: Tensor, augment: Affine | None = None) -> None:
        self.x = x
        self.labels = labels
        self.augment = augment if augment is not None and augment.active else None

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        x_BCHW = self.x[indices]
        if self.augment is not None:
            x_BCHW = self.augment(x_BCHW, indices, epoch, seed)
        return Batch((x_BCHW,), self.labels[indices])


def held_out(labels: Sequence[int], share: float, keys: Sequence[int]) -> np.ndarray:
    """Which samples are held out, a mask of shape (N,): round(share * N) of them, each class in proportion.

    Within a class those with the smallest keys are taken, so that the choice is fixed for good. Classes get what is
    left over in the order of the fractions they lost, so that none is more than one sample off its share.
    """
    members = defaultdict(list)
    for position, label in enumerate(labels):
        members[label].append(position)
    exact = {label: share * len(of_class) for label, of_class in sorted(members.items())}
    counts = {label: int(size) for label, size in exact.items()}
    missing = round(share * len(labels)) - sum(counts.values())
    for label in sorted(exact, key=lambda label: counts[label] - exact[label])[:missing]:
        counts[label] += 1
    mask = np.zeros(len(labels), dtype=bool)
    for label, of_class in members.items():
        mask[sorted(of_class, key=lambda position: keys[position])[: counts[label]]] = True
    return mask


def read_picture(path: Path, *, channels: int, height: int, width: int) -> np.ndarray:
    """A picture as uint8 of shape (C, H, W), whatever its size: cut to the aspect around its middle, then resized.

    Turned upright if the camera noted its position; grey or RGB as `channels` says; 16-bit grey keeps its upper 8 bits.
    Raises LabwrightError naming a file that is no picture or is damaged.
    """
    mode = "L" if channels == 1 else "RGB"
    try:
        with Image.open(path) as opened:
            opened.draft(mode, (2 * width, 2 * height))  # a large JPEG is decoded no larger than it needs to be
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):
                picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 256).astype(np.uint8))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")  # a palette's transparent entry would be taken for a colour
            fitted = ImageOps.fit(picture.convert(mode), (width, height), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "it is no picture that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
        raise LabwrightError(f"{path} can't be read as a picture: {reason}. Mend it or take it away.") from error
    pixels = np.asarray(fitted)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def scaled(pixels: np.ndarray, mean: Tensor | float, deviation: Tensor | float, top: float = 255.0) -> Tensor:
    """Pixel values 0..`top` as float32 of about zero mean and unit variance: (value / top - mean) / deviation."""
    return torch.from_numpy(pixels.astype(np.float32)).div_(top).sub_(mean).div_(deviation)
