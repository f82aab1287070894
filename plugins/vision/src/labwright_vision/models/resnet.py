"""Residual networks for small pictures. B batch, C channels, H height, W width."""

from __future__ import annotations

from typing import Annotated

import torch
from labwright import Choice, Classes, Image, Integers, LabwrightError
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name


class ResNet(nn.Module):
    """The residual network for small pictures of He et al. 2016, "Deep residual learning", section 4.2.

    A 3x3 convolution, three stages, of which the second and third start with stride 2, a global average and a linear
    layer. Shortcuts have no parameters (the paper's option A). With width 16 and 3 input channels, depths 20, 32, 44,
    56 and 110 are the paper's table 6.

    Args:
        depth: layers with weights, 6n + 2, of which n blocks of two make a stage.
        width: channels of the first stage; the second has twice, the third four times as many.

    Raises LabwrightError if depth is not 6n + 2.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: Classes,
        *,
        depth: Annotated[int, Field(ge=8), Choice(8, 14, 20, 32)] = 20,
        width: Annotated[int, Field(ge=1), Integers(8, 32, step=8)] = 16,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest:
            raise LabwrightError(
                f"model.depth: this network has 6n + 2 layers, such as {depth - rest} or {depth - rest + 6}, "
                f"given {depth}."
            )
        self.stem = _convolution(inputs.channels, width)
        self.norm = nn.BatchNorm2d(width)
        layers: list[nn.Module] = []
        before = width
        for after in (width, 2 * width, 4 * width):
            for _ in range(blocks):
                layers.append(_Block(before, after))
                before = after
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(before, len(outputs.names))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter faster on a CPU

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        x_BCHW = self.blocks(F.relu(self.norm(self.stem(x_BCHW))))
        logits: Tensor = self.head(x_BCHW.mean(dim=(2, 3)))
        return logits


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; where channels grow, the picture is halved."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.grown = after - before
        self.stride = 2 if self.grown else 1
        self.first = _convolution(before, after, self.stride)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = _convolution(after, after)
        self.second_norm = nn.BatchNorm2d(after)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = F.relu(self.first_norm(self.first(x_BCHW)))
        y_BCHW = self.second_norm(self.second(y_BCHW))
        if self.grown:  # every second pixel, and zeros for the new channels
            x_BCHW = F.pad(x_BCHW[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.grown))
        return F.relu(x_BCHW + y_BCHW)


def _convolution(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")  # He et al. 2015
    return convolution
