"""A small convolutional network. B batch, C channels, H height, W width."""

from __future__ import annotations

from math import gcd
from typing import Annotated, Literal

import torch
from labwright import Classes, Image, Integers, LabwrightError, PerTrial, Uniform
from pydantic import Field
from torch import Tensor, nn


class CNN(nn.Module):
    """Plain convolutional network of a few stages, for pictures of up to about 64 pixels.

    A block is a 3x3 convolution, a norm and ReLU; the last one of a stage has 2x2 max pooling right after its
    convolution, where the rest costs a quarter. The classifier sees all pixels of the last stage.

    Args:
        width: channels of the first stage; each later one has twice as many as the one before.
        stages: how often a side is halved by pooling.
        depth: blocks of a stage.
        dropout: share of the features that is zeroed before the last layer, while training.
        strided: whether a 5x5 convolution of stride 2 stands before the first stage, which quarters the cost of all
            that follows.
        norm: norm of each block, over a batch (Ioffe & Szegedy 2015), or over groups of channels of one picture (Wu &
            He 2018), as differential privacy needs it.

    Raises LabwrightError if the picture is too small to be halved `stages` times.
    """

    def __init__(
        self,
        inputs: Image,
        outputs: Classes,
        *,
        width: Annotated[int, Field(ge=1), Integers(16, 64, log=True)] = 32,
        stages: Annotated[int, Field(ge=1), Integers(1, 3)] = 2,
        depth: Annotated[int, Field(ge=1), Integers(1, 3)] = 2,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.0,
        strided: bool = False,
        norm: Literal["batch", "group"] = "batch",
    ) -> None:
        super().__init__()
        sides = [inputs.height, inputs.width]
        if strided:
            sides = [(side + 1) // 2 for side in sides]
        height, breadth = (side >> stages for side in sides)
        if not height or not breadth:
            most = min(sides).bit_length() - 1
            rest = " after the strided convolution" if strided else ""
            raise LabwrightError(
                f"model.stages: pictures of {inputs.height}x{inputs.width} can be halved {most} times at most{rest}, "
                f"given {stages}."
            )
        channels = [width << stage for stage in range(stages)]
        layers: list[nn.Module] = []
        before = inputs.channels
        if strided:
            layers.append(_block(before, width, norm, kernel=5, stride=2))
            before = width
        for after in channels:
            for number in range(depth):
                layers.append(_block(before, after, norm, halved=number == depth - 1))
                before = after
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1] * height * breadth, len(outputs.names))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter faster on a CPU

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits: Tensor = self.head(self.dropout(self.features(x_BCHW).flatten(1)))
        return logits


def _block(
    before: int, after: int, norm: str, *, halved: bool = False, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")  # He et al. 2015
    pooling = [nn.MaxPool2d(2)] if halved else []
    normalised = nn.BatchNorm2d(after) if norm == "batch" else nn.GroupNorm(gcd(4, after), after)
    return nn.Sequential(convolution, *pooling, normalised, nn.ReLU())
