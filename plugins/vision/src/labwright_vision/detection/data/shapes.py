"""Shapes drawn at run time, with a box around each, and perhaps its mask. H height, W width, N shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from labwright import Data, Image, Input, LabwrightError, Port, derived_seed
from pydantic import Field
from torch import Tensor

from labwright_vision.data.folders import Tally, pictures
from labwright_vision.data.reading import SUFFIXES
from labwright_vision.detection.data.augment import Flip, Mosaic, Sample, Scale, Turn, Zoom
from labwright_vision.detection.data.letterbox import Letterbox, Origin
from labwright_vision.detection.data.split import BoxSplit, scaled, shown
from labwright_vision.detection.ports import Boxes, Instances

NAMES = ("circle", "square", "triangle")
_SIZES = 0.08, 0.2  # half a shape's side, as shares of the picture's
_APART = 0.3  # of the smaller shape's area: the most that two may share
_TRIES = 20  # places for a shape, before there is one fewer
_CONTRAST = 50  # grey values that a shape differs from what is behind it, at least
_PARTS = ("train", "valid", "test")


class Shapes(Data):
    """Circles, squares and triangles of any colour on noise, with the box of each; drawn when a run begins.

    Shapes may touch. Pictures are a function of the part, their place in it, `size` and `most`: the same in every run.

    Args:
        train, valid, test: how many pictures the part has.
        size: of a picture, in pixels along a side.
        most: most shapes of a picture; some have none.
        masks: whether each shape has a mask as well, of the pixels of it that are seen.
    """

    item = Image
    target = Boxes
    source = "drawn at run time"
    licence = "none needed"
    suffixes = SUFFIXES

    def __init__(
        self,
        *,
        train: Annotated[int, Field(ge=1)] = 400,
        valid: Annotated[int, Field(ge=0)] = 100,
        test: Annotated[int, Field(ge=0)] = 100,
        size: Annotated[int, Field(ge=32, multiple_of=32)] = 96,
        most: Annotated[int, Field(ge=1, le=20)] = 5,
        masks: bool = False,
        scale: Scale = 0.0,
        flip: Flip = False,
        turn: Turn = False,
        mosaic: Mosaic = 0.0,
    ) -> None:
        self.counts = dict(zip(_PARTS, (train, valid, test), strict=True))
        self.size, self.most, self.masks = size, most, masks
        self.zoom = Zoom(scale, flip, turn, mosaic)
        self._splits: dict[str, BoxSplit] = {}

    def prepare(self) -> None:
        for number, part in enumerate(_PARTS):
            pictures = (drawn(number, index, self.size, self.most) for index in range(self.counts[part]))
            samples = [replace(sample, masks=masks) if self.masks else sample for sample, masks in pictures]
            if samples:
                zoom = self.zoom if part == "train" else None
                self._splits[part] = BoxSplit(samples.__getitem__, len(samples), zoom)

    def ports(self) -> tuple[Port, Port]:
        return Image(3, self.size, self.size), Instances(NAMES) if self.masks else Boxes(NAMES)

    def split(self, name: str) -> BoxSplit | None:
        return self._splits.get(name)

    def identity(self, split: str) -> Iterator[str]:
        yield f"{split} {self.counts[split]} {self.size} {self.most}{' masks' if self.masks else ''}"

    def files(self, folder: Path) -> list[Path]:
        return pictures(folder, Tally())

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return read_input(path, Letterbox(self.size, self.size))

    def show(self, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        return shown(inputs[0])


def read_input(path: Path, letterbox: Letterbox) -> Input:
    """A picture as a model takes it, with the origin that brings boxes back to its pixels."""
    pixels, size = letterbox.read(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LabwrightError(f"{path} can't be read: {error.strerror}.") from error
    return Input((scaled(torch.from_numpy(pixels.copy())[None].float()),), origin=Origin(content, size, letterbox))


@lru_cache(maxsize=1024)
def drawn(part: int, index: int, size: int, most: int) -> tuple[Sample, Tensor]:
    """One picture with its boxes, and the mask of each shape as far as it is seen, bool (N, H, W)."""
    draw = np.random.default_rng(derived_seed(part, index, size, most))
    background = draw.integers(40, 216, 3)
    pixels_HWC = np.clip(background + draw.normal(0, 20, (size, size, 3)), 0, 255)
    masks: list[np.ndarray] = []
    labels: list[int] = []
    for _ in range(draw.integers(0, most + 1)):
        label = int(draw.integers(len(NAMES)))
        mask = _placed(draw, label, size, masks)
        if mask is None:
            continue
        masks = [before & ~mask for before in masks]  # what is drawn later lies above
        pixels_HWC[mask] = np.clip(_colour(draw, background) + draw.normal(0, 10, (int(mask.sum()), 3)), 0, 255)
        masks.append(mask)
        labels.append(label)
    masks_NHW = torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, size, size, dtype=torch.bool)
    pixels = torch.from_numpy(pixels_HWC.astype(np.uint8)).permute(2, 0, 1).contiguous()
    boxes_N4 = _around(masks_NHW)
    return (
        Sample(pixels, boxes_N4, torch.tensor(labels, dtype=torch.int64), torch.zeros(len(labels), dtype=torch.bool)),
        masks_NHW,
    )


def _placed(draw: np.random.Generator, label: int, size: int, others: list[np.ndarray]) -> np.ndarray | None:
    """A shape that hides little of the others; None if no place for it was found."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    for _ in range(_TRIES):
        half = draw.uniform(*_SIZES) * size
        x, y = draw.uniform(half, size - half, 2)
        across, down = np.abs(columns - x), rows - y
        mask: np.ndarray
        if NAMES[label] == "circle":
            mask = across**2 + down**2 < half**2
        elif NAMES[label] == "square":
            mask = np.maximum(across, np.abs(down)) < half
        else:
            mask = (across < (down + half) / 2) & (down < half)  # the tip above
        if all((mask & other).sum() < _APART * min(mask.sum(), other.sum()) for other in others):
            return mask
    return None


def _colour(draw: np.random.Generator, background: np.ndarray) -> np.ndarray:
    """One that differs from the background in some channel."""
    while True:
        colour = draw.integers(0, 256, 3)
        if np.abs(colour - background).max() >= _CONTRAST:
            return colour


def _around(masks_NHW: Tensor) -> Tensor:
    """The smallest box around each mask, (N, 4) float32."""
    boxes = []
    for mask in masks_NHW:
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
