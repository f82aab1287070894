"""What all data of recordings has in common, whether they have a class or a text.

B batch, T samples, M bands, F frames.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol

import torch
from labwright import Audio, Data, Finding, LabwrightError, LeftOut, Split
from labwright_tasks.other_data import Facts
from torch import Tensor

from labwright_speech.data.augment import Augment
from labwright_speech.data.odd_recordings import Place, low_rates, odd_lengths
from labwright_speech.data.sound import Heard, OnDamaged, Recording, Waveforms, listened, read_file, several
from labwright_speech.data.stores import Folder
from labwright_speech.data.waveform import SUFFIXES, sample_rate

_HEARD = 256  # recordings whose loudness stands for that of all


class Identified(Split, Protocol):
    """A split that knows its waveforms, and what tells its samples from others, one text for each."""

    @property
    def identities(self) -> Sequence[str]: ...

    @property
    def sounds(self) -> Sequence[Tensor]: ...


@dataclass
class Rows:
    """What is listed or lies somewhere, why some of it can't be used, what isn't used, and what to know about it."""

    recordings: list[Recording] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


class Recordings(Data):
    """Recordings at `rate` samples per second; `speed`, `shift` and `noise` augment the training ones."""

    item = Audio
    suffixes = SUFFIXES
    in_memory = False

    rate: int
    speed: float
    shift: float
    noise: float
    on_damaged: OnDamaged = "refuse"

    def __init__(self) -> None:
        self._left_out: list[LeftOut] = []
        self._remarks: list[str] = []
        self._guessed: list[str] = []  # of manifests of what is predicted for
        self.facts: Facts = {}  # of the training part

    @abstractmethod
    def split(self, name: str) -> Identified | None: ...

    def rows_at(self, path: Path, *, said: bool) -> Rows:  # noqa: ARG002 - a default
        """All recordings of other data; `said` asks for their classes or texts."""
        raise LabwrightError(f"{type(self).__name__} can't read other recordings, such as {str(path)!r}.")

    @abstractmethod
    def arguments(self, x_T: Tensor) -> tuple[Tensor, ...]:
        """A waveform as a model's arguments with one row."""

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return self.arguments(read_file(path, self.rate))

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """The recordings of an archive or a manifest, with classes or texts or without."""
        if path.is_dir() or path.suffix.lower() in self.suffixes:
            return None
        rows = self.rows_at(path, said=False)
        self._guessed += rows.remarks
        faults = ((str(path), partial(_refuse, fault)) for fault in rows.faults)
        return chain(((row.where or row.label, partial(self._read_one, row)) for row in rows.recordings), faults)

    def noticed(self) -> Sequence[str]:
        notes, self._guessed = self._guessed, []
        return notes

    def _read_one(self, recording: Recording) -> tuple[Tensor, ...]:
        return self.arguments(recording.read(self.rate))

    def sounds_like(self, sounds: Sequence[Tensor], lengths: Sequence[int]) -> dict[str, Tensor]:
        """What recordings are like, by name: how long, and of some of them how loud."""
        some = torch.linspace(0, len(sounds) - 1, min(len(sounds), _HEARD)).round().long().tolist()
        loudness = [20 * math.log10(max(1e-5, float(sounds[n].square().mean().sqrt()))) for n in some]
        seconds_N = torch.tensor(lengths) / self.rate
        return {"the length in seconds": seconds_N, "the loudness in decibels": torch.tensor(loudness)}

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def identity(self, split: str) -> Iterable[str] | None:
        part = self.split(split)
        return None if part is None else part.identities

    def place(self, split: str, index: int) -> str:
        part = self.split(split)
        return super().place(split, index) if part is None else part.identities[index].partition("\t")[0]

    def files(self, folder: Path) -> list[Path]:
        return [folder / name for name in Folder(folder).names]

    def show(self, inputs: tuple[Tensor, ...]) -> list[str] | list[Tensor]:
        return list(spectrograms(*inputs, rate=self.rate))

    def checks(self) -> list[Finding]:
        """Recordings of odd lengths, and those that were taken with fewer samples a second than others."""
        rates: dict[Place, int] = {}
        for name, part in self._parts().items():
            if isinstance(part.sounds, Waveforms):  # else there are no files
                sources = enumerate(recording.source() for recording in part.sounds.recordings)
                rates |= {(name, index): sample_rate(source) for index, source in sources}
        return [*odd_lengths(self._seconds()), *low_rates(rates, self.rate)]

    def _parts(self) -> dict[str, Identified]:
        return {name: part for name in ("train", "valid", "test") if (part := self.split(name)) is not None}

    def _seconds(self) -> dict[Place, float]:
        """How long each recording is, before it is cut."""
        parts = self._parts().items()
        return {(name, index): len(x_T) / self.rate for name, part in parts for index, x_T in enumerate(part.sounds)}

    def _listen(
        self, recordings: Sequence[Recording], left_out: Sequence[LeftOut], faults: Sequence[str] = ()
    ) -> dict[Recording, Heard]:
        """Decode everything that was found, and note what can't be used beside what was left out before."""
        heard, damaged = listened(recordings, self.rate, self.on_damaged, faults)
        self._left_out = [*damaged, *left_out]
        return heard

    def _augment(self, length: int, part: str) -> Augment | None:
        if part != "train" or not (self.speed or self.shift or self.noise):
            return None
        return Augment(length, self.rate, speed=self.speed, shift=self.shift, noise=self.noise)


def noticed(parts: Mapping[str, Sequence[Recording]], heard: Mapping[Recording, Heard]) -> list[str]:
    """Sentences about recordings that hold silence, and about those that training and another part have both."""
    silent = [recording.label for some in parts.values() for recording in some if heard[recording].silent]
    sentences = []
    if silent:
        are = "1 recording is" if len(silent) == 1 else f"{len(silent):,} recordings are"
        sentences.append(f"{are} digital silence: {several(silent)}. Take away what should hold sound.")
    train = {heard[recording].digest: recording for recording in parts.get("train", ()) if not heard[recording].silent}
    for part, some in parts.items():
        same = [(recording, train[heard[recording].digest]) for recording in some if heard[recording].digest in train]
        if same and part != "train":
            recording, other = same[0]
            sentences.append(
                f"{len(same):,} of {len(some):,} recordings of {part} are among the training ones: {recording.label} "
                f"is {other.label}. A model is measured on what it hasn't heard: take them away."
            )
    return sentences


def _refuse(why: str) -> tuple[Tensor, ...]:
    raise LabwrightError(why)


def spectrograms(x_BT: Tensor, lengths_B: Tensor, *, rate: int) -> list[Tensor]:
    """A log-mel spectrogram of each waveform as a picture (1, M, F), low bands below, without what is after its end."""
    from labwright_speech.features import Spectra

    spectra = Spectra(rate, mels=64)
    frames_B = spectra.frames(lengths_B.cpu())
    raw_BMF = spectra.raw(x_BT.detach().float().cpu()).flip(1)
    return [raw_MF[None, :, :frames] for raw_MF, frames in zip(raw_BMF, frames_B.tolist(), strict=True)]
