"""What boxes come to that are guessed without looking. C classes, G cells, H height, W width, K boxes."""

from __future__ import annotations

import torch
from labwright import Image
from torch import Tensor

from labwright_vision.detection.data.split import BoxSplit
from labwright_vision.detection.metrics import MOST
from labwright_vision.detection.ports import Boxes, Instances

_CELLS = 8  # along a side


def commonest(train: BoxSplit, inputs: Image, outputs: Boxes) -> dict[str, Tensor]:
    """What to find in any picture, as `Boxes` says, of a batch of one: the commonest boxes of the training part.

    Of each class the mean of the boxes whose middle lies in each of 8 by 8 cells, with how many there are in a picture
    as its score; of those the best. A mask is the box, filled.
    """
    known = [train.known(index) for index in range(len(train))]
    counted = [(sample.boxes[~sample.crowd], sample.labels[~sample.crowd]) for sample in known]
    boxes_N4, labels_N = (torch.cat([*column]) for column in zip(*counted, strict=True))
    sides_2 = torch.tensor([inputs.width, inputs.height])
    middles_N2 = (boxes_N4[:, :2] + boxes_N4[:, 2:]) / 2
    cells_N2 = (middles_N2 / sides_2 * _CELLS).long().clamp(0, _CELLS - 1)
    places_N = (labels_N * _CELLS + cells_N2[:, 1]) * _CELLS + cells_N2[:, 0]
    counts_G = torch.bincount(places_N, minlength=len(outputs.names) * _CELLS**2)
    sums_G4 = torch.zeros(len(counts_G), 4).index_add_(0, places_N, boxes_N4)
    best_K = counts_G.argsort(descending=True, stable=True)[:MOST]
    best_K = best_K[counts_G[best_K] > 0]
    found = {
        "boxes": sums_G4[best_K] / counts_G[best_K, None],
        "scores": counts_G[best_K] / len(train),
        "labels": best_K // _CELLS**2,
    }
    if isinstance(outputs, Instances):
        found["masks"] = _filled(found["boxes"], inputs.height, inputs.width)
    return {name: tensor[None] for name, tensor in found.items()}


def _filled(boxes_K4: Tensor, height: int, width: int) -> Tensor:
    """The pixels whose middles lie in each box, (K, H, W)."""
    rows_H, columns_W = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    left, top, right, bottom = (side_K[:, None] for side_K in boxes_K4.unbind(1))
    down_KH, across_KW = (rows_H > top) & (rows_H < bottom), (columns_W > left) & (columns_W < right)
    return down_KH[:, :, None] & across_KW[:, None, :]
