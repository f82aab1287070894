"""Recordings that a table lists."""

from __future__ import annotations

import math
import os
import posixpath
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from labwright import LeftOut, listed, nearest
from labwright_tasks.delimited import Columns, Delimiter, Encoding, Quote, Written
from labwright_tasks.parts import part_named
from labwright_tasks.published import part_of
from labwright_tasks.sample_columns import Weight, about_weights, samples_of
from labwright_tasks.tables import Table, read_table
from pydantic import Field

from labwright_speech.data.augment import Noise, Shift, Speed
from labwright_speech.data.parts import By, HeldOut, Share, Speakers
from labwright_speech.data.recordings import Rows
from labwright_speech.data.sound import OnDamaged, Recording
from labwright_speech.data.stores import Store, composed, no_recordings, store
from labwright_speech.data.transcripts import Case, Transcripts
from labwright_speech.data.words import Words

_STRETCHES = ("offset", "duration")
# Columns that may say where a recording begins or ends, under names that nobody has set.
_OTHERS = ("start", "start_time", "begin", "end", "end_time")

# The settings that both have, as they stand in a constructor.
Listing = Annotated[Path, Field(description="table with a row for each recording, such as CSV, JSON lines or Parquet.")]
Lying = Annotated[Path, Field(description="folder or zip archive of the recordings; left out: the manifest's folder.")]
Column = Annotated[str, Field(min_length=1)]
PathColumn = Annotated[
    Column, Field(description="column of the recordings' paths below `audio`, with or without the files' endings.")
]
SpeakerColumn = Annotated[Column, Field(description="column of speakers; left out, they aren't known.")]
SplitColumn = Annotated[
    Column,
    Field(description="column of parts: train, valid, test; left out, or for a part it lacks, shares are held out."),
]
Offset = Annotated[
    str | None,
    Field(
        description='column of where a row\'s stretch begins in its file, in seconds; left out: "offset" if there is '
        'one; "": the beginning.'
    ),
]
Duration = Annotated[
    str | None,
    Field(
        description='column of how long a row\'s stretch is, in seconds; left out: "duration" if there is one; "": up '
        "to the file's end."
    ),
]
Rate = Annotated[int, Field(ge=1000, le=192_000, description="samples per second that recordings are resampled to.")]


class ManifestTranscripts(Transcripts):
    """Recordings and their transcripts in a manifest: a table as it is published, a row for each.

    A row is of the stretch of its file that begins after `offset` seconds and has `duration` seconds. `delimiter`,
    `columns`, `quote` and `encoding` say how the manifest is written where it isn't plain from it: LJ Speech's
    metadata.csv has `delimiter = "|"`, `quote = "none"`. Texts are taken with single spaces, and ' for a printed
    apostrophe that isn't in `alphabet`.

    Args:
        text: column of transcripts.
        case: what transcripts are written in: as they are, in capital or in small letters.
    """

    source = "a manifest of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        manifest: Listing,
        audio: Lying | None = None,
        path: PathColumn = "path",
        text: Column = "text",
        speaker: SpeakerColumn | None = None,
        split: SplitColumn | None = None,
        offset: Offset = None,
        duration: Duration = None,
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: Encoding | None = None,
        rate: Rate = 16_000,
        alphabet: Annotated[str, Field(min_length=1)] | None = None,
        case: Case = "keep",
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
        form = Written(delimiter, columns, quote, encoding)
        self.manifest = Manifest(manifest, audio, path, "text", text, speaker, split, offset, duration, form)
        self.rate, self.alphabet, self.case, self.on_damaged = rate, alphabet, case, on_damaged
        self.held_out = HeldOut(valid, test, by, valid_speakers, test_speakers, classes=False)
        self.independent = by == "recording" and not (valid_speakers or test_speakers)
        self.speed, self.shift, self.noise = speed, shift, noise

    def rows_at(self, path: Path, *, said: bool) -> Rows:
        return self.manifest.at(path, said=said)

    def prepare(self) -> None:
        rows = self.manifest.read()
        heard = self._listen(rows.recordings, rows.left_out, rows.faults)
        self._read(self.held_out.split(list(heard), self.manifest.file), heard, self.case)
        self._remarks += rows.remarks


class ManifestWords(Words):
    """Recordings and their classes, listed in a manifest that is read as that of speech/manifest.

    Metrics count each recording alike, whatever its `weight`.

    Args:
        label: column of classes.
    """

    source = "a manifest of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        manifest: Listing,
        audio: Lying | None = None,
        path: PathColumn = "path",
        label: Column = "label",
        speaker: SpeakerColumn | None = None,
        split: SplitColumn | None = None,
        weight: Weight = None,
        offset: Offset = None,
        duration: Duration = None,
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: Encoding | None = None,
        rate: Rate = 16_000,
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
        form = Written(delimiter, columns, quote, encoding)
        self.manifest = Manifest(manifest, audio, path, "label", label, speaker, split, offset, duration, form, weight)
        self.rate, self.seconds, self.on_damaged = rate, seconds, on_damaged
        self.held_out = HeldOut(valid, test, by, valid_speakers, test_speakers, classes=True)
        self.independent = by == "recording" and not (valid_speakers or test_speakers)
        self.speed, self.shift, self.noise = speed, shift, noise

    def rows_at(self, path: Path, *, said: bool) -> Rows:
        return self.manifest.at(path, said=said)

    def prepare(self) -> None:
        rows = self.manifest.read()
        heard = self._listen(rows.recordings, rows.left_out, rows.faults)
        self._read(self.held_out.split(list(heard), self.manifest.file), heard, self.manifest.file)
        self._remarks += rows.remarks


@dataclass(frozen=True)
class Manifest:
    """A manifest: its file, where the recordings lie, and the names of its columns.

    `setting` is the setting that says in which column stands what is said, `said`.
    """

    path: Path
    audio: Path | None
    name: str
    setting: str
    said: str
    speaker: str | None
    split: str | None
    offset: str | None
    duration: str | None
    written: Written
    weight: str | None = None

    @property
    def file(self) -> Path:
        return self.path.expanduser()

    def at(self, path: Path, *, said: bool) -> Rows:
        """The recordings of all rows of another manifest, whatever part they are of."""
        return replace(self, path=path, speaker=None, split="", weight=None).read(said=said)

    def read(self, *, said: bool = True) -> Rows:
        """The recordings of all rows, with what is `said` in them or without.

        Raises LabwrightError naming the row or column that can't be used.
        """
        rows = Rows()
        root = (self.audio or self.file.parent).expanduser()
        needed = ("path", self.setting) if said else ("path",)
        table, rows.left_out = self._table(needed).filled(*needed)
        lie = store(root, "task.data.audio")
        if not lie.names:
            raise no_recordings(root, lie.left_out)
        names = _Names(lie, root)
        texts: Sequence[str] = [""] * len(table)
        if said:
            texts = table.names("label") if self.setting == "label" else table[self.setting]
        speakers = table.names("speaker") if "speaker" in table else [""] * len(table)
        weights: Sequence[float | None] = [None] * len(table)
        if self.weight is not None:
            weights_N = samples_of({"": table}, {"weight": "weight"})[""]["weights"]
            weights = weights_N.tolist()
            rows.remarks.append(about_weights(weights_N, self.weight))
        used = set()
        for row, path in enumerate(table["path"]):
            where = table.where(row)
            part = part_of(table["split"][row], str(self.split), where) if "split" in table else ""
            try:
                name = names.find(path)
                start, seconds = (self._seconds(table, setting, row) for setting in _STRETCHES)
            except _Fault as fault:
                rows.faults.append(f"{where}: {fault}")
                continue
            used.add(name)
            rows.recordings.append(
                Recording(lie, name, texts[row], speakers[row], part, where, start or 0.0, seconds, weights[row])
            )
        rows.remarks += table.remarks
        self._notice(rows, table, len(lie.names) - len(used))
        return rows

    def _table(self, needed: Sequence[str]) -> Table:
        columns = {setting: {"path": self.name, self.setting: self.said}[setting] for setting in needed}
        named = {"speaker": self.speaker, "split": self.split, "offset": self.offset, "duration": self.duration}
        columns |= {setting: column for setting, column in named.items() if column}
        columns |= {"weight": self.weight} if self.weight else {}
        optional = {setting: setting for setting in _STRETCHES if named[setting] is None}
        optional |= {f"unused {name}": name for name in (*_OTHERS, "split") if name not in columns.values()}
        return read_table(self.file, columns, optional=optional, written=self.written, setting="task.data.manifest")

    def _seconds(self, table: Table, setting: str, row: int) -> float | None:
        cell = table[setting][row].strip() if setting in table else ""
        if not cell:
            return None
        try:
            seconds = float(cell)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise _Fault(f"task.data.{setting}: {cell!r} is no number of seconds")
        return seconds

    def _notice(self, rows: Rows, table: Table, unlisted: int) -> None:
        if unlisted:
            what = "recording" if unlisted == 1 else "recordings"
            rows.left_out.append(LeftOut(unlisted, what, f"not in {self.file.name}"))
        bare = sum(not cell.strip() for cell in table["split"]) if "split" in table else 0
        if bare:
            are = "row has" if bare == 1 else "rows have"
            rows.remarks.append(f"{bare:,} {are} no part in column {self.split!r}: taken for training.")
        if self.split is None and "unused split" in table and any(map(part_named, table["unused split"])):
            rows.remarks.append("column 'split' names parts and isn't used: set task.data.split=split to take them.")
        for name in _OTHERS:
            if f"unused {name}" in table:
                rows.remarks.append(
                    f"column {name!r} isn't used: if rows are stretches of files, task.data.offset and .duration name "
                    "the columns with their beginnings and lengths in seconds."
                )


class _Fault(Exception):
    """Why a row can't be used: a sentence without its end."""


class _Names:
    """Finds a manifest's paths among a store's recordings."""

    def __init__(self, lie: Store, root: Path) -> None:
        self.lie, self.root = lie, root
        self.known = {composed(name): name for name in lie.names}
        self.short: defaultdict[str, list[str]] = defaultdict(list)
        for name in lie.names:
            self.short[posixpath.splitext(composed(name))[0]].append(name)

    def find(self, path: str) -> str:
        """The recording of that path. Raises _Fault if there is none, or several."""
        given = composed(path.strip())
        if Path(given).is_absolute():
            given = os.path.relpath(os.path.realpath(given), os.path.realpath(self.root))
        for plain in (given, given.replace("\\", "/")):
            name = posixpath.normpath(plain)
            if name in self.known:
                return self.known[name]
            several = self.short.get(name, [])
            if len(several) > 1:
                raise _Fault(f"{path!r} may be any of {listed(several)}; write its ending, too")
            if several:
                return several[0]
        if self.lie.size(given):
            raise _Fault(
                f"{self.lie.label(given)} is none of the recordings there: it is hidden, elsewhere, or no sound that "
                "libsndfile reads"
            )
        near = nearest(given, self.known, "")
        raise _Fault(f"there is no recording {path!r} in {self.root}{near or '; a path is one below task.data.audio'}")
