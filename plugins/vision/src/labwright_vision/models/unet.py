"""U-Net: a class for each pixel. B batch, C channels, H height, W width."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from labwright import Choice, Image, Integers, Uniform
from labwright_tasks.dense_labels import PositionClasses
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

_GROUPS = 8  # of channels that GroupNorm takes together, at most


class UNet(nn.Module):
    """The U-shaped network of Ronneberger et al. 2015, with padding, norms and bilinear upsampling.

    On the way back each stage is joined with what was there at its size. A stage has two 3x3 convolutions, and its
    input is added to what they give (He et al. 2016).

    Args:
        width: channels of the first stage; each further one has twice as many, up to 8 times.
        depth: how often the picture is halved.
        stem: stride of the first convolution. With 2 the first stage sees half the picture's size, and logits are
            enlarged at the end: a third of the time for the same width, and less sharp.
        norm: norm behind each convolution of a stage; "group" suits small batches.
        dropout: share of the channels that is zeroed in the smallest maps, while training.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: PositionClasses,
        *,
        width: Annotated[int, Field(ge=1), Integers(16, 64, step=8)] = 32,
        depth: Annotated[int, Field(ge=1, le=6), Integers(2, 5)] = 4,
        stem: Annotated[Literal[1, 2], Choice(1, 2)] = 1,
        norm: Annotated[Literal["batch", "group"], Choice("batch", "group")] = "batch",
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5)] = 0.0,
    ) -> None:
        super().__init__()
        widths = [width * min(2**stage, 8) for stage in range(depth + 1)]
        self.stem = _convolution(inputs.channels, width, stem)
        self.down = nn.ModuleList(
            _Stage(before, after, norm) for before, after in zip([width, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _Stage(below + beside, beside, norm) for below, beside in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, len(outputs.names), kernel_size=1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, H, W, classes), for pictures of any size."""
        size = x_BCHW.shape[2:]
        x_BCHW = self.stem(x_BCHW)
        beside: list[Tensor] = []
        for stage in self.down:
            x_BCHW = stage(x_BCHW if not beside else F.max_pool2d(x_BCHW, 2, ceil_mode=True))
            beside.append(x_BCHW)
        x_BCHW = self.dropout(beside.pop())
        for stage in self.up:
            skipped_BCHW = beside.pop()
            x_BCHW = torch.cat([enlarged(x_BCHW, skipped_BCHW.shape[2:]), skipped_BCHW], dim=1)
            x_BCHW = stage(x_BCHW)
        return enlarged(self.head(x_BCHW), size).movedim(1, -1)


def enlarged(x_BCHW: Tensor, size: torch.Size) -> Tensor:
    """Bilinear, where the size is another."""
    if x_BCHW.shape[2:] == size:
        return x_BCHW
    return F.interpolate(x_BCHW, size=size, mode="bilinear", align_corners=False)


class _Stage(nn.Module):
    """Two 3x3 convolutions, each with its norm, beside a shortcut."""

    def __init__(self, before: int, after: int, norm: str) -> None:
        super().__init__()
        self.first, self.first_norm = _convolution(before, after), new_norm(norm, after)
        self.second, self.second_norm = _convolution(after, after), new_norm(norm, after)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, kernel_size=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = F.relu(self.first_norm(self.first(x_BCHW)))
        y_BCHW = self.second_norm(self.second(y_BCHW))
        return F.relu(y_BCHW + self.shortcut(x_BCHW))


def new_norm(norm: str, channels: int) -> nn.Module:
    """BatchNorm, or GroupNorm of as many groups up to 8 as divide the channels: small batches don't matter to it."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(max(groups for groups in range(1, _GROUPS + 1) if channels % groups == 0), channels)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")  # He et al. 2015
    return convolution
