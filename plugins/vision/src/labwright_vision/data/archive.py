"""Folders and pictures in a zip archive, read where they are."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labwright import LabwrightError, sentence


class Zip:
    """A zip archive: what lies in each of its folders. Raises LabwrightError if it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self.inside: dict[str, dict[str, bool]] = {"": {}}  # of a folder the names, and whether each is one
        self.written: dict[str, str] = {}  # names that stand there otherwise, such as ./a/b.png
        for name in self.file().namelist():
            above = ""
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if (inner := "/".join(parts)) != name:
                self.written[inner] = name
            for depth, part in enumerate(parts, 1):
                is_folder = depth < len(parts) or name.endswith("/")
                self.inside.setdefault(above, {})[part] = is_folder or self.inside.get(above, {}).get(part, False)
                above = f"{above}/{part}".lstrip("/")

    def file(self) -> zipfile.ZipFile:
        """The open archive, this process's own: loader workers can't share a place in a file."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), zipfile.ZipFile(self.path)
            except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
                raise LabwrightError(f"{self.path} can't be read as a zip archive: {sentence(str(error))}") from error
        return self._opened[1]

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_opened": None}


@dataclass(frozen=True, slots=True)
class Archived:
    """A folder or a picture in an archive, "" being all of it; what is asked of it is called as with a Path."""

    archive: Zip = field(repr=False, compare=False)
    inner: str
    path: Path

    def __str__(self) -> str:
        return f"{self.path}/{self.inner}" if self.inner else str(self.path)

    @property
    def name(self) -> str:
        return self.inner.rpartition("/")[2] or self.path.stem

    def __truediv__(self, name: str) -> Archived:
        return Archived(self.archive, f"{self.inner}/{name}".lstrip("/"), self.path)

    def read_bytes(self) -> bytes:
        return self.archive.file().read(self.archive.written.get(self.inner, self.inner))

    def entries(self) -> Iterator[tuple[Archived, bool]]:
        """What lies in a folder, sorted, and whether it is one."""
        for name, is_folder in sorted(self.archive.inside.get(self.inner, {}).items()):
            yield self / name, is_folder

    def stamp(self) -> str:
        """What changes when the picture does."""
        entry = self.archive.file().getinfo(self.archive.written.get(self.inner, self.inner))
        return f"{entry.file_size} {entry.CRC}"

    def count(self) -> int:
        """How many files it is, or has below it."""
        inside = [*self.entries()]
        return sum(entry.count() for entry, _ in inside) if inside else 1


def archived(path: Path) -> Archived:
    """All of an archive; of one with nothing but a folder in it, that folder."""
    whole = Archived(Zip(path), "", path)
    while True:
        shown = [(entry, is_folder) for entry, is_folder in whole.entries() if entry.name != "__MACOSX"]
        if len(shown) != 1 or not any(is_folder for _, is_folder in shown[0][0].entries()):
            return whole
        whole = shown[0][0]
