"""The Conformer of torchaudio. B batch, T samples, M bands, F frames, D features."""

from __future__ import annotations

from typing import Annotated, Literal

from labwright import Audio, Choice, Integers, LabwrightError, Uniform
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

from labwright_speech.features import SpecAugment, Spectra
from labwright_speech.models.frames import check_rate, there
from labwright_speech.ports import Transcript, ended


class Conformer(nn.Module):
    """`torchaudio.models.Conformer` (Gulati et al. 2020) over log-mel bands.

    Each layer has self-attention, a depthwise convolution and two feed-forward parts of `4 * width` units. In training
    SpecAugment hides bands and stretches of time. torchaudio's layers keep frames after a recording's end out of the
    attention, not out of the convolution: in a batch the last frames of a shorter recording differ a little from those
    of the recording alone.

    Args:
        mels: mel bands of the spectrogram, whose frames are 10 ms apart.
        cepstra: cepstral coefficients (MFCC) of the mel bands to take in their place, at most as many; 0: the bands.
        width: features of a frame, a multiple of `heads`.
        heads: heads of the self-attention.
        layers: how many Conformer layers there are.
        kernel: frames that the depthwise convolution sees; odd.
        stride: one frame of so many is kept before the first layer.
        dropout: share of the features of a layer's parts, and of its attention's weights, zeroed while training.
        hidden_width: most bands, or coefficients, that each of two hidden stretches takes in training; 0: none.
        hidden_gap: most of a recording's frames that each of two hidden stretches of time takes, as a share.

    Raises LabwrightError for a `width` that `heads` doesn't divide, an even `kernel`, too few frames, and more
    coefficients than bands.
    """

    def __init__(
        self,
        inputs: Audio,
        outputs: Transcript,
        *,
        mels: Annotated[int, Field(ge=8)] = 64,
        cepstra: Annotated[int, Field(ge=0)] = 0,
        width: Annotated[int, Field(ge=1), Choice(96, 144, 192, 256)] = 144,
        heads: Annotated[int, Field(ge=1), Choice(2, 4, 8)] = 4,
        layers: Annotated[int, Field(ge=1), Integers(2, 8)] = 4,
        kernel: Annotated[int, Field(ge=1), Choice(15, 31)] = 15,
        stride: Annotated[Literal[2, 4], Choice(2, 4)] = 4,
        dropout: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.3)] = 0.1,
        hidden_width: Annotated[int, Field(ge=0), Integers(0, 16)] = 10,
        hidden_gap: Annotated[float, Field(ge=0, le=1), Uniform(0.0, 0.2)] = 0.08,
    ) -> None:
        import torchaudio

        super().__init__()
        if width % heads:
            raise LabwrightError(f"model.heads: {heads} heads don't divide model.width, {width}.")
        if kernel % 2 == 0:
            raise LabwrightError(f"model.kernel: it is odd, such as {kernel + 1}, given {kernel}.")
        self.spectra = Spectra(inputs.sample_rate, mels=mels, cepstra=cepstra)
        check_rate(outputs, self.spectra.rate / stride, stride)
        self.hide = SpecAugment(width=min(hidden_width, self.spectra.bands), gap=hidden_gap)
        self.stride = stride
        self.narrow = nn.Conv1d(self.spectra.bands, width, 2 * stride - 1, stride=stride, padding=stride - 1)
        whole = torchaudio.models.Conformer(width, heads, 4 * width, layers, kernel, dropout)
        self.layers: nn.ModuleList = whole.conformer_layers  # its forward reads lengths back from the device
        self.head = nn.Linear(width, 1 + len(outputs.alphabet))

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Log-probabilities of shape (B, frames, classes)."""
        y_BMF, lengths_B = self.spectra(x_BT, lengths_B)
        y_BDF = F.relu(self.narrow(self.hide(y_BMF, lengths_B)))
        lengths_B = (lengths_B + self.stride - 1) // self.stride
        over_BF = ~there(lengths_B, y_BDF.shape[2])
        y_FBD = y_BDF.permute(2, 0, 1)
        for layer in self.layers:
            y_FBD = layer(y_FBD.masked_fill(over_BF.T.unsqueeze(2), 0.0), over_BF)
        return ended(self.head(y_FBD.transpose(0, 1)).log_softmax(2), lengths_B)
