"""YESNO: one person saying yes and no in Hebrew, eight words in each recording."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from labwright import LabwrightError
from pydantic import Field

from labwright_speech.data.augment import Noise, Shift, Speed
from labwright_speech.data.parts import HeldOut, Share
from labwright_speech.data.recordings import Rows
from labwright_speech.data.sound import OnDamaged, Recording
from labwright_speech.data.stores import Store, no_recordings, store
from labwright_speech.data.transcripts import Transcripts

_WORDS = {"0": "NO", "1": "YES"}
_NAME = re.compile(r"(?:^|/)([01](?:_[01])*)\.\w+$")


class YesNo(Transcripts):
    """The 60 recordings of YESNO in a folder or zip archive, whose names are their words: 0_1_0_0_1_0_1_1.wav.

    The transcripts are words NO and YES.

    Args:
        folder: folder or zip archive that the recordings lie in.
    """

    source = "openslr.org/1"
    licence = "public domain"

    def __init__(
        self,
        *,
        folder: Path,
        rate: Annotated[
            int, Field(ge=1000, le=192_000, description="samples per second that recordings are resampled to.")
        ] = 8000,
        valid: Share = 0.1,
        test: Share = 0.2,
        on_damaged: OnDamaged = "refuse",
        speed: Speed = 0.0,
        shift: Shift = 0.0,
        noise: Noise = 0.0,
    ) -> None:
        super().__init__()
        self.folder, self.rate, self.alphabet, self.on_damaged = folder, rate, None, on_damaged
        self.held_out = HeldOut(valid, test, "recording", (), (), classes=False)
        self.speed, self.shift, self.noise = speed, shift, noise

    def prepare(self) -> None:
        root = self.folder.expanduser()
        lie = store(root, "task.data.folder")
        recordings = list(self._recordings(lie))
        if not recordings:
            raise no_recordings(root, lie.left_out)
        heard = self._listen(recordings, lie.left_out)
        self._read(self.held_out.split(list(heard), root), heard, "keep")

    def rows_at(self, path: Path, *, said: bool) -> Rows:  # noqa: ARG002 - the names say it anyway
        lie = store(path, "--on")
        return Rows(list(self._recordings(lie)), left_out=list(lie.left_out))

    @staticmethod
    def _recordings(lie: Store) -> Iterator[Recording]:
        for name in lie.names:
            match = _NAME.search(name)
            if match is None:
                raise LabwrightError(f"{lie.label(name)}: a name in YESNO is its words, such as 0_1_0_0_1_0_1_1.wav.")
            yield Recording(lie, name, " ".join(_WORDS[digit] for digit in match[1].split("_")), where=lie.label(name))
