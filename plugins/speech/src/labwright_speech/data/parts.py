"""Which recordings are for learning and which are held out."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from labwright import LabwrightError, listed, nearest
from pydantic import Field

from labwright_speech.data.sound import Recording

PARTS = ("train", "valid", "test")
Share = Annotated[
    float,
    Field(
        ge=0, lt=1, description="share of what there is to learn from, held out where there is no such part; 0: none."
    ),
]
By = Annotated[
    Literal["recording", "speaker"],
    Field(description="what shares are held out of: recordings, or speakers, each of whom is then in one part only."),
]
Speakers = Annotated[
    tuple[str, ...], Field(description="speakers that this part is made of, out of all recordings there are.")
]


@dataclass(frozen=True)
class HeldOut:
    """What is held out: shares of recordings or of speakers, or the speakers named.

    Where the data itself says what is for testing and for validation, that is taken; a share is held out of the rest
    for a part that it lacks. `valid_speakers` and `test_speakers` pool everything and hold out those speakers; of the
    rest a share is the part whose speakers aren't named.
    """

    valid: float
    test: float
    by: By
    valid_speakers: tuple[str, ...]
    test_speakers: tuple[str, ...]
    classes: bool  # whether each class is held out in proportion

    def split(self, recordings: Sequence[Recording], where: object) -> dict[str, list[Recording]]:
        """The recordings of each part, in their order; parts without any are left out.

        Raises LabwrightError for a speaker that isn't there, and if nothing is left to learn from.
        """
        named = {"valid": self.valid_speakers, "test": self.test_speakers}
        if (self.by == "speaker" or any(named.values())) and not all(recording.speaker for recording in recordings):
            raise LabwrightError(
                f"{where}: to hold out speakers, they must be known: name them by a group (?P<speaker>...) of "
                "task.data.pattern, or a column of the manifest."
            )
        speakers = {recording.speaker for recording in recordings}
        for part, names in named.items():
            for name in names:
                if name not in speakers:
                    raise LabwrightError(
                        f"task.data.{part}_speakers: nobody is called {name!r}{nearest(name, speakers)} "
                        f"Speakers are {listed(speakers)}."
                    )
        lacking: tuple[str, ...]
        if any(named.values()):
            of = {name: part for part, names in named.items() for name in names}
            parts = _grouped(recordings, [of.get(recording.speaker, "train") for recording in recordings])
            lacking = tuple(part for part in ("test", "valid") if not named[part])
        else:
            parts = _grouped(recordings, [recording.part or "train" for recording in recordings])
            lacking = tuple(part for part in ("test", "valid") if part not in parts)
        left = 1.0
        for part in lacking:
            share, rest = getattr(self, part), parts.get("train", [])
            if share and rest:
                taken = self._taken(rest, share / left, part, where)
                parts[part] = [recording for recording in rest if recording in taken]
                parts["train"] = [recording for recording in rest if recording not in taken]
                left -= share
        if not parts.get("train"):
            raise LabwrightError(f"{where}: no recording is left to learn from; valid and test took all.")
        return parts

    def _taken(self, rest: Sequence[Recording], share: float, part: str, where: object) -> set[Recording]:
        """A share of the recordings: of each class, or of the speakers, by a number made of their names."""
        if self.by == "speaker":
            names = sorted({recording.speaker for recording in rest}, key=_number)
            chosen = set(names[: max(1, round(share * len(names)))]) if len(names) > 1 else set()
            taken = {recording for recording in rest if recording.speaker in chosen}
        else:
            classes: defaultdict[str, list[str]] = defaultdict(list)  # of each the files, whose stretches stay together
            for name, said in {recording.name: recording.said for recording in reversed(rest)}.items():
                classes[said if self.classes else ""].append(name)
            files = set()
            for names in classes.values():
                files |= set(sorted(names, key=_number)[: round(share * len(names))])
            taken = {recording for recording in rest if recording.name in files}
        if not taken:
            raise LabwrightError(
                f"{where} has so few {self.by}s that {getattr(self, part)} of them is none: raise task.data.{part}, or "
                "set it to 0."
            )
        return taken


def _grouped(recordings: Sequence[Recording], parts: Sequence[str]) -> dict[str, list[Recording]]:
    grouped: dict[str, list[Recording]] = {}
    for part, recording in zip(parts, recordings, strict=True):
        grouped.setdefault(part, []).append(recording)
    return grouped


def _number(name: str) -> int:
    """A number made of a name, so that new recordings move few old ones."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8])
