"""Boxes around objects. A anchor points, B batch, C classes, N boxes of the picture that has most, R distances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from labwright import LEFT_OUT, LabwrightError, Port
from torch import Generator, Tensor

_SIDE = 32.0  # pixels, of an example's picture


@dataclass(frozen=True)
class Boxes(Port):
    """Boxes with classes: forward returns a dict, and so is the target. All coordinates are pixels of the input.

    Forward returns `logits` (B, A, C), one sigmoid for each class, `boxes` (B, A, 4), left, top, right and bottom, and
    `anchors` (B, A, 3): the point each box is seen from, x and y, and the stride of its level. A model that says how
    probable distances are adds `distances` (B, A, 4, R): logits of 0 to R-1 strides from the point to each side.

    The target has `boxes` (B, N, 4), `labels` (B, N) int64, -100 (`labwright.LEFT_OUT`) behind a picture's last box,
    and `crowd` (B, N) bool: boxes in which nothing is right or wrong.
    """

    names: tuple[str, ...]

    def check(self, output: Any, target: Any) -> None:  # noqa: ARG002 - any number of boxes fits any number of anchors
        shapes = {"logits": len(self.names), "boxes": 4, "anchors": 3}
        if not isinstance(output, Mapping) or not shapes.keys() <= output.keys():
            came = f"a dict of {', '.join(output)}" if isinstance(output, Mapping) else f"a {type(output).__name__}"
            raise LabwrightError(f"the model returned {came}; Boxes stands for a dict of {', '.join(shapes)}.")
        for name, width in shapes.items():
            shape = tuple(output[name].shape)
            if len(shape) != 3 or shape[:2] != tuple(output["logits"].shape[:2]) or shape[2] != width:
                raise LabwrightError(f"the model returned {name} of shape {shape}; Boxes stands for (B, A, {width}).")

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        corners_B322 = torch.rand(batch_size, 3, 2, 2, generator=generator) * _SIDE
        boxes_B34 = torch.cat([corners_B322.amin(2), corners_B322.amax(2)], dim=-1)
        labels_B3 = torch.randint(0, len(self.names), (batch_size, 3), generator=generator)
        return boxes_B34, labels_B3, torch.zeros(batch_size, 3, dtype=torch.bool)


def padded(boxes: list[Tensor], labels: list[Tensor], crowd: list[Tensor]) -> dict[str, Tensor]:
    """The target of pictures with any number of boxes each: `boxes` (n, 4), `labels` (n,) and `crowd` (n,) of each."""
    stacked = {
        name: torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)
        for name, rows, fill in (("boxes", boxes, 0.0), ("labels", labels, LEFT_OUT), ("crowd", crowd, False))
    }
    return stacked
