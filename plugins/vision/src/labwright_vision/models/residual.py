"""A small residual network as the backbone of detectors. B batch, C channels, H height, W width."""

from __future__ import annotations

import math

from torch import Tensor, nn

_GROUPS = 8  # channels of a group, about


class Residual(nn.Module):
    """Residual blocks (He et al. 2016), `depth` at each of the strides 4, 8, 16 and 32; gives the features of each."""

    def __init__(self, channels: int, width: int, depth: int, norm: str) -> None:
        super().__init__()
        self.stem = Conv(channels, width, norm, stride=2)
        stages, before = [], width
        self.channels = (2 * width, 4 * width, 6 * width, 8 * width)
        for after in self.channels:
            blocks = [_Block(after, norm) for _ in range(depth)]
            stages.append(nn.Sequential(Conv(before, after, norm, stride=2), *blocks))
            before = after
        self.stages = nn.ModuleList(stages)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        x_BCHW, features = self.stem(x_BCHW), []
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            features.append(x_BCHW)
        return features


class _Block(nn.Module):
    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.first, self.second = Conv(width, width, norm), Conv(width, width, norm)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        shown: Tensor = x_BCHW + self.second(self.first(x_BCHW))
        return shown


class Conv(nn.Sequential):
    """A convolution, a normalisation and SiLU."""

    def __init__(self, before: int, after: int, norm: str, *, kernel: int = 3, stride: int = 1) -> None:
        groups = math.gcd(after, max(1, after // _GROUPS))
        super().__init__(
            nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(after) if norm == "batch" else nn.GroupNorm(groups, after),
            nn.SiLU(),
        )
