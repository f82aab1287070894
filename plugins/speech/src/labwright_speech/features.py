"""From waveforms to spectra, inside a model. B batch, T samples, M mel bands or cepstral coefficients, F frames."""

from __future__ import annotations

import torch
from labwright import LabwrightError
from torch import Tensor, nn

_WINDOW = 0.025  # seconds
_FLOOR = 1e-6  # added to a band's energy before the logarithm; full scale is about 100
_SPREAD = 1e-3  # added to a deviation, so that digital silence stays 0


class Spectra(nn.Module):
    """Log-mel spectrogram of waveforms, or cepstral coefficients (MFCC), of zero mean and unit spread.

    Frames of 25 ms every `hop` seconds; the energies of `mels` bands (O'Shaughnessy's mel scale) and their
    natural logarithm; with `cepstra` above 0 their discrete cosine transform instead, that many coefficients. Of each
    utterance the mean is taken away and the whole is divided by its deviation; frames after its end are 0. With
    `by_band` it is the mean of each band, which takes away what the microphone does to a long utterance; of a single
    word it would take away the vowel. Cepstral coefficients are each divided by their own deviation, which falls with
    their number.

    Raises LabwrightError for more coefficients than bands.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        mels: int = 40,
        cepstra: int = 0,
        hop: float = 0.01,
        by_band: bool = True,
    ) -> None:
        import torchaudio

        super().__init__()
        if cepstra > mels:
            raise LabwrightError(f"model.cepstra: at most as many as model.mels, {mels}, given {cepstra}.")
        width = round(_WINDOW * sample_rate)
        self.hop = round(hop * sample_rate)
        self.rate = sample_rate / self.hop  # frames per second
        self.bands = cepstra or mels
        self.by_band = by_band
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate,
            n_fft=max(512, 1 << (width - 1).bit_length()),
            win_length=width,
            hop_length=self.hop,
            n_mels=mels,
            f_min=20.0,
            pad_mode="constant",
        )
        cosines = torchaudio.functional.create_dct(cepstra, mels, "ortho") if cepstra else None
        self.register_buffer("cosines", cosines, persistent=False)

    def frames(self, lengths_B: Tensor) -> Tensor:
        """How many frames waveforms of that many samples have."""
        return lengths_B // self.hop + 1

    def forward(self, x_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Features of shape (B, M, F), and how many frames of each row count (B,)."""
        with torch.autocast(x_BT.device.type, enabled=False):  # a spectrum's range is wider than that of half precision
            y_BMF = self.raw(x_BT.float())
            frames_B = self.frames(lengths_B)
            there_B1F = (torch.arange(y_BMF.shape[2], device=x_BT.device) < frames_B[:, None]).unsqueeze(1)
            y_BMF = normal(y_BMF, there_B1F, frames_B, by_band=self.by_band, each=self.cosines is not None)
            return y_BMF, frames_B

    def raw(self, x_BT: Tensor) -> Tensor:
        """Features as they are, (B, M, F)."""
        y_BMF: Tensor = (self.mel(x_BT) + _FLOOR).log()
        cosines = self.cosines
        if isinstance(cosines, Tensor):
            y_BMF = (y_BMF.transpose(1, 2) @ cosines).transpose(1, 2)
        return y_BMF


def normal(y_BMF: Tensor, there_B1F: Tensor, frames_B: Tensor, *, by_band: bool = True, each: bool = False) -> Tensor:
    """The mean over the frames that are there taken away, all divided by their deviation or `each`; 0 elsewhere."""
    count_B11 = frames_B[:, None, None].to(y_BMF.dtype)
    whole_B11 = count_B11 * y_BMF.shape[1]
    y_BMF = y_BMF * there_B1F
    mean = y_BMF.sum(2, keepdim=True) / count_B11 if by_band else y_BMF.sum((1, 2), keepdim=True) / whole_B11
    y_BMF = (y_BMF - mean) * there_B1F
    square = y_BMF.square()
    square = square.sum(2, keepdim=True) / count_B11 if each else square.sum((1, 2), keepdim=True) / whole_B11
    return y_BMF / (square.sqrt() + _SPREAD)


class SpecAugment(nn.Module):
    """In training, hides bands and stretches of time (Park et al. 2019, without warping); otherwise it does nothing.

    `bands` times up to `width` neighbouring bands, and `gaps` times up to a share `gap` of the utterance's frames; what
    is hidden is 0, the mean of normalised features. It draws as dropout does, so that a step's masks follow from
    (seed, step).
    """

    def __init__(self, *, bands: int = 2, width: int = 8, gaps: int = 2, gap: float = 0.1) -> None:
        super().__init__()
        self.bands, self.width, self.gaps, self.gap = bands, width, gaps, gap

    def forward(self, x_BMF: Tensor, frames_B: Tensor) -> Tensor:
        if not self.training:
            return x_BMF
        return x_BMF.masked_fill(self.hidden(x_BMF, frames_B), 0.0)

    def hidden(self, x_BMF: Tensor, frames_B: Tensor) -> Tensor:
        """What is hidden, bool (B, M, F)."""
        batch, bands, frames = x_BMF.shape
        tall_B = torch.full((batch,), float(bands), device=x_BMF.device)
        bands_BM = _stretches(self.bands, (tall_B * 0 + self.width).clamp(max=bands), tall_B, bands)
        gaps_BF = _stretches(self.gaps, frames_B * self.gap, frames_B.float(), frames)
        return bands_BM.unsqueeze(2) | gaps_BF.unsqueeze(1)


def _stretches(count: int, most_B: Tensor, whole_B: Tensor, size: int) -> Tensor:
    """`count` stretches of 0 to `most` positions each, anywhere among the first `whole` of `size`: bool (B, size)."""
    width_BN, start_BN = torch.rand(2, len(most_B), count, device=most_B.device)
    width_BN = (width_BN * (most_B.floor()[:, None] + 1)).floor()
    start_BN = (start_BN * (whole_B[:, None] - width_BN + 1)).floor()
    place = torch.arange(size, device=most_B.device)
    inside_BNS = (place >= start_BN[..., None]) & (place < (start_BN + width_BN)[..., None])
    inside_BS: Tensor = inside_BNS.any(1)
    return inside_BS
