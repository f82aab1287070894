"""Reading recordings: from a file, a folder or a zip archive, as one channel at one sample rate. T samples."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import gcd
from pathlib import Path
from typing import Any, Protocol

import torch
from labwright.errors import LabwrightError, listed
from torch import Tensor

SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav")
_MOST = 1 << 30  # bytes of decoded recordings kept in memory, for each split
_ODD = 2000  # the largest term of a reduced ratio of rates; the filter's size grows with their product
_FAULTS = (OSError, RuntimeError, TypeError)  # what soundfile raises for a file that it can't read


class Store(Protocol):
    """Where recordings lie."""

    def names(self) -> list[str]:
        """The recordings' names, sorted: paths relative to the store, with slashes."""
        ...

    def open(self, name: str) -> Any:
        """What soundfile reads that recording from: a path or a file. Raises OSError if it can't be got."""
        ...

    def label(self, name: str) -> str:
        """The recording in words, for messages."""
        ...


class Folder:
    """Recordings in a folder, and in those below it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.suffix.lower() in SUFFIXES)
        return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))

    def open(self, name: str) -> Path:
        return self.path / name

    def label(self, name: str) -> str:
        return str(self.path / name)


class Archive:
    """Recordings in a zip archive. Raises LabwrightError if it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self._names = sorted(
            name for name in self._file().namelist() if Path(name).suffix.lower() in SUFFIXES and "__MACOSX" not in name
        )

    def names(self) -> list[str]:
        return self._names

    def open(self, name: str) -> io.BytesIO:
        try:
            return io.BytesIO(self._file().read(name))
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise OSError(f"the archive is damaged there: {error}") from error

    def label(self, name: str) -> str:
        return f"{name} in {self.path}"

    def _file(self) -> zipfile.ZipFile:
        """The open archive, this process's own: loader workers can't share a place in a file."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.path)
            except (OSError, zipfile.BadZipFile) as error:
                raise LabwrightError(f"{self.path} can't be read as a zip archive: {error}.") from error
        return self._opened[1]


def store(path: Path) -> Store:
    """A folder's or a zip archive's recordings."""
    return Folder(path) if path.is_dir() else Archive(path)


@dataclass(frozen=True)
class Recording:
    """One recording: where it is, what is known of it. `said` is its class or its text."""

    store: Store
    name: str
    said: str = ""
    speaker: str = ""
    part: str = ""  # train, valid or test where the data says so
    where: str = ""  # the place that says so

    @property
    def label(self) -> str:
        return self.store.label(self.name)

    def samples(self, rate: int) -> int:
        """How long it will be at that rate, by its header. Raises LabwrightError for a file that can't be used."""
        import soundfile

        try:
            facts = soundfile.info(self.store.open(self.name))
        except _FAULTS as error:
            raise _unreadable(self.label, error) from error
        _check(facts.frames, facts.samplerate, rate, self.label)
        length: int = -(-facts.frames * rate // facts.samplerate)
        return length

    def read(self, rate: int) -> Tensor:
        """The waveform (T,) at that rate, float32 in -1..1."""
        return _waveform(lambda: self.store.open(self.name), self.label, rate)


class Waveforms(Sequence[Tensor]):
    """The waveforms of some recordings, read when they are asked for and kept as long as there is room."""

    def __init__(self, recordings: Sequence[Recording], rate: int) -> None:
        self.recordings, self.rate = recordings, rate
        self._kept: dict[int, Tensor] = {}
        self._room = _MOST

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices are asked for
        kept = self._kept.get(index)
        if kept is None:
            kept = self.recordings[index].read(self.rate)
            self._room -= kept.nbytes
            if self._room > 0:
                self._kept[index] = kept
        return kept


def read_file(path: Path, rate: int) -> Tensor:
    """The waveform (T,) of one file at that rate. Raises LabwrightError naming a file that can't be used."""
    return _waveform(lambda: path, str(path), rate)


def _waveform(source: Callable[[], Any], label: str, rate: int) -> Tensor:
    """What a file holds as (T,) float32 in -1..1: the mean of its channels, resampled."""
    import soundfile

    try:
        samples_TC, own = soundfile.read(source(), dtype="float32", always_2d=True)
    except _FAULTS as error:
        raise _unreadable(label, error) from error
    _check(len(samples_TC), own, rate, label)
    x_T = torch.from_numpy(samples_TC).mean(dim=1)
    if not torch.isfinite(x_T).all():
        raise LabwrightError(f"{label} holds values that are no finite numbers. Mend it or take it away.")
    return resampled(x_T, own, rate)


def resampled(x_T: Tensor, own: int, rate: int) -> Tensor:
    """A waveform at another sample rate, band-limited (torchaudio's windowed sinc)."""
    if own == rate:
        return x_T
    y_T: Tensor = _resampler(own // gcd(own, rate), rate // gcd(own, rate))(x_T)
    return y_T


@cache
def _resampler(own: int, rate: int) -> Any:
    import torchaudio

    return torchaudio.transforms.Resample(own, rate)


def padded(waves: Sequence[Tensor], size: int | None = None) -> tuple[Tensor, Tensor]:
    """Waveforms side by side: x_BT, zeros after each one's end, and lengths_B. T is the longest one's, or `size`."""
    lengths_B = torch.tensor([len(one) for one in waves])
    x_BT = torch.zeros(len(waves), int(lengths_B.max()) if size is None else size)
    for row, one in zip(x_BT, waves, strict=True):
        row[: len(one)] = one
    return x_BT, lengths_B


def window(x_T: Tensor, size: int) -> Tensor:
    """The middle of a waveform, at most `size` samples."""
    over = len(x_T) - size
    return x_T if over <= 0 else x_T[over // 2 : over // 2 + size]


def no_recordings(where: object) -> LabwrightError:
    return LabwrightError(f"{where} has no recordings: put some there ({listed(SUFFIXES)}).")


def check_ratio(own: int, rate: int, label: str) -> None:
    """Raises LabwrightError if sound of `own` samples per second can't be had at `rate` without an enormous filter."""
    if max(own, rate) // gcd(own, rate) > _ODD:
        raise LabwrightError(
            f"{label} has {own:,} samples per second, which have no simple ratio to task.data.rate={rate}: choose one "
            f"that has, such as {own} or {own // 2}."
        )


def _check(samples: int, own: int, rate: int, label: str) -> None:
    if samples < 1:
        raise LabwrightError(f"{label} holds no sound: it has 0 samples. Take it away.")
    check_ratio(own, rate, label)


def _unreadable(label: str, error: Exception) -> LabwrightError:
    reason = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
    return LabwrightError(f"{label} can't be read as sound: {reason}. Mend it or take it away.")
