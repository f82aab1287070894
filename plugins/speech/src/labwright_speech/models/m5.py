"""A convolutional network over the waveform itself. B batch, T samples, D channels, F frames."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from labwright import Audio, Choice, Classes, Integers, PerTrial, Uniform
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_speech.models.frames import mean_over_frames, there

_FIRST = 80  # samples of the first kernel
_POOL = 4


class M5(nn.Module):
    """M5 of Dai et al. 2017, "Very deep convolutional neural networks for raw waveforms".

    A convolution over 80 samples and three over 3 frames, with batch normalisation, ReLU and max pooling over 4 after
    each; the mean over the frames of the recording; a linear layer. The paper's has width 128 and stride 4 at 8 kHz.
    But for the first one's stride convolutions keep the length, and frames after a recording's end are 0.

    Args:
        width: channels of the first two convolutions; the third has twice, the last four times as many.
        stride: samples from one frame of the first convolution to the next.
        dropout: share of the features that is zeroed before the last layer, while training.
    """

    def __init__(
        self,
        inputs: Audio,  # noqa: ARG002 - any rate and length will do
        outputs: Classes,
        *,
        width: Annotated[int, Field(ge=1), Integers(16, 128, log=True)] = 32,
        stride: Annotated[int, Field(ge=1, le=_FIRST), Choice(4, 8, 16)] = 4,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.0,
    ) -> None:
        super().__init__()
        self.stride = stride
        channels = [1, width, width, 2 * width, 4 * width]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(
                before,
                after,
                kernel_size=3 if number else _FIRST,
                stride=1 if number else stride,
                padding=1 if number else _FIRST // 2,
                bias=False,
            )
            for number, (before, after) in enumerate(pairwise(channels))
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(after) for after in channels[1:])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], len(outputs.names))

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        y_BDF = x_BT.unsqueeze(1)
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            y_BDF = F.relu(norm(convolution(y_BDF)))
            lengths_B = lengths_B if number else lengths_B // self.stride + 1
            y_BDF = y_BDF * there(lengths_B, y_BDF.shape[2]).unsqueeze(1)
            y_BDF = F.max_pool1d(y_BDF, _POOL, ceil_mode=True)
            lengths_B = (lengths_B + _POOL - 1) // _POOL
        logits: Tensor = self.head(self.dropout(mean_over_frames(y_BDF, lengths_B)))
        return logits
