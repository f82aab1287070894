"""Recordings that a table lists: JSON Lines, CSV or TSV, also gzipped."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

from labwright.errors import LabwrightError, listed, nearest
from pydantic import Field

from labwright_speech.data.augment import Noise, Shift, Speed
from labwright_speech.data.parts import By, HeldOut, Share
from labwright_speech.data.sound import SUFFIXES, Recording, store
from labwright_speech.data.transcripts import Case, Transcripts
from labwright_speech.data.words import Words

_PARTS = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "test": "test"}
_KINDS = {".jsonl": "JSON Lines", ".json": "JSON Lines", ".csv": "CSV", ".tsv": "TSV"}

Rate = Annotated[int, Field(ge=1000, le=192_000, description="samples per second")]
Column = Annotated[str, Field(min_length=1)]


class ManifestTranscripts(Transcripts):
    """Recordings and their transcripts, listed in a manifest: .jsonl, .csv or .tsv, also .gz, with a row for each.

    `path`, `text`, `speaker` and `split` are the columns' names; the last two may be missing. A path is one below
    `audio`, a folder or zip archive (the manifest's own folder if it is None), with or without the file's ending. What
    is held out, if `split` doesn't say it, are shares `valid` and `test` of recordings or of speakers, as `by` says;
    `valid_speakers` and `test_speakers` hold out those speakers of everything there is.

    Texts are taken with single spaces, in the `case` asked for. `alphabet` are the characters they may have; if it is
    None, those of the training texts. `speed`, `shift` and `noise` augment the training recordings.
    """

    source = "a manifest of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        manifest: Path,
        audio: Path | None = None,
        path: Column = "path",
        text: Column = "text",
        speaker: Column | None = None,
        split: Column | None = None,
        rate: Rate = 16_000,
        alphabet: Annotated[str, Field(min_length=1)] | None = None,
        case: Case = "keep",
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
        self.table = Table(manifest, audio, path, text, speaker, split)
        self.rate, self.alphabet, self.case = rate, alphabet, case
        self.held_out = HeldOut(valid, test, by, valid_speakers, test_speakers, classes=False)
        self.speed, self.shift, self.noise = speed, shift, noise

    def prepare(self) -> None:
        self._read(self.held_out.split(list(self.table.recordings()), self.table.manifest), self.case)


class ManifestWords(Words):
    """Recordings and their classes, listed in a manifest; `label` is the class's column, the rest as speech/manifest.

    Recordings are resampled to `rate`, and cut or filled up to `seconds`.
    """

    source = "a manifest of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        manifest: Path,
        audio: Path | None = None,
        path: Column = "path",
        label: Column = "label",
        speaker: Column | None = None,
        split: Column | None = None,
        rate: Rate = 16_000,
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
        self.table = Table(manifest, audio, path, label, speaker, split)
        self.rate, self.seconds = rate, seconds
        self.held_out = HeldOut(valid, test, by, valid_speakers, test_speakers, classes=True)
        self.speed, self.shift, self.noise = speed, shift, noise

    def prepare(self) -> None:
        recordings = list(self.table.recordings())
        for one in recordings:
            one.samples(self.rate)  # now, rather than in the middle of an epoch
        self._read(self.held_out.split(recordings, self.table.manifest), self.table.manifest)


@dataclass(frozen=True)
class Table:
    """A manifest: its file, where the recordings lie, and the names of its columns."""

    manifest: Path
    audio: Path | None
    path: str
    said: str
    speaker: str | None
    split: str | None

    def recordings(self) -> Iterator[Recording]:
        """The recordings of all rows. Raises LabwrightError naming the row that can't be used."""
        file = self.manifest.expanduser()
        if not file.is_file():
            raise LabwrightError(f"task.data.manifest: there is no file {str(file)!r}.")
        root = (self.audio or file.parent).expanduser()
        if not root.exists():
            raise LabwrightError(f"task.data.audio: there is no folder or archive {str(root)!r}.")
        lie = store(root)
        known = {name: name for name in lie.names()}
        short = {name.removesuffix(Path(name).suffix): name for name in known}
        empty = True
        for number, row in _rows(file):
            where = f"{file}:{number}"
            path, said = (self._filled(row, column, where) for column in (self.path, self.said))
            name = known.get(path) or short.get(path)
            if name is None:
                raise LabwrightError(
                    f"{where}: there is no recording {path!r} in {root}{nearest(path, known)} It has "
                    f"{len(known):,} with the endings {listed(SUFFIXES)}; a path is one below task.data.audio."
                )
            speaker = self._cell(row, self.speaker, where) if self.speaker else ""
            part = self._cell(row, self.split, where) if self.split else ""
            if part and part.lower() not in _PARTS:
                raise LabwrightError(
                    f"{where}: column {self.split!r} says {part!r}{nearest(part, _PARTS)} It is one of "
                    f"{listed(_PARTS)}."
                )
            yield Recording(lie, name, said, speaker, _PARTS.get(part.lower(), ""), where)
            empty = False
        if empty:
            raise LabwrightError(f"{file} lists no recordings.")

    def _filled(self, row: dict[str, Any], column: str, where: str) -> str:
        value = self._cell(row, column, where)
        if not value.strip():
            raise LabwrightError(f"{where}: column {column!r} is empty. Fill it in, or take the row away.")
        return value

    @staticmethod
    def _cell(row: dict[str, Any], column: str, where: str) -> str:
        if column not in row:
            raise LabwrightError(
                f"{where}: there is no {column!r}{nearest(column, row)} The columns are {listed(row)}; say by "
                "task.data.path, .text, .label, .speaker and .split which is which."
            )
        value = row[column]
        return "" if value is None else str(value)


def _opened(file: Path) -> TextIO:
    if file.name.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with the number of its line."""
    plain = file.name.removesuffix(".gz")
    kind = Path(plain).suffix.lower()
    if kind not in _KINDS:
        raise LabwrightError(f"{file}: a manifest ends in {listed(_KINDS)}, also with .gz behind it.")
    number = 0
    try:
        with _opened(file) as lines:
            if _KINDS[kind] == "JSON Lines":
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        row = json.loads(line)
                        if not isinstance(row, dict):
                            raise ValueError(f"a line is an object, such as {{'path': ...}}, not {line.strip()[:40]!r}")
                        yield number, row
            else:
                reader = csv.DictReader(lines, delimiter="\t" if kind == ".tsv" else ",")
                for row in reader:
                    number = reader.line_num
                    yield number, {key: value for key, value in row.items() if key is not None}
    except UnicodeDecodeError as error:
        raise LabwrightError(f"{file} is not written in UTF-8: {error.reason}. Save it in that encoding.") from error
    except (OSError, ValueError, EOFError, zlib.error, csv.Error) as error:
        where = f"{file}:{number}" if number else str(file)
        raise LabwrightError(f"{where} can't be read as {_KINDS[kind]}: {error}.") from error
