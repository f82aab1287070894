"""What is wrong with a sound file is found, and what only looks wrong is read."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from labwright_speech.data.sound import read_file
from labwright_speech.data.waveform import SUFFIXES, Unusable, waveform

RATE = 16_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
NOISE = (0.1 * np.random.default_rng(0).standard_normal(RATE)).clip(-1, 1).astype(np.float32)
# The usual ending of each format that soundfile writes and libsndfile tells by its content.
ENDINGS = {
    "AIFF": ".aiff",
    "AU": ".au",
    "AVR": ".avr",
    "CAF": ".caf",
    "FLAC": ".flac",
    "HTK": ".htk",
    "IRCAM": ".sf",
    "MP3": ".mp3",
    "NIST": ".sph",
    "OGG": ".ogg",
    "PAF": ".paf",
    "PVF": ".pvf",
    "RF64": ".rf64",
    "SDS": ".sds",
    "SVX": ".8svx",
    "VOC": ".voc",
    "W64": ".w64",
    "WAV": ".wav",
    "WAVEX": ".wav",
    "WVE": ".wve",
    "XI": ".xi",
}
UNTOLD = {"MAT4", "MAT5", "MPC2K", "RAW", "SD2"}  # of endings that are mostly something else, or of no header


def written(samples: np.ndarray, kind: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def with_size(size: int) -> bytes:
    """A WAV file whose two sizes say something."""
    content = bytearray(written(TONE))
    place = content.find(b"data")
    content[4:8] = content[place + 4 : place + 8] = struct.pack("<I", size)
    return bytes(content)


def test_every_format_is_known_by_its_usual_ending() -> None:
    assert set(soundfile.available_formats()) <= ENDINGS.keys() | UNTOLD
    assert set(ENDINGS.values()) <= set(SUFFIXES)


@pytest.mark.parametrize("kind", ENDINGS)
def test_every_format_is_read_from_a_file_and_from_an_archive(kind: str, tmp_path: Path) -> None:
    content = written(TONE, kind, rate=8000 if kind == "WVE" else RATE)
    path = tmp_path / f"x{ENDINGS[kind]}"
    path.write_bytes(content)
    x_T = read_file(path, RATE)  # XI and WVE have rates of their own
    assert torch.equal(waveform(content, RATE), x_T) and len(x_T) > 4000
    assert float(x_T.abs().max()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_file_written_to_a_pipe_is_read_whole_though_its_sizes_were_never_filled_in(size: int) -> None:
    torch.testing.assert_close(waveform(with_size(size), RATE), torch.from_numpy(TONE), rtol=0, atol=1e-4)


def test_what_stands_behind_the_sound_of_no_length_is_not_taken_for_sound() -> None:
    empty = written(TONE[:0])
    with pytest.raises(Unusable, match="holds no sound: it has 0 samples"):
        waveform(empty + b"LIST" + struct.pack("<I", 4) + b"INFO", RATE)


@pytest.mark.parametrize(
    "kind", ["AIFF", "AU", "FLAC", "MP3", "NIST", "OGG", "RF64", "SVX", "W64", "WAV", "WAVEX", "WVE"]
)
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_file_that_was_cut_off_is_not_read_as_a_shorter_one(kind: str, share: float) -> None:
    content = written(NOISE, kind, rate=8000 if kind == "WVE" else RATE)
    with pytest.raises(Unusable, match=r"cut off|can't be read as sound"):
        waveform(content[: round(share * len(content))], 8000 if kind == "WVE" else RATE)


def test_a_hole_in_a_file_is_found() -> None:
    for kind in ("FLAC", "MP3", "OGG"):
        content = bytearray(written(np.tile(NOISE, 4), kind))
        middle = len(content) // 2
        content[middle : middle + 2000] = bytes(2000)
        with pytest.raises(Unusable, match=r"damaged or cut off|can't be read as sound"):
            waveform(bytes(content), RATE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: it has 0 bytes"),
        (b"RIFF", "can't be read as sound"),
        (bytes(1000), "can't be read as sound"),
        (written(TONE)[:44], r"holds no sound|cut off"),
        (written(TONE[:0]), "holds no sound: it has 0 samples"),
        (written(np.array([0.1, np.nan]), subtype="FLOAT"), "values that are no finite numbers"),
        (written(np.array([0.1, np.inf]), subtype="FLOAT"), "values that are no finite numbers"),
        (written(TONE * 32767, subtype="FLOAT"), r"values up to 16,384, where full scale is 1.*divide them"),
        (written(np.stack([TONE, -TONE], 1)), "opposite phase, whose mean is silence: keep one"),
        (written(TONE, rate=15_991), r"15,991 samples per second.*task\.data\.rate=16000: choose"),
    ],
    ids=[
        "empty",
        "a beginning",
        "zeros",
        "a header",
        "no samples",
        "nan",
        "inf",
        "loud",
        "opposite phase",
        "an odd rate",
    ],
)
def test_what_cannot_be_used_is_said(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    for source in (content, tmp_path / "x.wav"):
        with pytest.raises(Unusable, match=words):
            waveform(source, RATE)


def test_what_is_a_little_over_full_scale_is_taken_as_it_is() -> None:
    assert float(waveform(written(3 * TONE, subtype="FLOAT"), RATE).max()) == pytest.approx(1.5, abs=1e-3)


def test_a_stretch_is_what_stands_there_and_ends_with_the_file() -> None:
    for kind in ("WAV", "FLAC"):
        x_T = waveform(written(NOISE, kind), RATE)
        assert torch.equal(waveform(written(NOISE, kind), RATE, 0.25, 0.5), x_T[4000:12_000])
        assert torch.equal(waveform(written(NOISE, kind), RATE, 0.5), x_T[8000:])
        assert torch.equal(waveform(written(NOISE, kind), RATE, 0.5, 0.55), x_T[8000:])  # tables are rounded
        assert len(waveform(written(NOISE, kind), RATE, 0.0, 0.95)) == RATE
        assert len(waveform(written(NOISE, kind), RATE, 0.0, 0.85)) == 0.85 * RATE
    for start, seconds in ((0.5, 0.7), (1.0, None), (1.5, None), (0.0, 1000.0)):
        with pytest.raises(Unusable, match=r"has 1\.00 seconds, not those from"):
            waveform(written(NOISE), RATE, start, seconds)


def test_random_damage_never_ends_in_another_error(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for kind in ("WAV", "FLAC", "OGG", "AIFF", "NIST", "CAF", "MP3"):
        whole = written(NOISE[:4000], kind)
        for _ in range(40):
            content = bytearray(whole)
            for place in random.integers(0, len(whole), 4):
                content[place] = random.integers(256)
            for place in random.integers(0, 64, 2):
                content[place] = random.integers(256)
            _read_or_refuse(lambda content=bytes(content): waveform(content, RATE))


def _read_or_refuse(read: Callable[[], torch.Tensor]) -> None:
    try:
        assert torch.isfinite(read()).all()
    except Unusable as error:
        assert re.match(r"(is|has|holds|can't) ", str(error))
