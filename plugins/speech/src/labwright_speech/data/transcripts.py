"""Data with a text for each recording. N samples, B batch, T samples of sound, L symbols."""

from __future__ import annotations

import json
import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

import torch
from labwright import Audio, Finding, LabwrightError, LeftOut, Port
from labwright_tasks import other_data
from labwright_tasks.other_data import Facts, drift, none_known
from torch import Tensor

from labwright_speech.data.augment import Augment
from labwright_speech.data.odd_recordings import odd_speed
from labwright_speech.data.recordings import Recordings, noticed
from labwright_speech.data.sound import Heard, Recording, Waveforms, padded, several
from labwright_speech.data.stores import no_recordings
from labwright_speech.ports import Transcript
from labwright_speech.recognition import Utterances

Case = Literal["keep", "upper", "lower"]
_KEPT = "transcripts.json"
_APOSTROPHES = dict.fromkeys(map(ord, "\u2019\u02bc\uff07"), "'")  # as they are printed; nobody hears which it is
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"), "")
_FASTEST = 25.0  # symbols per second: more than anybody says


class Transcripts(Recordings):
    """Recordings at `rate` samples per second, each with a text; `prepare` of a subclass fills them in.

    Args:
        alphabet: characters that transcripts may have, each a symbol to predict; left out: those of the training ones.
    """

    target = Transcript

    alphabet: str | None
    case: Case = "keep"

    def __init__(self) -> None:
        super().__init__()
        self._port = Transcript(())
        self._longest = 0
        self._splits: dict[str, Spoken] = {}

    @abstractmethod
    def prepare(self) -> None: ...

    def ports(self) -> tuple[Port, Port]:
        return Audio(self.rate, self._longest), self._port

    def split(self, name: str) -> Spoken | None:
        return self._splits.get(name)

    def on(self, path: Path) -> Self:
        """Recordings and transcripts as the run's, all together; what has letters it doesn't know is left out."""
        other, rows = copy(self), self.rows_at(path, said=True)
        letters, kept = set(self._port.alphabet), self.alphabet or ""
        spelled = {recording.said: tidy(recording.said, self.case, kept) for recording in rows.recordings}
        known = [recording for recording in rows.recordings if letters.issuperset(spelled[recording.said])]
        lacking = Counter(
            letter for row in rows.recordings for letter in sorted(set(spelled[row.said]) - letters)
        )  # how many transcripts have each
        if rows.recordings and not known:
            raise none_known(path, lacking, letters, "text in letters")
        heard = other._listen(
            known, [*_strange(len(rows.recordings) - len(known), lacking), *rows.left_out], rows.faults
        )
        if not heard:
            raise no_recordings(path, other._left_out)
        entries = self._entries(heard, spelled)
        split = Spoken(Waveforms(list(heard), self.rate, heard), entries, self._numbers())
        other._splits = {"test": split}
        other._remarks = [
            *rows.remarks,
            *self._too_dense("it", entries),
            *noticed({"test": list(heard)}, heard),
            *drift(self._facts_of(split), self.facts, len(split)),
        ]
        return other

    def checks(self) -> list[Finding]:
        """What is odd about the recordings, and transcripts that hardly are of theirs."""
        parts = {name: part.texts for name, part in self._splits.items()}
        letters = {(name, index): len(text) for name, texts in parts.items() for index, text in enumerate(texts)}
        return [*super().checks(), *odd_speed(letters, self._seconds())]

    def arguments(self, x_T: Tensor) -> tuple[Tensor, ...]:
        return padded([x_T])

    def save(self, folder: Path) -> None:
        port = self._port
        kept = {
            "alphabet": "".join(port.alphabet),
            "symbols": port.longest,
            "rate": self.rate,
            "samples": self._longest,
        }
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.rate, self._longest = kept["rate"], kept["samples"]
        self._port = Transcript(tuple(kept["alphabet"]), kept["symbols"])
        self.facts = other_data.kept(folder)

    def _take(self, parts: Mapping[str, tuple[Sequence[Tensor], Sequence[Entry]]]) -> None:
        """Make the splits. Raises LabwrightError for texts with characters that aren't in the alphabet."""
        train = parts["train"][1]
        given = unicodedata.normalize("NFC", self.alphabet) if self.alphabet else None
        alphabet = tuple(dict.fromkeys(given or sorted({letter for entry in train for letter in entry.text})))
        self._check([entry for _, entries in parts.values() for entry in entries], alphabet)
        densest = max(train, key=lambda entry: _frames(entry.text) / self._shortest(entry.samples))
        rate = _frames(densest.text) / self._shortest(densest.samples)
        self._longest = max(entry.samples for entry in train)
        self._port = Transcript(alphabet, max(len(entry.text) for entry in train), rate, densest.label)
        self._splits = {
            part: Spoken(sounds, entries, self._numbers(), self._augment(len(entries), part))
            for part, (sounds, entries) in parts.items()
        }
        self.facts = self._facts_of(self._splits["train"])
        held_out = {part: entries for part, (_, entries) in parts.items() if part != "train"}
        self._remarks = [text for part, entries in held_out.items() for text in self._too_dense(part, entries)]

    def _read(self, parts: Mapping[str, Sequence[Recording]], heard: Mapping[Recording, Heard], case: Case) -> None:
        """Make the splits of recordings that lie somewhere and have been listened to; `said` is their text."""
        kept = self.alphabet or ""
        spelled = {recording.said: tidy(recording.said, case, kept) for some in parts.values() for recording in some}
        taken = {part: self._entries({r: heard[r] for r in some}, spelled) for part, some in parts.items()}
        self._take({part: (Waveforms(some, self.rate, heard), taken[part]) for part, some in parts.items()})
        self._remarks += noticed(parts, heard)
        signs = [
            recording
            for some in parts.values()
            for recording in some
            if _spelled(recording.said, kept) != unicodedata.normalize("NFC", recording.said)
        ]
        if signs:
            self._remarks.append(
                f"{len(signs):,} transcripts are read with ' for a printed apostrophe, without invisible characters: "
                f"{several([recording.where or recording.label for recording in signs])}."
            )

    def _entries(self, heard: Mapping[Recording, Heard], spelled: Mapping[str, str]) -> list[Entry]:
        return [Entry(one.samples, spelled[r.said], r.label, r.where, r.identity) for r, one in heard.items()]

    def _numbers(self) -> dict[str, int]:
        """The class of each letter; 0 is the blank."""
        return {letter: place + 1 for place, letter in enumerate(self._port.alphabet)}

    def _facts_of(self, split: Spoken) -> Facts:
        """What recordings and their transcripts are like."""
        letters_N = torch.tensor([len(text) for text in split.texts])
        like = self.sounds_like(split.sounds, split.lengths.tolist())
        return other_data.facts({**like, "letters said in a second": letters_N * self.rate / split.lengths})

    def _check(self, entries: Sequence[Entry], alphabet: Sequence[str]) -> None:
        """Raises LabwrightError if transcripts have letters that aren't in the alphabet."""
        known = set(alphabet)
        strange = Counter(letter for entry in entries for letter in set(entry.text) - known)
        if not strange:
            return
        first = next(entry for entry in entries if not known.issuperset(entry.text))
        letter = next(letter for letter in first.text if letter not in known)
        letters = ", ".join(f"{letter!r} in {count:,}" for letter, count in strange.most_common(12))
        origin = "task.data.alphabet" if self.alphabet else "the alphabet of the training transcripts"
        whole = "".join(sorted(known | set(strange)))
        raise LabwrightError(
            f"{first.where}: the transcript {first.text!r} has {letter!r}, which is not in {origin}, "
            f"{''.join(alphabet)!r}. Of {len(entries):,} transcripts, these have letters it lacks: {letters}. "
            f"Mend them, give an alphabet that has them, task.data.alphabet={whole!r}, or set task.data.case."
        )

    def _too_dense(self, part: str, entries: Sequence[Entry]) -> list[str]:
        """A sentence, if there are held-out transcripts that nobody can say in the time."""
        seconds = [entry.samples / self.rate for entry in entries]
        dense = [
            (entry, time) for entry, time in zip(entries, seconds, strict=True) if _frames(entry.text) > _FASTEST * time
        ]
        if not dense:
            return []
        one, time = max(dense, key=lambda pair: _frames(pair[0].text) / pair[1])
        return [
            f"{len(dense):,} of {len(entries):,} transcripts of {part} have over {_FASTEST:g} symbols a second "
            f"and can't be written down whole, such as {one.label}: {len(one.text):,} in {time:.2f} seconds. See "
            "whether the two belong together."
        ]

    def _shortest(self, samples: int) -> float:
        """How many seconds augmentation may leave of a recording."""
        left = samples / (1 + self.speed)
        return (left - min(self.shift * self.rate, left / 4)) / self.rate


@dataclass(frozen=True)
class Entry:
    """What is said in a recording: its length in samples, its text, its name, and where the text stands."""

    samples: int
    text: str
    label: str
    where: str
    identity: str


class Spoken:
    """A split of recordings with transcripts: lengths (N,) in samples, and all texts."""

    def __init__(
        self,
        sounds: Sequence[Tensor],
        entries: Sequence[Entry],
        number: Mapping[str, int],
        augment: Augment | None = None,
    ) -> None:
        self.sounds, self.entries, self.number, self.augment = sounds, entries, number, augment
        self.lengths = torch.tensor([entry.samples for entry in entries])
        self.texts = [entry.text for entry in entries]
        self.identities = [entry.identity for entry in entries]

    def __len__(self) -> int:
        return len(self.texts)

    def plain(self) -> Spoken:
        """The same recordings, not augmented."""
        return Spoken(self.sounds, self.entries, self.number)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Utterances:
        waves, ids = [], []
        for index in indices.tolist():
            x_T = self.sounds[index]
            if self.augment is not None:
                x_T = self.augment(x_T, index, epoch, seed)
            waves.append(x_T)
            ids.append(torch.tensor([self.number[letter] for letter in self.texts[index]]))
        lengths_B = torch.tensor([len(ids_L) for ids_L in ids])
        ids_BL = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        return Utterances(padded(waves), ids_BL, lengths_B)


def _strange(count: int, lacking: Mapping[str, int]) -> list[LeftOut]:
    """What is left out for its letters; `lacking` has how many transcripts have each."""
    letters = ", ".join(f"{letter!r} in {of:,}" for letter, of in list(lacking.items())[:12])
    what = "transcript" if count == 1 else "transcripts"
    return [LeftOut(count, what, f"with letters that the run doesn't know: {letters}")] if count else []


def tidy(text: str, case: Case, kept: str = "") -> str:
    """A transcript in composed Unicode with single spaces, in the case asked for.

    A printed apostrophe becomes that of a keyboard, and characters that nobody sees go, but for those in `kept`.
    """
    text = " ".join(_spelled(text, kept).split())
    return {"keep": text, "upper": text.upper(), "lower": text.lower()}[case]


def _spelled(text: str, kept: str) -> str:
    changed = {letter: to for letter, to in (_APOSTROPHES | _UNSEEN).items() if chr(letter) not in kept}
    return unicodedata.normalize("NFC", text).translate(changed)


def _frames(text: str) -> int:
    """How many frames a text needs: one for each symbol, and a blank between two that are the same."""
    return len(text) + sum(before == after for before, after in pairwise(text))
