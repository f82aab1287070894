"""Decoding: from a sound file to one channel at one sample rate, or what is wrong with it. T samples, C channels."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

Source = Path | bytes  # a sound file, or its content

# The usual endings of what libsndfile tells by its content; .mat and .raw are too often something else.
SUFFIXES = (
    *(".8svx", ".aif", ".aifc", ".aiff", ".au", ".avr", ".caf", ".flac", ".htk", ".iff", ".ircam", ".mp1", ".mp2"),
    *(".mp3", ".nist", ".oga", ".ogg", ".opus", ".paf", ".pvf", ".rf64", ".sds", ".sf", ".snd", ".sph", ".svx"),
    *(".voc", ".w64", ".wav", ".wave", ".wve", ".xi"),
)
_PIECE = 1 << 22  # samples read at once
_APART = 100  # times one rate may be the other
_ODD = 2000  # the largest term of a reduced ratio of rates; the filter's size grows with their product
_FAULTS = (OSError, RuntimeError, TypeError)  # what soundfile raises for a file that it can't read
_LOUDEST = 16.0  # beyond that no music goes over full scale, 1; integers of 8 bits do
_HEARD = 0.01  # of its channels' effective value: their mean's, below which they have cancelled each other out
_LATE = 0.1  # seconds a stretch may end after its file, and before it if it is the whole: tables are rounded
_STREAMED = 0x7FFF0000  # sizes from here on are written by a program that doesn't know how much will come
_TORN = 64  # bytes that may lack at the end: less than anybody hears
# What libsndfile logs of files that are shorter than their headers say.
_SHORT = re.compile(r"^ *(?:data|SSND|BODY|Data Size|Data length|riff) *:? *(\d+) \(?should be (\d+)", re.MULTILINE)
_SHORT_64 = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
_SPHERE = re.compile(rb"NIST_1A.*?sample_count -i (\d+)", re.DOTALL)


class Unusable(Exception):
    """What is wrong with a recording: the rest of a sentence that begins with its name."""


def waveform(source: Source, rate: int, start: float = 0.0, seconds: float | None = None) -> Tensor:
    """A recording as (T,) float32, or the stretch of `seconds` from `start`: its channels' mean, resampled to `rate`.

    Full scale is 1; what was written as floating-point numbers may go a little beyond. Raises Unusable for a file that
    is no sound, empty, cut off, or shorter than the stretch; for values that aren't numbers, or integers written as
    floating-point ones; for channels that cancel each other out.
    """
    x_TC, own = _decoded(source, start, seconds)
    if not len(x_TC):
        raise Unusable("holds no sound: it has 0 samples")
    check_ratio(own, rate)
    if not np.isfinite(x_TC).all():
        raise Unusable("holds values that are no finite numbers")
    loudest = float(np.abs(x_TC).max())
    if loudest > _LOUDEST:
        raise Unusable(
            f"has values up to {loudest:,.0f}, where full scale is 1: integers written as floating-point numbers; "
            "divide them, 16-bit ones by 32,768"
        )
    x_T = x_TC.mean(axis=1)
    if x_TC.shape[1] > 1 and _effective(x_T) < _HEARD * max(_effective(channel) for channel in x_TC.T):
        raise Unusable("has channels in opposite phase, whose mean is silence: keep one of them")
    return resampled(torch.from_numpy(x_T), own, rate)


def sample_rate(source: Source) -> int:
    """How many samples a second a recording has by itself."""
    with _opened(source) as file:
        return int(file.samplerate)


def resampled(x_T: Tensor, own: int, rate: int) -> Tensor:
    """A waveform at another sample rate, band-limited (torchaudio's windowed sinc)."""
    if own == rate:
        return x_T
    y_T: Tensor = _resampler(own // gcd(own, rate), rate // gcd(own, rate))(x_T)
    return y_T


def check_ratio(own: int, rate: int) -> None:
    """Raises Unusable if sound of `own` samples per second can't be had at `rate` without an enormous filter."""
    if max(own, rate) > _APART * min(own, rate):
        raise Unusable(f"has {own:,} samples per second, too far from task.data.rate={rate}")
    if max(own, rate) // gcd(own, rate) > _ODD:
        raise Unusable(
            f"has {own:,} samples per second, which have no simple ratio to task.data.rate={rate}: choose one that "
            f"has, such as {own} or {own // 2}"
        )


@cache
def _resampler(own: int, rate: int) -> Any:
    import torchaudio

    return torchaudio.transforms.Resample(own, rate)


def _effective(x_T: np.ndarray) -> float:
    return float(np.sqrt(np.square(x_T, dtype=np.float64).mean()))


def _decoded(source: Source, start: float, seconds: float | None) -> tuple[np.ndarray, int]:
    """Samples (T, C), float32, and how many a second has."""
    try:
        if not (source.stat().st_size if isinstance(source, Path) else len(source)):
            raise Unusable("is empty: it has 0 bytes")
        with _opened(source) as file:
            length, own = file.frames, file.samplerate
            mended = None if length else _with_sizes(_content(source))
            if mended is not None:
                return _decoded(mended, start, seconds)
            _check_whole(file, source)
            first, last = round(start * own), length if seconds is None else round((start + seconds) * own)
            if first < 0 or last > length + _LATE * own or (first >= length and length):
                upto = "its end" if seconds is None else f"{start + seconds:g}"
                raise Unusable(f"has {length / own:.2f} seconds, not those from {start:g} to {upto}")
            if first:
                file.seek(first)
            last = length if not first and last > length - _LATE * own else min(last, length)
            x_TC = _read(file, last - first)
            slack = 2304 if file.format == "MP3" else 0  # two frames, which some encoders count too many
            if len(x_TC) + slack < last - first:
                raise Unusable(f"is damaged or cut off: of {length:,} samples, {first + len(x_TC):,} can be read")
            return x_TC, own
    except _FAULTS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).rpartition(": ")[2]
        raise Unusable(f"can't be read as sound: {reason.rstrip('.') or type(error).__name__}") from error


def _read(file: Any, frames: int) -> np.ndarray:
    """At most so many frames, (T, C): piece by piece, since a damaged header may promise more than memory holds."""
    pieces = []
    most = max(1, _PIECE // file.channels)
    while frames:
        piece = file.read(min(frames, most), dtype="float32", always_2d=True)
        pieces.append(piece)
        frames -= len(piece)
        if len(piece) < most:
            break
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces or [np.empty((0, 1), np.float32)])


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    from soundfile import SoundFile

    with ExitStack() as stack:
        try:
            file = SoundFile(_Content(source) if isinstance(source, bytes) else source)
        except RuntimeError:
            if not isinstance(source, bytes):
                raise
            path = Path(stack.enter_context(TemporaryDirectory()), "sound")  # libsndfile knows MP3 in a file only
            path.write_bytes(source)
            file = SoundFile(path)
        yield stack.enter_context(file)


class _Content(io.BytesIO):
    """Bytes, before whose beginning a damaged header may point."""

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self.tell(), len(self.getbuffer()))[whence]
        return super().seek(max(0, start + offset))


def _content(source: Source) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source


def _check_whole(file: Any, source: Source) -> None:
    """Raises Unusable for a file that ends before its header says so."""
    log = file.extra_info
    sizes = [(int(promised), int(present)) for promised, present in _SHORT.findall(log)]
    sizes += [(int(promised), int(present)) for present, promised in _SHORT_64.findall(log)]
    if file.format == "NIST":
        promised = _SPHERE.match(_content(source)[:1024])
        sizes += [(int(promised[1]) * file.channels, file.frames * file.channels)] if promised else []
    cut = any(promised - present > _TORN and promised < _STREAMED for promised, present in sizes)
    if cut or "Junk after the last page" in log:  # half an Ogg page
        raise Unusable(
            f"is cut off: it ends after {file.frames / file.samplerate:.2f} seconds, in the middle of its sound"
        )


def _with_sizes(content: bytes) -> bytes | None:
    """A WAV file whose writer, as to a pipe, left the size of its sound at 0: with that size. None: it isn't one."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return None
    place = 12
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if content[place : place + 4] == b"data":
            rest = len(content) - place - 8
            if size or not rest or _is_chunk(content[place + 8 :]):
                return None
            sized = rest.to_bytes(4, "little")
            whole = (len(content) - 8).to_bytes(4, "little")
            return content[:4] + whole + content[8 : place + 4] + sized + content[place + 8 :]
        place += 8 + size + size % 2
    return None


def _is_chunk(content: bytes) -> bool:
    """Whether there is a chunk, rather than sound: a name of four letters, and a size that fits."""
    name, size = content[:4], int.from_bytes(content[4:8], "little")
    return name.isascii() and name.decode("ascii").isprintable() and size <= len(content) - 8
