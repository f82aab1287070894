"""Data with one class for each recording. N samples, B batch, T samples of sound."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from labwright import Audio, Batch, Classes, LabwrightError, Port
from labwright_tasks import other_data
from labwright_tasks.other_data import drift, none_known, unknown
from labwright_tasks.weights import weighed
from torch import Tensor

from labwright_speech.data.augment import Augment
from labwright_speech.data.recordings import Recordings, noticed
from labwright_speech.data.sound import Heard, Recording, Waveforms, padded, window
from labwright_speech.data.stores import no_recordings

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

    Args:
        seconds: length of an input: a longer recording is cut to its middle, a shorter one has silence behind it.
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

    def on(self, path: Path) -> Self:
        """Recordings as those of the run, all together."""
        other, rows = copy(self), self.rows_at(path, said=True)
        known = [recording for recording in rows.recordings if recording.said in self.names]
        if rows.recordings and not known:
            raise none_known(path, [recording.said for recording in rows.recordings], self.names)
        strange = unknown((row.said for row in rows.recordings if row.said not in self.names), "recordings")
        heard = other._listen(known, [*strange, *rows.left_out], rows.faults)
        if not heard:
            raise no_recordings(path, other._left_out)
        parts = {"test": list(heard)}
        clips = self._clips(parts["test"], heard)
        split = self._split(clips, None)
        other._splits = {"test": split}
        new = other_data.facts(self.sounds_like(clips.sounds, clips.lengths), split.labels, self.names)
        other._remarks = [
            *rows.remarks,
            *self._too_long({"test": clips}),
            *noticed(parts, heard),
            *drift(new, self.facts, len(split)),
        ]
        return other

    def arguments(self, x_T: Tensor) -> tuple[Tensor, ...]:
        return padded([window(x_T, self.size)], self.size)

    def save(self, folder: Path) -> None:
        kept = {"classes": self.names, "rate": self.rate, "seconds": self.seconds}
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.names, self.rate, self.seconds = tuple(kept["classes"]), kept["rate"], kept["seconds"]
        self.facts = other_data.kept(folder)

    def _take(self, parts: Mapping[str, Clips], where: object) -> None:
        """Make the splits of waveforms and the names of their classes. Raises LabwrightError for classes that lack."""
        self.names = tuple(sorted(set(parts["train"].said)))
        for name in self.names:
            if not name.isprintable():
                raise LabwrightError(f"{where}: class {name!r} has a name that can't be shown; rename it.")
        if len(self.names) < 2:
            raise LabwrightError(f"{where} has one class only, {self.names[0]!r}: there is nothing to tell apart.")
        for part, clips in parts.items():
            for name in clips.said:
                if name not in self.names:
                    raise LabwrightError(f"{where}: class {name!r} of {part} is not among the training recordings.")
        self._splits = {part: self._split(clips, self._augment(len(clips.said), part)) for part, clips in parts.items()}
        self._remarks = [*self._too_long(parts), *_alike(self.names)]
        train = parts["train"]
        self.facts = other_data.facts(
            self.sounds_like(train.sounds, train.lengths), self._splits["train"].labels, self.names
        )

    def _split(self, clips: Clips, augment: Augment | None) -> WordSplit:
        number = {name: label for label, name in enumerate(self.names)}
        labels_N = torch.tensor([number[name] for name in clips.said])
        return WordSplit(clips.sounds, labels_N, self.size, clips.identities, augment)

    def _read(self, parts: Mapping[str, Sequence[Recording]], heard: Mapping[Recording, Heard], where: object) -> None:
        """Make the splits of recordings that lie somewhere and have been listened to."""
        self._take({part: self._clips(some, heard) for part, some in parts.items()}, where)
        self._remarks += noticed(parts, heard)
        for part, some in parts.items():
            weights = [recording.weight for recording in some if recording.weight is not None]
            self._splits[part].weights = torch.tensor(weights) if weights else None
        speakers = sorted({recording.speaker for some in parts.values() for recording in some})
        if "" not in speakers:  # those of one speaker stay together where folds are made of them
            number = {speaker: place for place, speaker in enumerate(speakers)}
            for part, some in parts.items():
                self._splits[part].groups = torch.tensor([number[recording.speaker] for recording in some])

    def _clips(self, recordings: Sequence[Recording], heard: Mapping[Recording, Heard]) -> Clips:
        return Clips(
            Waveforms(recordings, self.rate, heard),
            [heard[recording].samples for recording in recordings],
            [recording.said for recording in recordings],
            [recording.identity for recording in recordings],
        )

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

    weights: Tensor | None = None  # (N,)
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
        plain = WordSplit(self.sounds, self.labels, self.size, self.identities)
        plain.weights = self.weights
        return plain

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        waves = []
        for index in indices.tolist():
            x_T = self.sounds[index]
            if self.augment is not None:
                x_T = self.augment(x_T, index, epoch, seed)
            waves.append(window(x_T, self.size))
        return weighed(Batch(padded(waves, self.size), self.labels[indices]), self.weights, indices)


def _alike(names: Sequence[str]) -> list[str]:
    """A sentence for each group of classes whose names differ in case and spaces only."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        same["".join(name.casefold().split())].append(name)
    groups = (" and ".join(map(repr, group)) for group in same.values() if len(group) > 1)
    return [f"{group} are different classes; give them one name if they mean the same." for group in groups]
