"""The user's own recordings of words: a folder with a sub-folder for each class, or names that say what is what."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from labwright import LabwrightError
from pydantic import Field

from labwright_speech.data.augment import Noise, Shift, Speed
from labwright_speech.data.layout import laid_out, within
from labwright_speech.data.parts import By, HeldOut, Share, Speakers
from labwright_speech.data.recordings import Rows
from labwright_speech.data.sound import OnDamaged, Recording
from labwright_speech.data.stores import Store, composed, no_recordings, store
from labwright_speech.data.words import Words

_HASHED = re.compile(r"(?P<speaker>[^/]+)_nohash_\d+\.\w+$")  # SPEECHCOMMANDS' names


class RecordingFolder(Words):
    """Recordings of words, of any format libsndfile reads, in a folder or zip archive with a sub-folder for each class.

    Sub-folders or archives `train`, `valid` and `test` are taken as parts, also by other names they have (`training`,
    `validation`, `val`, `dev`, `testing`); so are the lists `validation_list.txt` and `testing_list.txt` of
    SPEECHCOMMANDS (Warden 2018), the names of whose files tell the speakers. Folders whose names begin with `_` or `.`
    are left out. Recordings are resampled to `rate`.

    Args:
        folder: folder or zip archive that the recordings lie in.
        pattern: regular expression that is looked for in each recording's path below the folder, with the groups
            `label` and, if you like, `speaker`. Left out, the sub-folder is the class.
    """

    source = "a folder of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        folder: Path,
        pattern: str | None = None,
        rate: Annotated[
            int, Field(ge=1000, le=192_000, description="samples per second that recordings are resampled to.")
        ] = 16_000,
        seconds: Annotated[float, Field(ge=0.05, le=60)] = 1.0,
        valid: Share = 0.1,
        test: Share = 0.1,
        by: By = "recording",
        valid_speakers: Speakers = (),
        test_speakers: Speakers = (),
        on_damaged: OnDamaged = "refuse",
        speed: Speed = 0.0,
        shift: Shift = 0.0,
        noise: Noise = 0.0,
    ) -> None:
        super().__init__()
        self.folder, self.pattern = folder, pattern
        self.rate, self.seconds, self.on_damaged = rate, seconds, on_damaged
        self.held_out = HeldOut(valid, test, by, valid_speakers, test_speakers, classes=True)
        self.independent = by == "recording" and not (valid_speakers or test_speakers)
        self.speed, self.shift, self.noise = speed, shift, noise

    def prepare(self) -> None:
        root = self.folder.expanduser()
        layout = laid_out(root, "task.data.folder", by_folder=self.pattern is None)
        recordings = [
            Recording(lie, name, *self._named(lie, name), part or layout.listed.get(name, ""))
            for part, lie, names in layout.parts
            for name in names
        ]
        if not recordings:
            raise no_recordings(root, layout.left_out)
        heard = self._listen(recordings, layout.left_out)
        self._read(self.held_out.split(list(heard), root), heard, root)
        self._remarks += layout.remarks

    def rows_at(self, path: Path, *, said: bool) -> Rows:
        """What lies in a folder or an archive, that of folders called as parts together."""
        whole = store(path, "--on")
        parts = within(whole, self.names) if said and self.pattern is None else [whole]
        recordings = [
            Recording(lie, name, *(self._named(lie, name) if said else ()))
            for lie in parts
            for name in lie.names
            if not any(folder.startswith("_") for folder in name.split("/"))
        ]
        if not recordings:
            raise no_recordings(path, whole.left_out)
        return Rows(recordings, left_out=list(whole.left_out))

    def _named(self, lie: Store, name: str) -> tuple[str, str]:
        """A recording's class and speaker."""
        if self.pattern is None:
            if "/" not in name:
                raise LabwrightError(
                    f"{lie.label(name)} is in no sub-folder: put the recordings of each class into one of its own, or "
                    "say by task.data.pattern how names tell the class, such as '(?P<label>\\d)_(?P<speaker>[a-z]+)_'."
                )
            hashed = _HASHED.search(name)
            return composed(name.split("/")[0]), hashed["speaker"] if hashed else ""
        try:
            match = re.search(self.pattern, composed(name))
        except re.error as error:
            raise LabwrightError(f"task.data.pattern: {self.pattern!r} is no regular expression: {error}.") from error
        groups = match.groupdict() if match else {}
        if not groups.get("label"):
            has = "has no group (?P<label>...)" if match else f"isn't found in {name!r}"
            raise LabwrightError(f"task.data.pattern: {self.pattern!r} {has}.")
        return groups["label"], groups.get("speaker") or ""
