"""Which anchor points are to find which box. A anchor points, B batch, C classes, N boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from labwright import LEFT_OUT
from torch import Tensor
from torch.nn import functional

from labwright_vision.detection.overlap import iou

_EPSILON = 1e-9
_REACH = 1.0  # stride of the finest level: a box's points are looked for at least so far from its middle


@dataclass(frozen=True)
class Assigned:
    """Of each anchor point: the class `scores` it should have (B, A, C), its `boxes` (B, A, 4), whether it has one
    `found` (B, A), and whether nothing about it is right or wrong, `ignored` (B, A), as in a crowd."""

    scores: Tensor
    boxes: Tensor
    found: Tensor
    ignored: Tensor


@torch.no_grad()
def aligned(
    logits_BAC: Tensor,
    boxes_BA4: Tensor,
    anchors_BA3: Tensor,
    targets: dict[str, Tensor],
    *,
    most: int,
    alpha: float = 1.0,
    beta: float = 6.0,
) -> Assigned:
    """Task-aligned assignment: each box gets the `most` points within it whose score^alpha * IoU^beta is highest.

    A point that several boxes claim is given to the one it overlaps most. The class it should have is the alignment,
    scaled so that the best point of a box has that box's best IoU. Points whose box lies mostly in a crowd are ignored.

    Source: Feng et al. 2021 (TOOD), section 3.2.
    """
    true_BN4, labels_BN = targets["boxes"], targets["labels"]
    counted_BN = (labels_BN != LEFT_OUT) & ~targets["crowd"]
    classes = labels_BN.clamp(min=0)
    if not true_BN4.shape[1]:  # no picture of the batch has a box
        none_BA = torch.zeros_like(boxes_BA4[..., 0], dtype=torch.bool)
        return Assigned(torch.zeros_like(logits_BAC), torch.zeros_like(boxes_BA4), none_BA, none_BA)
    scores_BNA = logits_BAC.sigmoid().gather(2, classes[:, None].expand(-1, logits_BAC.shape[1], -1)).mT
    overlaps_BNA = iou(boxes_BA4[:, None], true_BN4[:, :, None])
    inside_BNA = _inside(anchors_BA3, true_BN4) & counted_BN[..., None]
    alignment_BNA = scores_BNA.pow(alpha) * overlaps_BNA.pow(beta) * inside_BNA
    # where nothing overlaps yet, the points nearest to the middle come first
    ranks_BNA = (alignment_BNA + _EPSILON * _nearness(anchors_BA3, true_BN4)) * inside_BNA
    best_BNM = ranks_BNA.topk(min(most, ranks_BNA.shape[2]), dim=2).indices
    chosen_BNA = torch.zeros_like(inside_BNA).scatter_(2, best_BNM, True) & inside_BNA
    claimed_BNA = torch.where(chosen_BNA, overlaps_BNA, -1.0)
    owner_BA = claimed_BNA.argmax(1)
    chosen_BNA &= owner_BA[:, None] == torch.arange(true_BN4.shape[1], device=owner_BA.device)[:, None]
    alignment_BNA = torch.where(chosen_BNA, alignment_BNA, 0.0)
    highest_BN1 = alignment_BNA.amax(2, keepdim=True)
    closest_BN1 = torch.where(chosen_BNA, overlaps_BNA, 0.0).amax(2, keepdim=True)
    strength_BA = (alignment_BNA / (highest_BN1 + _EPSILON) * closest_BN1).amax(1)
    found_BA = chosen_BNA.any(1)
    label_BA = classes.gather(1, owner_BA)
    wanted_BAC = functional.one_hot(label_BA, logits_BAC.shape[2]) * strength_BA[..., None] * found_BA[..., None]
    picked_BA4 = true_BN4.gather(1, owner_BA[..., None].expand(-1, -1, 4))
    return Assigned(wanted_BAC.to(logits_BAC), picked_BA4, found_BA, _in_crowd(boxes_BA4, targets) & ~found_BA)


def _inside(anchors_BA3: Tensor, boxes_BN4: Tensor) -> Tensor:
    """Whether each point lies within each box (B, N, A); a box too small to hold points is taken for larger."""
    points_B1A2, strides_B1A1 = anchors_BA3[:, None, :, :2], anchors_BA3[:, None, :, 2:]
    middle_BN12 = ((boxes_BN4[..., :2] + boxes_BN4[..., 2:]) / 2)[:, :, None]
    half_BN12 = ((boxes_BN4[..., 2:] - boxes_BN4[..., :2]) / 2)[:, :, None]
    finest = anchors_BA3[..., 2].min()
    reach = torch.maximum(half_BN12, torch.where(strides_B1A1 == finest, finest * _REACH, 0.0))
    return ((points_B1A2 - middle_BN12).abs() < reach).all(-1)


def _nearness(anchors_BA3: Tensor, boxes_BN4: Tensor) -> Tensor:
    """1 in the middle of a box, less further away, by its size."""
    middle_BN12 = ((boxes_BN4[..., :2] + boxes_BN4[..., 2:]) / 2)[:, :, None]
    sides_BN12 = (boxes_BN4[..., 2:] - boxes_BN4[..., :2]).clamp(min=1)[:, :, None]
    return 1 / (1 + ((anchors_BA3[:, None, :, :2] - middle_BN12) / sides_BN12).square().sum(-1))


def _in_crowd(boxes_BA4: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Whether at least half of a box lies in a crowd."""
    crowds_BN4 = targets["boxes"] * (targets["crowd"] & (targets["labels"] != LEFT_OUT))[..., None]
    low = torch.maximum(boxes_BA4[:, None, :, :2], crowds_BN4[:, :, None, :2])
    high = torch.minimum(boxes_BA4[:, None, :, 2:], crowds_BN4[:, :, None, 2:])
    shared_BNA = (high - low).clamp(min=0).prod(-1)
    area_BA = (boxes_BA4[..., 2:] - boxes_BA4[..., :2]).prod(-1)
    return (shared_BNA >= area_BA[:, None] / 2).any(1) & targets["crowd"].any(1, keepdim=True)
