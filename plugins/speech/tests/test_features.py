"""Spectra inside the models: where a tone lands, what a library computes, and what SpecAugment hides."""

from __future__ import annotations

import math

import pytest
import torch
import torchaudio
from labwright_speech.features import SpecAugment, Spectra


def noise(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    x_BT = torch.randn(len(lengths), max(lengths), generator=random)
    for row, length in zip(x_BT, lengths, strict=True):
        row[length:] = 0
    return x_BT, torch.tensor(lengths)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_a_tone_is_loudest_in_the_band_whose_centre_is_nearest(rate: int) -> None:
    spectra = Spectra(rate, mels=40)

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)  # O'Shaughnessy 1987

    centres = torch.linspace(mel(20), mel(rate / 2), 42)[1:-1]
    for hertz in (500.0, 1000.0, 3000.0):
        x_T = torch.sin(2 * math.pi * hertz * torch.arange(rate) / rate)
        loudest = int(spectra.raw(x_T[None])[0, :, 50].argmax())
        assert abs(loudest - int((centres - mel(hertz)).abs().argmin())) <= 1


def test_cepstral_coefficients_are_torchaudios() -> None:
    x_BT, _ = noise(8000)
    ours = Spectra(8000, mels=40, cepstra=13).raw(x_BT)
    arguments = {"n_fft": 512, "win_length": 200, "hop_length": 80, "n_mels": 40, "f_min": 20.0, "pad_mode": "constant"}
    theirs = torchaudio.transforms.MFCC(8000, n_mfcc=13, log_mels=True, melkwargs=arguments)(x_BT)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_features_have_zero_mean_and_unit_spread_over_the_frames_that_are_there() -> None:
    x_BT, lengths_B = noise(8000, 3000)
    y_BMF, frames_B = Spectra(8000)(x_BT, lengths_B)
    assert y_BMF.shape == (2, 40, 101) and frames_B.tolist() == [101, 38]
    assert y_BMF[1, :, 38:].abs().max() == 0
    for row, frames in zip(y_BMF, frames_B.tolist(), strict=True):
        assert row[:, :frames].mean(1).abs().max() < 1e-4
        assert row[:, :frames].square().mean() == pytest.approx(1, abs=0.01)


def test_cepstral_coefficients_have_unit_spread_each() -> None:
    x_BT, lengths_B = noise(8000, 3000)
    y_BMF, frames_B = Spectra(8000, cepstra=13)(x_BT, lengths_B)
    assert y_BMF[1, :, 38:].abs().max() == 0
    for row, frames in zip(y_BMF, frames_B.tolist(), strict=True):
        assert row[:, :frames].mean(1).abs().max() < 1e-4
        torch.testing.assert_close(row[:, :frames].square().mean(1), torch.ones(13), rtol=0.01, atol=0.01)


def test_the_mean_over_all_bands_keeps_their_differences() -> None:
    x_BT, lengths_B = noise(8000, 3000)
    x_BT = torchaudio.functional.lowpass_biquad(x_BT, 8000, 500.0)
    whole, frames_B = Spectra(8000, by_band=False)(x_BT, lengths_B)
    raw = Spectra(8000).raw(x_BT)
    for row, own, frames in zip(whole, raw, frames_B.tolist(), strict=True):
        expected = own[:, :frames]
        expected = (expected - expected.mean()) / expected.std(correction=0)
        torch.testing.assert_close(row[:, :frames], expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("by_band", [True, False])
def test_features_of_a_recording_are_the_same_beside_a_longer_one(by_band: bool) -> None:
    x_BT, lengths_B = noise(8000, 3000)
    together, _ = Spectra(8000, by_band=by_band)(x_BT, lengths_B)
    alone, _ = Spectra(8000, by_band=by_band)(x_BT[1:, :3000], lengths_B[1:])
    torch.testing.assert_close(together[1:, :, :38], alone[:, :, :38], rtol=1e-4, atol=1e-4)


def test_digital_silence_gives_no_nan() -> None:
    y_BMF, _ = Spectra(8000)(torch.zeros(1, 4000), torch.tensor([4000]))
    assert y_BMF.abs().max() < 0.01


def test_masks_hide_no_more_than_they_may() -> None:
    hide = SpecAugment(bands=1, width=8, gaps=1, gap=0.1)
    frames_B = torch.tensor([100, 50, 20])
    widths, ends, most_bands = set(), 0, 0
    for seed in range(300):
        torch.manual_seed(seed)
        hidden = hide.hidden(torch.zeros(3, 40, 100), frames_B)
        bands, gaps = hidden.all(2), hidden.all(1)
        most_bands = max(most_bands, int(bands.sum(1).max()))
        for row, (frames, most) in enumerate(((100, 10), (50, 5), (20, 2))):
            gap = gaps[row]
            assert int(gap.sum()) <= most and not gap[frames:].any()
            widths.add(int(gap.sum()) if row == 0 else 0)
            places = gap.nonzero()[:, 0]
            assert len(places) == 0 or int(places[-1] - places[0]) + 1 == len(places)
            ends += bool(gap[frames - 1])
    assert most_bands == 8 and widths == set(range(11)) and ends > 0


def test_masks_follow_from_the_global_seed_and_only_in_training() -> None:
    hide = SpecAugment(bands=2, width=8, gaps=2, gap=0.2)
    x_BMF, frames_B = torch.randn(4, 40, 60), torch.full((4,), 60)

    def masked(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return hide(x_BMF, frames_B)

    assert torch.equal(masked(1), masked(1)) and not torch.equal(masked(1), masked(2))
    assert not torch.equal(masked(1)[0] == 0, masked(1)[1] == 0)
    hide.eval()
    assert hide(x_BMF, frames_B) is x_BMF


def test_nothing_is_hidden_where_nothing_may_be() -> None:
    hide = SpecAugment(bands=0, width=0, gaps=0, gap=0.0)
    assert not hide.hidden(torch.zeros(2, 40, 30), torch.tensor([30, 10])).any()
