"""Broadcasted residual learning over log-mel spectra. B batch, T samples, C channels, M bands, F frames."""

from __future__ import annotations

from typing import Annotated

from labwright import Audio, Choice, Classes, Integers, PerTrial, Uniform, When
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_speech.features import SpecAugment, Spectra
from labwright_speech.models.frames import mean_over_frames

_MELS = 40
_PARTS = 5  # sub-bands that are normalised apart
_STAGES = ((2, 8, 1), (2, 12, 2), (4, 16, 2), (4, 20, 1))  # blocks, channels for a scale of 1, stride over bands


class BCResNet(nn.Module):
    """BC-ResNet of Kim et al. 2021, "Broadcasted residual learning for efficient keyword spotting", table 1.

    Blocks of a depthwise convolution over bands with sub-spectral normalisation, and one over time behind a mean over
    all bands, whose result is added to every band. They see 40 log-mel bands, of which SpecAugment hides some in
    training, and two stretches of time. The mean at the end is over the frames of the recording; convolutions see the
    silence behind it too, so that all inputs are to have the port's length.

    Args:
        scale: factor of all channels: 1 is the paper's BC-ResNet-1, 8 its largest.
        hop: seconds from one frame of the spectrogram to the next; the paper's is 0.01.
        dropout: share of the channels that each block zeroes in what it adds, while training.
        hidden_bands: how many stretches of neighbouring mel bands are hidden in training; 0: none.
        hidden_width: most mel bands of a hidden stretch; 0: none are hidden.
        hidden_gap: most of a recording's frames that each of two hidden stretches of time takes, as a share.
    """

    def __init__(
        self,
        inputs: Audio,
        outputs: Classes,
        *,
        scale: Annotated[float, Field(gt=0), Uniform(1.0, 4.0)] = 1.0,
        hop: Annotated[float, Field(gt=0, le=0.1), Choice(0.01, 0.02)] = 0.01,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.3), PerTrial()] = 0.1,
        hidden_bands: Annotated[int, Field(ge=0), Integers(0, 2), When("hidden_width", but=(0,))] = 2,
        hidden_width: Annotated[int, Field(ge=0, le=_MELS), Integers(0, 7), When("hidden_bands", but=(0,))] = 5,
        hidden_gap: Annotated[float, Field(ge=0, le=1), Uniform(0.0, 0.2)] = 0.1,
    ) -> None:
        super().__init__()
        self.spectra = Spectra(inputs.sample_rate, mels=_MELS, hop=hop, by_band=False)
        self.hide = SpecAugment(bands=hidden_bands, width=hidden_width, gap=hidden_gap)
        before = round(16 * scale)
        self.stem = _normalised(nn.Conv2d(1, before, 5, stride=(2, 1), padding=2, bias=False))
        blocks: list[nn.Module] = []
        for number, (count, channels, stride) in enumerate(_STAGES):
            after = round(channels * scale)
            for first in (True, *(False,) * (count - 1)):
                blocks.append(_Block(before, after, stride if first else 1, 1 << number, dropout, first))
                before = after
        self.blocks = nn.Sequential(*blocks)
        last = round(32 * scale)
        self.bands = nn.Conv2d(before, before, 5, padding=(0, 2), groups=before, bias=False)
        self.tail = _normalised(nn.Conv2d(before, last, 1, bias=False))
        self.head = nn.Linear(last, len(outputs.names))

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        y_BMF, frames_B = self.spectra(x_BT, lengths_B)
        y_BCMF = self.blocks(F.relu(self.stem(self.hide(y_BMF, frames_B).unsqueeze(1))))
        y_BCMF = F.relu(self.tail(self.bands(y_BCMF)))
        logits: Tensor = self.head(mean_over_frames(y_BCMF.squeeze(2), frames_B))
        return logits


class _Block(nn.Module):
    """Over bands, then over time behind the mean of all bands; the first of a stage has no shortcut."""

    def __init__(self, before: int, after: int, stride: int, dilation: int, dropout: float, first: bool) -> None:
        super().__init__()
        self.change = _normalised(nn.Conv2d(before, after, 1, bias=False)) if first else None
        self.over_bands = nn.Conv2d(after, after, (3, 1), stride=(stride, 1), padding=(1, 0), groups=after, bias=False)
        self.band_norm = nn.BatchNorm2d(after * _PARTS)  # sub-spectral normalisation (Chang et al. 2021)
        self.over_time = _normalised(
            nn.Conv2d(after, after, (1, 3), padding=(0, dilation), dilation=(1, dilation), groups=after, bias=False)
        )
        self.mix = nn.Conv2d(after, after, 1, bias=False)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x_BCMF: Tensor) -> Tensor:
        y_BCMF = x_BCMF if self.change is None else F.relu(self.change(x_BCMF))
        y_BCMF = self.over_bands(y_BCMF)
        channels, bands, frames = y_BCMF.shape[1:]
        y_BCMF = self.band_norm(y_BCMF.reshape(-1, channels * _PARTS, bands // _PARTS, frames))
        y_BCMF = y_BCMF.reshape(-1, channels, bands, frames)
        mean_BC1F = y_BCMF.mean(2, keepdim=True)
        y_BCMF = y_BCMF + self.dropout(self.mix(F.silu(self.over_time(mean_BC1F))))
        return F.relu(x_BCMF + y_BCMF if self.change is None else y_BCMF)


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
