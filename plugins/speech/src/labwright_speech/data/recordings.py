"""What all data of recordings has in common, whether they have a class or a text.

B batch, T samples, M bands, F frames.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from labwright import Audio, Data, LeftOut, Split
from torch import Tensor

from labwright_speech.data.augment import Augment
from labwright_speech.data.sound import Heard, OnDamaged, Recording, listened, several
from labwright_speech.data.stores import Folder
from labwright_speech.data.waveform import SUFFIXES


class Identified(Split, Protocol):
    """A split that knows what tells its samples from others, one text for each."""

    @property
    def identities(self) -> Sequence[str]: ...


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

    @abstractmethod
    def split(self, name: str) -> Identified | None: ...

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
    train = {heard[recording].digest: recording for recording in parts["train"] if not heard[recording].silent}
    for part, some in parts.items():
        same = [(recording, train[heard[recording].digest]) for recording in some if heard[recording].digest in train]
        if same and part != "train":
            recording, other = same[0]
            sentences.append(
                f"{len(same):,} of {len(some):,} recordings of {part} are among the training ones: {recording.label} "
                f"is {other.label}. A model is measured on what it hasn't heard: take them away."
            )
    return sentences


def spectrograms(x_BT: Tensor, lengths_B: Tensor, *, rate: int) -> list[Tensor]:
    """A log-mel spectrogram of each waveform as a picture (1, M, F), low bands below, without what is after its end."""
    from labwright_speech.features import Spectra

    spectra = Spectra(rate, mels=64)
    frames_B = spectra.frames(lengths_B.cpu())
    raw_BMF = spectra.raw(x_BT.detach().float().cpu()).flip(1)
    return [raw_MF[None, :, :frames] for raw_MF, frames in zip(raw_BMF, frames_B.tolist(), strict=True)]
