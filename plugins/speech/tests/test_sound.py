"""Recordings as they come in: one channel, one rate, from folders and archives; and augmented ones."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from labwright import LabwrightError
from labwright_speech.data.augment import Augment
from labwright_speech.data.sound import Recording, Waveforms, listened, padded, read_file, window
from labwright_speech.data.stores import Archive, Folder, store
from labwright_speech.data.waveform import resampled

Sing = Callable[..., Path]


def sine(hertz: float, rate: int, seconds: float = 0.5) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(("own", "rate"), [(16_000, 8000), (8000, 16_000), (44_100, 16_000), (22_050, 8000)])
def test_a_resampled_sine_is_the_same_sine_at_the_other_rate(own: int, rate: int) -> None:
    found, expected = resampled(sine(440, own), own, rate), sine(440, rate)
    inner = slice(rate // 20, len(expected) - rate // 20)  # the filter sees silence beyond the ends
    assert len(found) == pytest.approx(len(expected), abs=1)
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=0.01)


def test_what_a_lower_rate_cannot_hold_is_gone_rather_than_folded() -> None:
    assert resampled(sine(6000, 16_000), 16_000, 8000)[200:-200].abs().max() < 0.01


def test_a_rate_of_no_simple_ratio_is_refused_with_one_that_has(sing: Sing) -> None:
    with pytest.raises(LabwrightError, match=r"44,100 samples per second.*rate=16001: choose .* 44100 or 22050"):
        read_file(sing("x.wav", rate=44_100), 16_001)


def test_every_format_gives_the_mean_of_its_channels(sing: Sing) -> None:
    plain = read_file(sing("one.wav"), 8000)
    assert plain.dtype == torch.float32 and len(plain) == 2400
    for name, tolerance in (("two.flac", 1e-4), ("three.ogg", 0.1)):
        torch.testing.assert_close(read_file(sing(name, channels=2), 8000), plain, rtol=0, atol=tolerance)


def test_a_stereo_file_of_two_levels_is_their_mean(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.array([[0.5, -0.1]] * 100), 8000, subtype="FLOAT")
    torch.testing.assert_close(read_file(tmp_path / "x.wav", 8000), torch.full((100,), 0.2))


def test_a_folder_and_a_zip_archive_of_it_hold_the_same(sing: Sing, tmp_path: Path) -> None:
    names = ["a/1.wav", "a/2.flac", "b/deeper/3.ogg"]
    for number, name in enumerate(names):
        sing(f"in/{name}", hertz=300 + 100 * number)
    (tmp_path / "in" / "notes.txt").write_text("x")
    sing("in/.hidden/4.wav")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in names:
            archive.write(tmp_path / "in" / name, name)
        archive.writestr("__MACOSX/._1.wav", b"x")
    folder, zipped = (store(tmp_path / name, "task.data.folder") for name in ("in", "all.zip"))
    assert isinstance(folder, Folder) and isinstance(zipped, Archive)
    assert folder.names == zipped.names == names
    for name in names:
        one, other = Recording(folder, name), Recording(zipped, name)
        assert torch.equal(one.read(16_000), other.read(16_000))
        assert len(one.read(16_000)) == 4800


def test_waveforms_are_decoded_once(sing: Sing, tmp_path: Path) -> None:
    sing("1.wav")
    one = Recording(Folder(tmp_path), "1.wav")
    heard, _ = listened([one], 8000, "refuse")
    (tmp_path / "1.wav").unlink()
    waves = Waveforms([one], 8000, heard)
    assert waves[0] is waves[0] and len(waves) == 1 and len(waves[0]) == heard[one].samples == 2400


def test_recordings_of_an_archive_can_be_pickled_and_read_elsewhere(sing: Sing, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(sing("1.wav"), "1.wav")
    one = Recording(Archive(tmp_path / "all.zip"), "1.wav")
    assert torch.equal(pickle.loads(pickle.dumps(one)).read(8000), one.read(8000))


def test_waveforms_side_by_side_are_filled_up_with_silence() -> None:
    x_BT, lengths_B = padded([torch.ones(3), torch.ones(5)])
    assert x_BT.tolist() == [[1, 1, 1, 0, 0], [1] * 5] and lengths_B.tolist() == [3, 5]
    assert padded([torch.ones(3)], 6)[0].shape == (1, 6)
    assert window(torch.arange(10.0), 4).tolist() == [3, 4, 5, 6]
    assert window(torch.arange(3.0), 4).tolist() == [0, 1, 2]


def test_augmentation_depends_on_seed_epoch_and_recording_alone() -> None:
    x_T = sine(440, 8000)
    first, second = (Augment(10, 8000, speed=0.1, shift=0.05, noise=0.1) for _ in range(2))
    once = [first(x_T, index, 3, 5) for index in range(10)]
    for index in reversed(range(10)):
        assert torch.equal(once[index], second(x_T, index, 3, 5))
    assert not any(torch.equal(one, x_T) for one in once)
    for seed, epoch in ((5, 4), (6, 3)):
        assert not torch.equal(first(x_T, 0, epoch, seed)[:100], once[0][:100])


def test_speeds_shifts_and_noise_stay_within_their_bounds() -> None:
    x_T = sine(440, 8000, 1.0)
    speeds = {len(Augment(200, 8000, speed=0.2)(x_T, index, 0, 0)) for index in range(200)}
    assert speeds == {10_000, 8889, 8000, 7273, 6667}  # 8000 divided by 0.8, 0.9, 1, 1.1 and 1.2
    shifts = [len(Augment(200, 8000, shift=0.05)(x_T, index, 0, 0)) - 8000 for index in range(200)]
    assert min(shifts) >= -400 and max(shifts) <= 400 and min(shifts) < -300 and max(shifts) > 300
    noises = [Augment(200, 8000, noise=0.1)(x_T, index, 0, 0) - x_T for index in range(200)]
    levels = [float(noise.square().mean().sqrt() / x_T.square().mean().sqrt()) for noise in noises]
    assert max(levels) < 0.105 and max(levels) > 0.09 and min(levels) < 0.01


def test_a_faster_recording_is_higher_by_the_same_share() -> None:
    x_T = sine(400, 8000, 1.0)
    augment = Augment(50, 8000, speed=0.2)
    for index in range(50):
        y_T = augment(x_T, index, 0, 0)
        peak = int(torch.fft.rfft(y_T * torch.hann_window(len(y_T))).abs().argmax()) * 8000 / len(y_T)
        assert peak == pytest.approx(400 * 8000 / len(y_T), abs=3)


def test_the_beginning_is_cut_by_a_quarter_at_most() -> None:
    x_T = torch.ones(100)
    assert min(len(Augment(50, 8000, shift=1.0)(x_T, index, 0, 0)) for index in range(50)) == 75
