"""Convolutions and recurrent layers for transcripts. B batch, T samples, C channels, M bands, F frames, D features."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from labwright import Audio, Choice, Integers, PerTrial, Uniform, When
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_speech.features import SpecAugment, Spectra
from labwright_speech.models.frames import check_rate, there
from labwright_speech.ports import Transcript, ended


class CRNN(nn.Module):
    """Strided convolutions over log-mel bands and time, then bidirectional GRUs, as Deep Speech 2 (Amodei et al. 2016).

    Two convolutions halve the bands each. In training SpecAugment hides bands and stretches of time. A row's result is
    that of the row alone, whatever it stands beside.

    Args:
        mels: mel bands of the spectrogram, whose frames are 10 ms apart.
        cepstra: cepstral coefficients (MFCC) of the mel bands to take in their place, at most as many; 0: the bands.
        channels: channels of each convolution.
        width: units of a GRU in each direction.
        layers: bidirectional GRUs.
        stride: one frame of so many is left by the convolutions.
        dropout: share of the features that is zeroed before each GRU and the last layer, while training.
        hidden_width: most bands, or coefficients, that each of two hidden stretches takes in training; 0: none.
        hidden_gaps: how many stretches of time are hidden in training; 0: none.
        hidden_gap: most of a recording's frames that a hidden stretch of time takes, as a share; 0: none are hidden.

    Raises LabwrightError if the frames are too few for the data's transcripts, and for more coefficients than bands.
    """

    def __init__(
        self,
        inputs: Audio,
        outputs: Transcript,
        *,
        mels: Annotated[int, Field(ge=8)] = 64,
        cepstra: Annotated[int, Field(ge=0)] = 0,
        channels: Annotated[int, Field(ge=1), Integers(16, 64, log=True)] = 32,
        width: Annotated[int, Field(ge=1), Integers(96, 384, log=True)] = 192,
        layers: Annotated[int, Field(ge=1), Integers(1, 4)] = 2,
        stride: Annotated[Literal[2, 4], Choice(2, 4)] = 4,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.5), PerTrial()] = 0.2,
        hidden_width: Annotated[int, Field(ge=0), Integers(0, 16)] = 10,
        hidden_gaps: Annotated[int, Field(ge=0), Integers(0, 4), When("hidden_gap", but=(0,))] = 2,
        hidden_gap: Annotated[float, Field(ge=0, le=1), Uniform(0.0, 0.2), When("hidden_gaps", but=(0,))] = 0.08,
    ) -> None:
        super().__init__()
        self.spectra = Spectra(inputs.sample_rate, mels=mels, cepstra=cepstra)
        check_rate(outputs, self.spectra.rate / stride, stride)
        self.hide = SpecAugment(width=min(hidden_width, self.spectra.bands), gaps=hidden_gaps, gap=hidden_gap)
        self.strides = (2, stride // 2)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, channels, (3, 5), stride=(2, step), padding=(1, 2), bias=False)
            for before, step in zip((1, channels), self.strides, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in self.strides)
        before = channels * ((self.spectra.bands + 3) // 4)
        self.narrow = nn.Linear(before, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_BothWays(2 * width if number else width, width) for number in range(layers))
        self.head = nn.Linear(2 * width, 1 + len(outputs.alphabet))

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Log-probabilities of shape (B, frames, classes)."""
        y_BMF, lengths_B = self.spectra(x_BT, lengths_B)
        y_BCMF = self.hide(y_BMF, lengths_B).unsqueeze(1)
        for convolution, norm, step in zip(self.convolutions, self.norms, self.strides, strict=True):
            y_BCMF = F.relu(norm(convolution(y_BCMF)))
            lengths_B = (lengths_B + step - 1) // step
            y_BCMF = y_BCMF * there(lengths_B, y_BCMF.shape[3])[:, None, None]
        y_BFD = F.relu(self.narrow(y_BCMF.flatten(1, 2).transpose(1, 2)))
        for layer in self.layers:
            y_BFD = layer(self.dropout(y_BFD), lengths_B)
        return ended(self.head(self.dropout(y_BFD)).log_softmax(2), lengths_B)


class _BothWays(nn.Module):
    """A GRU in each direction; the one that comes from the end begins at each row's own end."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.ahead = nn.GRU(before, width, batch_first=True)
        self.back = nn.GRU(before, width, batch_first=True)

    def forward(self, x_BFD: Tensor, lengths_B: Tensor) -> Tensor:
        place_F = torch.arange(x_BFD.shape[1], device=x_BFD.device)
        turned_BF = torch.where(place_F < lengths_B[:, None], lengths_B[:, None] - 1 - place_F, place_F)
        ahead_BFD, _ = self.ahead(x_BFD)
        back_BFD, _ = self.back(_taken(x_BFD, turned_BF))
        return torch.cat([ahead_BFD, _taken(back_BFD, turned_BF)], dim=2)


def _taken(x_BFD: Tensor, frames_BF: Tensor) -> Tensor:
    return x_BFD.gather(1, frames_BF.unsqueeze(2).expand(-1, -1, x_BFD.shape[2]))
