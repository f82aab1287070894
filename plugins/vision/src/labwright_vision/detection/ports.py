"""Boxes around objects, and masks of them.

A anchor points, B batch, C classes, H height, W width, R distances, K detections and N boxes of the picture that has
most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from labwright import LEFT_OUT, LabwrightError, Port
from torch import Generator, Tensor

_SIDE = 32  # pixels, of an example's picture


@dataclass(frozen=True)
class Boxes(Port):
    """Boxes with classes: forward returns a dict, and so is the target. All coordinates are pixels of the input.

    Forward returns `logits` (B, A, C), one sigmoid for each class, `boxes` (B, A, 4), left, top, right and bottom, and
    `anchors` (B, A, 3): the point each box is seen from, x and y, and the stride of its level. A model that says how
    probable distances are adds `distances` (B, A, 4, R): logits of 0 to R-1 strides from the point to each side.

    Or, of a model that chooses itself, what it found: `boxes` (B, K, 4), `scores` (B, K), the best first, and `labels`
    (B, K), -100 (`labwright.LEFT_OUT`) behind a picture's last.

    The target has `boxes` (B, N, 4), `labels` (B, N) int64, -100 behind a picture's last box, and `crowd` (B, N) bool:
    boxes in which nothing is right or wrong.
    """

    names: tuple[str, ...]

    def check(self, output: Any, target: Any) -> None:  # noqa: ARG002 - any number of boxes fits any number of anchors
        chosen = isinstance(output, Mapping) and "scores" in output
        shapes: dict[str, tuple[int, ...]] = (
            {"scores": (), "boxes": (4,), "labels": ()}
            if chosen
            else {"logits": (len(self.names),), "boxes": (4,), "anchors": (3,)}
        )
        if not isinstance(output, Mapping) or not shapes.keys() <= output.keys():
            came = f"a dict of {', '.join(output)}" if isinstance(output, Mapping) else f"a {type(output).__name__}"
            raise LabwrightError(f"the model returned {came}; Boxes stands for a dict of {', '.join(shapes)}.")
        first = tuple(output[next(iter(shapes))].shape[:2])
        for name, inner in shapes.items():
            shape = tuple(output[name].shape)
            if shape != (*first, *inner):
                stands = ", ".join(["B", "K" if chosen else "A", *map(str, inner)])
                raise LabwrightError(f"the model returned {name} of shape {shape}; Boxes stands for ({stands}).")

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        corners_B322 = torch.rand(batch_size, 3, 2, 2, generator=generator) * _SIDE
        boxes_B34 = torch.cat([corners_B322.amin(2), corners_B322.amax(2)], dim=-1)
        labels_B3 = torch.randint(0, len(self.names), (batch_size, 3), generator=generator)
        return boxes_B34, labels_B3, torch.zeros(batch_size, 3, dtype=torch.bool)


@dataclass(frozen=True)
class Instances(Boxes):
    """Boxes with the mask of what is in each: forward's dict has `masks` (B, K, H, W) bool as well, in input pixels.

    So has the target, (B, N, H, W): the pixels of each object that are seen.
    """

    def check(self, output: Any, target: Any) -> None:
        super().check(output, target)
        if "masks" not in output:
            raise LabwrightError(
                "the model returned no masks, and the data has some: task.data.masks=false leaves them out; "
                "'vision/torchvision-detector' with architecture 'mask-rcnn' gives them."
            )
        shape, first = tuple(output["masks"].shape), tuple(output["boxes"].shape[:2])
        if len(shape) != 4 or shape[:2] != first:
            raise LabwrightError(f"the model returned masks of shape {shape}; Instances stands for (B, K, H, W).")

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        boxes_B34, *others = super().example(batch_size, generator)
        places = torch.arange(_SIDE) + 0.5
        inside_B3 = [
            (places > boxes_B34[..., near, None]) & (places < boxes_B34[..., near + 2, None]) for near in (0, 1)
        ]
        return boxes_B34, *others, inside_B3[1][..., None] & inside_B3[0][..., None, :]


def padded(
    boxes: Sequence[Tensor], labels: Sequence[Tensor], crowd: Sequence[Tensor], masks: Sequence[Tensor] | None = None
) -> dict[str, Tensor]:
    """The target of pictures with any number of boxes each.

    Args:
        boxes: of each picture, (n, 4).
        labels: of each picture, (n,).
        crowd: of each picture, (n,).
        masks: of each picture, (n, H, W), where there are masks.
    """
    columns = [("boxes", boxes, 0.0), ("labels", labels, LEFT_OUT), ("crowd", crowd, False)]
    columns += [("masks", masks, False)] if masks is not None else []
    return {
        name: torch.nn.utils.rnn.pad_sequence([*rows], batch_first=True, padding_value=fill)
        for name, rows, fill in columns
    }
