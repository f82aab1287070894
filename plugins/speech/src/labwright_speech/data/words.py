"""Data with one class for each recording. N samples, B batch, T samples of sound."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from labwright import Audio, Batch, Classes, LabwrightError, Port
from torch import Tensor

from labwright_speech.data.augment import Augment
from labwright_speech.data.recordings import Recordings, noticed
from labwright_speech.data.sound import Heard, Recording, Waveforms, padded, read_file, window

_KEPT = "words.json"


@dataclass(frozen=True)
class Clips:
    """The recordings of one part: waveforms, their lengths in samples, classes, and what tells them from others."""

    sounds: Sequence[Tensor]
    lengths: Sequence[int]
    said: Sequence[str]
    identities: Sequence[str]


class Words(Recordings):
    """Recordings of `seconds` at `rate` samples per second, each of one class; `prepare` of a subclass fills in both.

    A longer recording is cut to its middle, a shorter one has silence behind it.
    """

    target = Classes

    seconds: float

    def __init__(self) -> None:
        super().__init__()
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

    def save(self, folder: Path) -> None:
        kept = {"classes": self.names, "rate": self.rate, "seconds": self.seconds}
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.names, self.rate, self.seconds = tuple(kept["classes"]), kept["rate"], kept["seconds"]

    def _take(self, parts: Mapping[str, Clips], where: object) -> None:
        """Make the splits of waveforms and the names of their classes. Raises LabwrightError for classes that lack."""
        self.names = tuple(sorted(set(parts["train"].said)))
        for name in self.names:
            if not name.isprintable():
                raise LabwrightError(f"{where}: class {name!r} has a name that can't be shown; rename it.")
        if len(self.names) < 2:
            raise LabwrightError(f"{where} has one class only, {self.names[0]!r}: there is nothing to tell apart.")
        number = {name: label for label, name in enumerate(self.names)}
        for part, clips in parts.items():
            for name in clips.said:
                if name not in number:
                    raise LabwrightError(f"{where}: class {name!r} of {part} is not among the training recordings.")
        self._splits = {
            part: WordSplit(
                clips.sounds,
                torch.tensor([number[name] for name in clips.said]),
                self.size,
                clips.identities,
                self._augment(len(clips.said), part),
            )
            for part, clips in parts.items()
        }
        self._remarks = [*self._too_long(parts), *_alike(self.names)]

    def _read(self, parts: Mapping[str, Sequence[Recording]], heard: Mapping[Recording, Heard], where: object) -> None:
        """Make the splits of recordings that lie somewhere and have been listened to."""
        clips = {
            part: Clips(
                Waveforms(some, self.rate, heard),
                [heard[recording].samples for recording in some],
                [recording.said for recording in some],
                [recording.identity for recording in some],
            )
            for part, some in parts.items()
        }
        self._take(clips, where)
        self._remarks += noticed(parts, heard)
        speakers = sorted({recording.speaker for some in parts.values() for recording in some})
        if "" not in speakers:  # those of one speaker stay together where folds are made of them
            number = {speaker: place for place, speaker in enumerate(speakers)}
            for part, some in parts.items():
                self._splits[part].groups = torch.tensor([number[recording.speaker] for recording in some])

    def _too_long(self, parts: Mapping[str, Clips]) -> list[str]:
        lengths = [length for clips in parts.values() for length in clips.lengths]
        over = sum(length > self.size for length in lengths)
        if not over:
            return []
        return [
            f"{over:,} of {len(lengths):,} recordings are longer than task.data.seconds={self.seconds:g} and cut to "
            f"their middle; the longest has {max(lengths) / self.rate:.2f} seconds."
        ]


class WordSplit:
    """A split of waveforms with labels_N, int64; inputs are `size` samples.

    `groups` (N,) are the numbers of the speakers, where all of them are known.
    """

    groups: Tensor

    def __init__(
        self,
        sounds: Sequence[Tensor],
        labels: Tensor,
        size: int,
        identities: Sequence[str],
        augment: Augment | None = None,
    ) -> None:
        self.sounds, self.labels, self.size, self.augment = sounds, labels, size, augment
        self.identities = identities

    def __len__(self) -> int:
        return len(self.labels)

    def plain(self) -> WordSplit:
        """The same recordings, not augmented."""
        return WordSplit(self.sounds, self.labels, self.size, self.identities)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        waves = []
        for index in indices.tolist():
            x_T = self.sounds[index]
            if self.augment is not None:
                x_T = self.augment(x_T, index, epoch, seed)
            waves.append(window(x_T, self.size))
        return Batch(padded(waves, self.size), self.labels[indices])


def _alike(names: Sequence[str]) -> list[str]:
    """A sentence for each group of classes whose names differ in case and spaces only."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        same["".join(name.casefold().split())].append(name)
    groups = (" and ".join(map(repr, group)) for group in same.values() if len(group) > 1)
    return [f"{group} are different classes; give them one name if they mean the same." for group in groups]
