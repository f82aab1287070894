"""Data with a text for each recording. N samples, B batch, T samples of sound, L symbols."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from labwright.data import Data
from labwright.errors import LabwrightError
from labwright.ports import Audio, Port
from torch import Tensor

from labwright_speech.data.augment import Augment
from labwright_speech.data.sound import SUFFIXES, Recording, Waveforms, padded, read_file
from labwright_speech.data.words import spectrograms
from labwright_speech.ports import Transcript
from labwright_speech.recognition import Utterances

Case = Literal["keep", "upper", "lower"]
_KEPT = "transcripts.json"


class Transcripts(Data):
    """Recordings at `rate` samples per second, each with a text; `prepare` of a subclass fills them in.

    The alphabet is `alphabet`, or the characters of the training texts if that is None.
    """

    item = Audio
    target = Transcript
    suffixes = SUFFIXES
    in_memory = False

    rate: int
    alphabet: str | None
    speed: float
    shift: float
    noise: float

    def __init__(self) -> None:
        self._port = Transcript(())
        self._longest = 0
        self._splits: dict[str, Spoken] = {}

    @abstractmethod
    def prepare(self) -> None: ...

    def ports(self) -> tuple[Port, Port]:
        return Audio(self.rate, self._longest), self._port

    def split(self, name: str) -> Spoken | None:
        return self._splits.get(name)

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return padded([read_file(path, self.rate)])

    def show(self, inputs: tuple[Tensor, ...]) -> list[str] | list[Tensor]:
        return list(spectrograms(*inputs, rate=self.rate))

    def save(self, folder: Path) -> None:
        port = self._port
        kept = {
            "alphabet": "".join(port.alphabet),
            "symbols": port.longest,
            "rate": self.rate,
            "samples": self._longest,
        }
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.rate, self._longest = kept["rate"], kept["samples"]
        self._port = Transcript(tuple(kept["alphabet"]), kept["symbols"])

    def _take(self, parts: Mapping[str, tuple[Sequence[Tensor], Sequence[Entry]]]) -> None:
        """Make the splits. Raises LabwrightError for a text with a character that isn't in the alphabet."""
        train = parts["train"][1]
        alphabet = tuple(self.alphabet or sorted({letter for one in train for letter in one.text}))
        for _, entries in parts.values():
            for one in entries:
                self._check(one, alphabet)
        densest = max(train, key=lambda one: _frames(one.text) / self._shortest(one.samples))
        rate = _frames(densest.text) / self._shortest(densest.samples)
        self._longest = max(one.samples for one in train)
        self._port = Transcript(alphabet, max(len(one.text) for one in train), rate, densest.label)
        number = {letter: place + 1 for place, letter in enumerate(alphabet)}
        self._splits = {
            part: Spoken(sounds, entries, number, self._augment(len(entries), part))
            for part, (sounds, entries) in parts.items()
        }

    def _read(self, parts: Mapping[str, Sequence[Recording]], case: Case) -> None:
        """Make the splits of recordings that lie somewhere; `said` is their text."""
        self._take(
            {
                part: (
                    Waveforms(some, self.rate),
                    [Entry(one.samples(self.rate), tidy(one.said, case), one.label, one.where) for one in some],
                )
                for part, some in parts.items()
            }
        )

    def _check(self, one: Entry, alphabet: Sequence[str]) -> None:
        for letter in one.text:
            if letter not in alphabet:
                given = f"{''.join(alphabet)!r}"
                origin = "task.data.alphabet" if self.alphabet else "the alphabet of the training transcripts"
                raise LabwrightError(
                    f"{one.where}: the transcript {one.text!r} has {letter!r}, which is not in {origin}, {given}. "
                    "Mend the transcript, give an alphabet that has it, or set task.data.case."
                )

    def _shortest(self, samples: int) -> float:
        """How many seconds augmentation may leave of a recording."""
        left = samples / (1 + self.speed)
        return (left - min(self.shift * self.rate, left / 4)) / self.rate

    def _augment(self, length: int, part: str) -> Augment | None:
        if part != "train" or not (self.speed or self.shift or self.noise):
            return None
        return Augment(length, self.rate, speed=self.speed, shift=self.shift, noise=self.noise)


@dataclass(frozen=True)
class Entry:
    """What is said in a recording: its length in samples, its text, its name, and where the text stands."""

    samples: int
    text: str
    label: str
    where: str


class Spoken:
    """A split of recordings with transcripts: lengths (N,) in samples, and all texts."""

    def __init__(
        self,
        sounds: Sequence[Tensor],
        entries: Sequence[Entry],
        number: Mapping[str, int],
        augment: Augment | None = None,
    ) -> None:
        self.sounds, self.number, self.augment = sounds, number, augment
        self.lengths = torch.tensor([one.samples for one in entries])
        self.texts = [one.text for one in entries]

    def __len__(self) -> int:
        return len(self.texts)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Utterances:
        waves, ids = [], []
        for index in indices.tolist():
            x_T = self.sounds[index]
            if self.augment is not None:
                x_T = self.augment(x_T, index, epoch, seed)
            waves.append(x_T)
            ids.append(torch.tensor([self.number[letter] for letter in self.texts[index]]))
        lengths_B = torch.tensor([len(one) for one in ids])
        ids_BL = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        return Utterances(padded(waves), ids_BL, lengths_B)


def tidy(text: str, case: Case) -> str:
    """A transcript with single spaces, in the case asked for."""
    text = " ".join(text.split())
    return {"keep": text, "upper": text.upper(), "lower": text.lower()}[case]


def _frames(text: str) -> int:
    """How many frames a text needs: one for each symbol, and a blank between two that are the same."""
    return len(text) + sum(before == after for before, after in pairwise(text))
