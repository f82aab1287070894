"""Differentiable augmentation of pictures, real and generated alike (Zhao et al. 2020, with the ranges of its code).

B batch, C channels, H height, W width, K kinds. Values are -1..1; what comes in at an edge or is cut out is 0.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

Kind = Literal["colour", "translation", "cutout"]

_NUMBERS = {"colour": 3, "translation": 2, "cutout": 2}  # uniform ones that a picture's change is made of
_SHIFT, _CUT = 0.125, 0.5  # of a side


def draws(kinds: tuple[Kind, ...], share: float, count: int, generator: Generator) -> Tensor:
    """What `augmented` needs for so many pictures: for each kind uniform numbers and whether it is done, 1 or 0.

    Each kind is done to a picture with probability `share`, each by itself.
    """
    columns = []
    for kind in kinds:
        numbers = torch.rand(count, _NUMBERS[kind], generator=generator)
        done = torch.rand(count, 1, generator=generator) < share
        columns += [numbers, done.float()]
    return torch.cat(columns, dim=1)


def augmented(x_BCHW: Tensor, kinds: tuple[Kind, ...], draws_BK: Tensor) -> Tensor:
    """Pictures changed as `draws` says; gradients pass."""
    column = 0
    for kind in kinds:
        numbers = draws_BK[:, column : column + _NUMBERS[kind]]
        done = draws_BK[:, column + _NUMBERS[kind]].view(-1, 1, 1, 1)
        changed = {"colour": _coloured, "translation": _translated, "cutout": _cut_out}[kind](x_BCHW, numbers)
        x_BCHW = torch.where(done > 0, changed, x_BCHW)
        column += _NUMBERS[kind] + 1
    return x_BCHW


def _coloured(x_BCHW: Tensor, numbers_B3: Tensor) -> Tensor:
    """Brighter by -0.5..0.5, 0 to 2 times as far from grey, 0.5 to 1.5 times as far from the picture's mean."""
    brightness, saturation, contrast = numbers_B3.view(-1, 3, 1, 1, 1).to(x_BCHW.dtype).unbind(1)
    x_BCHW = x_BCHW + (brightness - 0.5)
    grey = x_BCHW.mean(1, keepdim=True)
    x_BCHW = grey + 2 * saturation * (x_BCHW - grey)
    mean = x_BCHW.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (x_BCHW - mean)


def _translated(x_BCHW: Tensor, numbers_B2: Tensor) -> Tensor:
    """Moved by up to an eighth of each side, in whole pixels."""
    for axis, number_B in zip((2, 3), numbers_B2.unbind(1), strict=True):
        side = x_BCHW.shape[axis]
        most = int(side * _SHIFT + 0.5)
        moved_B = (number_B * (2 * most + 1)).floor().clamp(max=2 * most) - most
        origin_BS = torch.arange(side, device=x_BCHW.device) - moved_B[:, None].long()
        inside_BS = (origin_BS >= 0) & (origin_BS < side)
        shape = (-1, 1, side, 1) if axis == 2 else (-1, 1, 1, side)
        rows = origin_BS.clamp(0, side - 1).view(shape).expand(x_BCHW.shape)
        x_BCHW = x_BCHW.gather(axis, rows) * inside_BS.view(shape)
    return x_BCHW


def _cut_out(x_BCHW: Tensor, numbers_B2: Tensor) -> Tensor:
    """Without a rectangle of half of each side, whose middle is any pixel."""
    cut = torch.ones_like(x_BCHW[:, :1], dtype=torch.bool)
    for axis, number_B in zip((2, 3), numbers_B2.unbind(1), strict=True):
        side = x_BCHW.shape[axis]
        length = int(side * _CUT + 0.5)
        first_B = (number_B * (side + 1 - length % 2)).floor() - length // 2
        away_BS = torch.arange(side, device=x_BCHW.device) - first_B[:, None]
        shape = (-1, 1, side, 1) if axis == 2 else (-1, 1, 1, side)
        cut = cut & ((away_BS >= 0) & (away_BS < length)).view(shape)
    return x_BCHW.masked_fill(cut, 0.0)
