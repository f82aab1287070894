"""Labels of pixels as pictures. H height, W width."""

from __future__ import annotations

import io

import torch
from torch import Tensor

COLOURS = 256  # that a picture with a palette can tell apart
UNSEEN = 255  # the label of a pixel that no model saw


def palette(classes: int) -> list[tuple[int, int, int]]:
    """A colour for each class, the first black: those of PASCAL VOC, made of the bits of the label."""
    colours = []
    for label in range(classes):
        channels = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                channels[channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
        colours.append((channels[0], channels[1], channels[2]))
    return colours


def png(labels_HW: Tensor) -> bytes:
    """A PNG file whose values are the labels, below 256, and whose palette shows them."""
    from PIL import Image

    picture, file = Image.fromarray(labels_HW.to(torch.uint8).numpy()), io.BytesIO()
    picture.putpalette([channel for colour in palette(COLOURS) for channel in colour])
    picture.save(file, "PNG")
    return file.getvalue()
