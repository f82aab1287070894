"""Where recordings lie, a folder or a zip archive: their names, and what else is there."""

from __future__ import annotations

import os
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from labwright import LabwrightError, LeftOut, located

from labwright_speech.data.waveform import SUFFIXES, Source

_USUAL = ".wav, .flac, .mp3, .ogg or others that libsndfile reads"
# What systems and programs leave behind, besides names that begin with a dot.
_LEFTOVERS = {"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
_LEFTOVERS |= {"Thumbs.db", "desktop.ini"}
_NAMED = 6  # suffixes


class Store(Protocol):
    """Where recordings lie; `names` are theirs, sorted: paths relative to the store, with slashes."""

    names: Sequence[str]
    left_out: Sequence[LeftOut]

    def open(self, name: str) -> Source:
        """The recording's file, or its content. Raises OSError if it can't be got."""
        ...

    def size(self, name: str) -> int:
        """How many bytes it has; 0 if it can't be got."""
        ...

    def label(self, name: str) -> str:
        """The recording in words, for messages."""
        ...

    def text(self, name: str) -> str | None:
        """What a text file there says; None if there is none."""
        ...

    def below(self, folder: str) -> Store:
        """What lies in a folder of it."""
        ...


class Folder:
    """Recordings in a folder, and in those below it, links followed. Raises LabwrightError if it can't be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        names, others = [], _Others()
        for name, why in _walked(str(path)):
            if why or _is_hidden(name):
                others.add(why or "hidden")
            elif _is_recording(name):
                names.append(name)
            else:
                others.suffix(name)
        self.names: Sequence[str] = sorted(names)
        self.left_out: Sequence[LeftOut] = others.left_out()

    def open(self, name: str) -> Path:
        return self.path / name

    def size(self, name: str) -> int:
        path = self.path / name
        return path.stat().st_size if path.is_file() else 0

    def label(self, name: str) -> str:
        return str(self.path / name)

    def text(self, name: str) -> str | None:
        path = self.path / name
        return _text(path.read_bytes(), path) if path.is_file() else None

    def below(self, folder: str) -> Folder:
        return Folder(self.path / folder)


class Archive:
    """Recordings in a zip archive, or in a folder of it. Raises LabwrightError if it is none."""

    def __init__(self, path: Path, top: str = "") -> None:
        self.path, self.top = path, top
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        names, others = [], _Others()
        for name in sorted(set(self._file().namelist())):
            inner = name.removeprefix(top)
            if not name.startswith(top) or name.endswith("/"):
                continue
            if _is_hidden(inner):
                others.add("hidden")
            elif _is_recording(inner):
                names.append(inner)
            else:
                others.suffix(inner)
        self.names: Sequence[str] = names
        self.left_out: Sequence[LeftOut] = others.left_out()

    def open(self, name: str) -> bytes:
        try:
            return self._file().read(self.top + name)
        except (KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise OSError(f"the archive is damaged there: {error}") from error

    def size(self, name: str) -> int:
        entry = self._file().NameToInfo.get(self.top + name)
        return 0 if entry is None else entry.file_size

    def label(self, name: str) -> str:
        return f"{self.top}{name} in {self.path}"

    def text(self, name: str) -> str | None:
        if self.top + name not in self._file().NameToInfo:
            return None
        try:
            return _text(self.open(name), f"{self.top}{name} in {self.path}")
        except (OSError, RuntimeError) as error:
            raise LabwrightError(f"{self.label(name)} can't be read: {error}.") from error

    def below(self, folder: str) -> Archive:
        return Archive(self.path, f"{self.top}{folder}/")

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_opened": None}

    def _file(self) -> zipfile.ZipFile:
        """The open archive, this process's own: loader workers can't share a place in a file."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.path)
            except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
                raise LabwrightError(f"{self.path} can't be read as a zip archive: {error}.") from error
        return self._opened[1]


def store(path: Path, setting: str) -> Store:
    """A folder's or a zip archive's recordings. Raises LabwrightError naming the setting if neither is there."""
    if not path.exists():
        raise LabwrightError(f"{setting}: there is no folder or archive {located(path)}.")
    return Folder(path) if path.is_dir() else Archive(path)


def no_recordings(where: object, left_out: Sequence[LeftOut]) -> LabwrightError:
    others = "; ".join(f"{kind.count:,} {kind.what}: {kind.why}" for kind in left_out)
    return LabwrightError(
        f"{where} has no recordings: put some there ({_USUAL}).{f' It has {others}.' if others else ''}"
    )


def composed(name: str) -> str:
    """A name in Unicode's composed form: a Mac and others then write the same name alike."""
    return unicodedata.normalize("NFC", name)


class _Others:
    """What is there besides recordings, counted."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._suffixes: Counter[str] = Counter()

    def add(self, why: str) -> None:
        self._reasons[why] += 1

    def suffix(self, name: str) -> None:
        self._suffixes[PurePosixPath(name).suffix.lower() or "without a suffix"] += 1

    def left_out(self) -> list[LeftOut]:
        """One for each reason, then for the most frequent suffixes and the rest of them."""
        suffixes = self._suffixes.most_common()
        rest = sum(count for _, count in suffixes[_NAMED:])
        counts = [*self._reasons.most_common(), *suffixes[:_NAMED], *([("of other suffixes", rest)] if rest else [])]
        return [LeftOut(count, "file" if count == 1 else "files", why) for why, count in counts]


def _walked(folder: str, within: tuple[str, ...] = (), prefix: str = "") -> Iterator[tuple[str, str]]:
    """The names of all files below a folder, and why one can't be used; `within`: the folders it has come through."""
    within = (*within, os.path.realpath(folder))
    try:
        with os.scandir(folder) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
    except OSError as error:
        raise LabwrightError(f"{folder} can't be read: {error.strerror}.") from error
    for entry in entries:
        name = prefix + entry.name
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file() or not Path(entry.path).exists()
        except OSError:  # a link to itself
            is_folder, is_file = False, True
        if not is_folder:
            yield name, "" if is_file else "a pipe, socket or device"
        elif entry.is_symlink() and any(_is_in(place, os.path.realpath(entry.path)) for place in within):
            yield name, "a link to a folder above it"
        else:
            yield from _walked(entry.path, within, f"{name}/")


def _is_in(place: str, folder: str) -> bool:
    return Path(place).is_relative_to(folder)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part in _LEFTOVERS for part in name.split("/"))


def _is_recording(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _text(content: bytes, label: object) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabwrightError(f"{label} is not written in UTF-8: {error.reason}. Save it in that encoding.") from error
