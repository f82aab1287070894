"""The user's own recordings of words: a folder with a sub-folder for each class, or names that say what is what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from labwright.errors import LabwrightError
from pydantic import Field

from labwright_speech.data.augment import Noise, Shift, Speed
from labwright_speech.data.parts import By, HeldOut, Share
from labwright_speech.data.sound import Recording, Store, no_recordings, store
from labwright_speech.data.words import Words

_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "dev": "valid", "test": "test"}
_LISTS = {"validation_list.txt": "valid", "testing_list.txt": "test"}  # of SPEECHCOMMANDS
_HASHED = re.compile(r"(?P<speaker>[^/]+)_nohash_\d+\.\w+$")  # SPEECHCOMMANDS' names


class RecordingFolder(Words):
    """Recordings (wav, flac, ogg, mp3) of words, in a folder or zip archive with a sub-folder for each class.

    Or, with `pattern`, a regular expression with the groups `label` and, if you like, `speaker` that is looked for in
    each recording's path below the folder. Sub-folders or archives `train`, `valid` and `test` are taken as parts; so
    are the lists `validation_list.txt` and `testing_list.txt` of SPEECHCOMMANDS (Warden 2018). For a part that isn't
    there a share is held out, of recordings or of speakers as `by` says; `valid_speakers` and `test_speakers` hold out
    those speakers of everything there is. Folders whose names begin with `_` or `.` are left out.

    Recordings are resampled to `rate`, and cut or filled up to `seconds`; `speed`, `shift` and `noise` augment the
    training ones.
    """

    source = "a folder of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        folder: Path,
        pattern: str | None = None,
        rate: Annotated[int, Field(ge=1000, le=192_000, description="samples per second")] = 16_000,
        seconds: Annotated[float, Field(ge=0.05, le=60)] = 1.0,
        valid: Share = 0.1,
        test: Share = 0.1,
        by: By = "recording",
        valid_speakers: tuple[str, ...] = (),
        test_speakers: tuple[str, ...] = (),
        speed: Speed = 0.0,
        shift: Shift = 0.0,
        noise: Noise = 0.0,
    ) -> None:
        super().__init__()
        self.folder, self.pattern = folder, pattern
        self.rate, self.seconds = rate, seconds
        self.held_out = HeldOut(valid, test, by, valid_speakers, test_speakers, classes=True)
        self.speed, self.shift, self.noise = speed, shift, noise

    def prepare(self) -> None:
        root = self.folder.expanduser()
        if not root.exists():
            raise LabwrightError(f"task.data.folder: there is no folder or archive {str(root)!r}.")
        recordings = [one for part, some in _stores(root) for one in self._found(some, part)]
        if not recordings:
            raise no_recordings(root)
        for one in recordings:
            one.samples(self.rate)  # now, rather than in the middle of an epoch
        self._read(self.held_out.split(recordings, root), root)

    def _found(self, some: Store, part: str) -> Iterator[Recording]:
        names = [name for name in some.names() if not re.search(r"(^|/)[_.]", name)]
        listed = {} if part else _listed(self.folder.expanduser())
        for name in names:
            said, speaker = self._named(some, name)
            yield Recording(some, name, said, speaker, part or listed.get(name, "train" if listed else ""))

    def _named(self, some: Store, name: str) -> tuple[str, str]:
        """A recording's class and speaker."""
        if self.pattern is None:
            label = name.split("/")[-2] if "/" in name else ""
            if not label:
                raise LabwrightError(
                    f"{some.label(name)} is in no sub-folder: put the recordings of each class into one of its own, or "
                    "say by task.data.pattern how names tell the class, such as '(?P<label>\\d)_(?P<speaker>[a-z]+)_'."
                )
            hashed = _HASHED.search(name)
            return label, hashed["speaker"] if hashed else ""
        try:
            match = re.search(self.pattern, name)
        except re.error as error:
            raise LabwrightError(f"task.data.pattern: {self.pattern!r} is no regular expression: {error}.") from error
        groups = match.groupdict() if match else {}
        if not groups.get("label"):
            has = "has no group (?P<label>...)" if match else f"isn't found in {name!r}"
            raise LabwrightError(f"task.data.pattern: {self.pattern!r} {has}.")
        return groups["label"], groups.get("speaker") or ""


def _stores(root: Path) -> Iterator[tuple[str, Store]]:
    """The parts that the data itself has, or everything as one of no name."""
    if root.is_dir():
        own = {_FOLDERS[one.stem]: one for one in sorted(root.iterdir()) if one.stem in _FOLDERS and _holds(one)}
        if "train" in own:
            yield from ((part, store(one)) for part, one in own.items())
            return
    yield "", store(root)


def _holds(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".zip"


def _listed(root: Path) -> dict[str, str]:
    """The parts of the recordings in SPEECHCOMMANDS' lists."""
    files = {part: root / name for name, part in _LISTS.items() if (root / name).is_file()}
    return {line.strip(): part for part, file in files.items() for line in file.read_text("utf-8").splitlines()}
