"""Data with one class for each recording. N samples, B batch, T samples of sound, M bands, F frames."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from labwright.data import Batch, Data
from labwright.errors import LabwrightError
from labwright.ports import Audio, Classes, Port
from torch import Tensor

from labwright_speech.data.augment import Augment
from labwright_speech.data.sound import SUFFIXES, Recording, Waveforms, padded, read_file, window

_KEPT = "words.json"


class Words(Data):
    """Recordings of `seconds` at `rate` samples per second, each of one class; `prepare` of a subclass fills in both.

    A longer recording is cut to its middle, a shorter one has silence behind it.
    """

    item = Audio
    target = Classes
    suffixes = SUFFIXES
    in_memory = False

    rate: int
    seconds: float
    speed: float
    shift: float
    noise: float

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._splits: dict[str, WordSplit] = {}

    @abstractmethod
    def prepare(self) -> None: ...

    @property
    def size(self) -> int:
        """Samples of an input."""
        return round(self.seconds * self.rate)

    def ports(self) -> tuple[Port, Port]:
        return Audio(self.rate, self.size), Classes(self.names)

    def split(self, name: str) -> WordSplit | None:
        return self._splits.get(name)

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return padded([window(read_file(path, self.rate), self.size)], self.size)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str] | list[Tensor]:
        return list(spectrograms(*inputs, rate=self.rate))

    def save(self, folder: Path) -> None:
        kept = {"classes": self.names, "rate": self.rate, "seconds": self.seconds}
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.names, self.rate, self.seconds = tuple(kept["classes"]), kept["rate"], kept["seconds"]

    def _take(self, parts: Mapping[str, tuple[Sequence[Tensor], Sequence[str]]], where: object) -> None:
        """Make the splits of waveforms and the names of their classes. Raises LabwrightError for classes that lack."""
        self.names = tuple(sorted(set(parts["train"][1])))
        if len(self.names) < 2:
            raise LabwrightError(f"{where} has one class only, {self.names[0]!r}: there is nothing to tell apart.")
        number = {name: label for label, name in enumerate(self.names)}
        for part, (_, said) in parts.items():
            for name in said:
                if name not in number:
                    raise LabwrightError(f"{where}: class {name!r} of {part} is not among the training recordings.")
        self._splits = {
            part: WordSplit(
                sounds, torch.tensor([number[name] for name in said]), self.size, self._augment(len(said), part)
            )
            for part, (sounds, said) in parts.items()
        }

    def _read(self, parts: Mapping[str, Sequence[Recording]], where: object) -> None:
        """Make the splits of recordings that lie somewhere."""
        self._take(
            {part: (Waveforms(some, self.rate), [one.said for one in some]) for part, some in parts.items()}, where
        )

    def _augment(self, length: int, part: str) -> Augment | None:
        if part != "train" or not (self.speed or self.shift or self.noise):
            return None
        return Augment(length, self.rate, speed=self.speed, shift=self.shift, noise=self.noise)


class WordSplit:
    """A split of waveforms with labels_N, int64; inputs are `size` samples."""

    def __init__(self, sounds: Sequence[Tensor], labels: Tensor, size: int, augment: Augment | None = None) -> None:
        self.sounds, self.labels, self.size, self.augment = sounds, labels, size, augment

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        waves = []
        for index in indices.tolist():
            x_T = self.sounds[index]
            if self.augment is not None:
                x_T = self.augment(x_T, index, epoch, seed)
            waves.append(window(x_T, self.size))
        return Batch(padded(waves, self.size), self.labels[indices])


def spectrograms(x_BT: Tensor, lengths_B: Tensor, *, rate: int) -> list[Tensor]:
    """A log-mel spectrogram of each waveform as a picture (1, M, F), low bands below, without what is after its end."""
    from labwright_speech.features import Spectra

    spectra = Spectra(rate, mels=64)
    frames_B = spectra.frames(lengths_B.cpu())
    raw_BMF = spectra.raw(x_BT.detach().float().cpu()).flip(1)
    return [one[None, :, :frames] for one, frames in zip(raw_BMF, frames_B.tolist(), strict=True)]
