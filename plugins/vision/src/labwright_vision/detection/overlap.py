"""How boxes lie on one another: intersection over union, and the measures that losses of boxes are made of.

Boxes (..., 4) are left, top, right, bottom; leading axes broadcast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EPSILON = 1e-7


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union, 0 where both are empty."""
    overlap, union = _overlap_and_union(boxes, others)
    return overlap / union.clamp(min=_EPSILON)


def within(boxes: Tensor, others: Tensor) -> Tensor:
    """How much of the boxes lies in the others, a share of their area: COCO's measure where the others are crowds."""
    overlap, _ = _overlap_and_union(boxes, others)
    return overlap / _sides(boxes).prod(-1).clamp(min=_EPSILON)


def giou_loss(boxes: Tensor, others: Tensor) -> Tensor:
    """1 - generalised IoU, 0 to 2: what the smallest box around both has beside them counts against it.

    Source: Rezatofighi et al. 2019.
    """
    overlap, union = _overlap_and_union(boxes, others)
    around = _around(boxes, others).prod(-1)
    return 1 - overlap / (union + _EPSILON) + (around - union) / (around + _EPSILON)


def ciou_loss(boxes: Tensor, others: Tensor) -> Tensor:
    """1 - complete IoU: the distance of the centres, and how unlike the shapes are, count against it as well.

    The weight of the shapes' part isn't differentiated. Source: Zheng et al. 2020.
    """
    overlap, union = _overlap_and_union(boxes, others)
    share = overlap / (union + _EPSILON)
    diagonal = _around(boxes, others).square().sum(-1) + _EPSILON
    apart = (boxes[..., :2] + boxes[..., 2:] - others[..., :2] - others[..., 2:]).square().sum(-1) / 4
    angles = [torch.atan(sides[..., 0] / sides[..., 1]) for sides in (_sides(boxes), _sides(others))]
    unlike = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    with torch.no_grad():
        weight = unlike / (1 - share + unlike + _EPSILON)
    return 1 - share + apart / diagonal + weight * unlike


def _overlap_and_union(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    low, high = torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    union = _sides(boxes).prod(-1) + _sides(others).prod(-1) - overlap
    return overlap, union


def _around(boxes: Tensor, others: Tensor) -> Tensor:
    """Width and height of the smallest box around both."""
    return torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])


def _sides(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]
