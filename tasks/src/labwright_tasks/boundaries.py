"""How well the borders between classes are met. B pictures, C classes, H height, W width."""

from __future__ import annotations

import math
from typing import Annotated, Any, final

import torch
from labwright import LEFT_OUT, Classes
from pydantic import Field
from torch import Tensor
from torch.nn import functional


@final
class BoundaryF1:
    """F1 of the pixels along the borders of classes: `boundary-f1/macro`, and `boundary-f1/class/NAME` of each.

    A class's border are its pixels beside another class, above, below, left or right. One that is given is right where
    a true one of the class is within `tolerance`, and one that is true is found where a given one is; F1 is the
    harmonic mean of both shares. A class's is the mean over the pictures in which it has a border, true or given;
    `macro` is the mean over classes.

    Args:
        tolerance: how far two borders may be apart, as a share of the picture's diagonal; at least one pixel.

    Source: Csurka, Larlus & Perronnin 2013.
    """

    higher_is_better = True

    def __init__(self, outputs: Classes, *, tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.0075) -> None:
        self.names, self.tolerance = outputs.names, tolerance
        self.reset()

    def update(self, given_map: Tensor, true_map: Tensor) -> None:
        """Take in the classes of pictures, given and true, (B, H, W); LEFT_OUT is what doesn't count."""
        true_BHW = true_map.cpu()
        given_BHW = given_map.cpu().where(true_BHW != LEFT_OUT, LEFT_OUT)
        reach = max(1, round(self.tolerance * math.hypot(*true_BHW.shape[1:])))
        for label in range(len(self.names)):
            true_border, given_border = (_border(labels_BHW, label) for labels_BHW in (true_BHW, given_BHW))
            met_B = (given_border & _near(true_border, reach)).sum((1, 2))
            found_B = (true_border & _near(given_border, reach)).sum((1, 2))
            true_B, given_B = true_border.sum((1, 2)), given_border.sum((1, 2))
            precision_B, recall_B = met_B / given_B.clamp(min=1), found_B / true_B.clamp(min=1)
            f1_B = 2 * precision_B * recall_B / (precision_B + recall_B).clamp(min=torch.finfo(torch.float32).tiny)
            self.sums_C[label] += f1_B.double().sum()
            self.pictures_C[label] += (true_B + given_B > 0).sum()

    def compute(self) -> dict[str, Any]:
        there = self.pictures_C > 0
        means_C = self.sums_C / self.pictures_C
        each = {name: float(means_C[label]) for label, name in enumerate(self.names) if there[label]}
        return {"macro": float(means_C[there].mean()), "class": each}

    def reset(self) -> None:
        self.sums_C = torch.zeros(len(self.names), dtype=torch.float64)
        self.pictures_C = torch.zeros(len(self.names), dtype=torch.int64)


def _border(labels_BHW: Tensor, label: int) -> Tensor:
    """The pixels of a class that have one of another class that counts beside them."""
    own = labels_BHW == label
    other = functional.pad(~own & (labels_BHW != LEFT_OUT), (1, 1, 1, 1))
    beside = other[:, :-2, 1:-1] | other[:, 2:, 1:-1] | other[:, 1:-1, :-2] | other[:, 1:-1, 2:]
    return own & beside


def _near(border_BHW: Tensor, reach: int) -> Tensor:
    """Where a border is at most `reach` pixels away."""
    offset = torch.arange(-reach, reach + 1)
    disc = (offset[:, None] ** 2 + offset**2 <= reach**2).float()
    return functional.conv2d(border_BHW[:, None].float(), disc[None, None], padding=reach)[:, 0] > 0.5
