"""Labels of pixels as pictures. H height, W width."""

from __future__ import annotations

import io

import numpy as np
from torch import Tensor

COLOURS = 256  # that a picture with a palette can tell apart
UNSEEN = 255  # the label of a pixel that no model saw
UNSEEN_OF_MANY = 65535  # where there are more classes than a byte tells apart


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


def png(labels_HW: Tensor, classes: int) -> bytes:
    """A PNG file whose values are the labels: of a byte, with a palette that shows them, or of 16 bits for many."""
    from PIL import Image

    values_HW, file = labels_HW.numpy(), io.BytesIO()
    if classes < COLOURS:
        picture = Image.fromarray(values_HW.astype(np.uint8))
        picture.putpalette([channel for colour in palette(COLOURS) for channel in colour])
    else:
        picture = Image.fromarray(values_HW.astype(np.uint16))
    picture.save(file, "PNG")
    return file.getvalue()
