"""Sizes that are unlike all others: of a picture, a recording, a text. N samples."""

from __future__ import annotations

import torch
from torch import Tensor

_FAR = 5.0  # robust deviations


def unusual(sizes_N: Tensor, times: float) -> Tensor:
    """Places of sizes far from the middle one, the farthest first: by five robust deviations of the log, and so many
    times smaller or larger.

    The deviation is 1.4826 times the median distance from the median, which is the standard deviation of a normal
    distribution (Rousseeuw & Croux 1993).

    Example: `unusual(torch.tensor([9.0, 10, 11, 10, 900]), times=4)` is `tensor([4])`.
    """
    logs_N = sizes_N.double().clamp_min(1e-9).log()
    distances_N = (logs_N - logs_N.median()).abs()
    spread = 1.4826 * float(distances_N.median())
    bound = max(_FAR * spread, float(torch.tensor(times).double().log()))
    far = (distances_N > bound).nonzero()[:, 0]
    return far[distances_N[far].argsort(descending=True, stable=True)]
