"""Where the pictures of a tar shard lie in it, looked up once and kept. N samples of a shard."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from labwright import LabwrightError, sentence

from labwright_vision.data.checking import cache
from labwright_vision.data.reading import SUFFIXES

_FORM = 1  # of index files
_BLOCK = 512  # bytes of a header in a tar file


@dataclass(frozen=True)
class Member:
    """A picture within a shard."""

    shard: Path
    offset: int
    size: int

    def read_bytes(self) -> bytes:
        with self.shard.open("rb") as file:
            return os.pread(file.fileno(), self.size, self.offset)

    def __str__(self) -> str:
        """The shard, and the name in it, which stands in the block before the picture."""
        name = f"the file at byte {self.offset:,}"
        with suppress(OSError, tarfile.TarError), self.shard.open("rb") as file:
            block = os.pread(file.fileno(), _BLOCK, self.offset - _BLOCK)
            name = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").name
        return f"{self.shard}: {name}"


@dataclass(frozen=True)
class ShardIndex:
    """The samples of a shard: offsets and sizes of their pictures, hashes of their names, which of `classes` they are.

    `left_out` says what isn't used: what it is, why, and how many. `made` says that it was looked up just now, and
    `place` where it is kept; None: nowhere.
    """

    path: Path
    offsets_N: np.ndarray
    sizes_N: np.ndarray
    hashes_N: np.ndarray
    labels_N: np.ndarray
    classes: tuple[str, ...]
    left_out: tuple[tuple[str, str, int], ...]
    made: bool = False
    place: Path | None = None

    def __len__(self) -> int:
        return len(self.offsets_N)

    def where(self, mask_N: np.ndarray) -> ShardIndex:
        """Some of the samples."""
        columns = ("offsets_N", "sizes_N", "hashes_N", "labels_N")
        return replace(self, **{name: getattr(self, name)[mask_N] for name in columns})

    def digest(self) -> str:
        """What tells the samples from others: names, sizes, places and classes."""
        columns = (self.offsets_N, self.sizes_N, self.hashes_N, self.labels_N)
        return hashlib.sha256(b"".join(map(np.ndarray.tobytes, columns)) + repr(self.classes).encode()).hexdigest()


def index_of(path: Path, label: str) -> ShardIndex:
    """The index of a shard, which is kept beside it, or in the user's cache where nothing can be written there.

    One that was kept is used as long as the shard has the same size and time, and the index its checksums. `label` is
    what a .json file calls the class. Raises LabwrightError for a shard that can't be read.
    """
    kept_as = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    places = (path.with_name(f"{path.name}.index.npz"), cache() / "shards" / f"{kept_as}.npz")
    try:
        status = path.stat()
        about = {"form": _FORM, "size": status.st_size, "time": status.st_mtime_ns, "label": label}
        for place in places:
            kept = _read(place, path, about)
            if kept is not None:
                return kept
        made = _looked_up(path, label, status.st_size)
    except (OSError, tarfile.TarError) as error:
        raise LabwrightError(f"{path} can't be read as a tar shard: {sentence(str(error))}") from error
    return replace(made, made=True, place=next((place for place in places if _written(made, place, about)), None))


def _read(place: Path, path: Path, about: dict[str, Any]) -> ShardIndex | None:
    try:
        # each array has a checksum, as everything in a zip file
        with np.load(place, allow_pickle=False) as arrays:
            told = json.loads(str(arrays["about"]))
            if {key: told[key] for key in about} != about:
                return None
            return ShardIndex(
                path,
                arrays["offsets"],
                arrays["sizes"],
                arrays["hashes"],
                arrays["labels"],
                tuple(told["classes"]),
                tuple((what, why, count) for what, why, count in told["left_out"]),
                place=place,
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None  # none yet, torn, or of another form: it is made anew


def _written(index: ShardIndex, place: Path, about: dict[str, Any]) -> bool:
    told = {**about, "classes": index.classes, "left_out": index.left_out}
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(
                file,
                about=np.array(json.dumps(told)),
                offsets=index.offsets_N,
                sizes=index.sizes_N,
                hashes=index.hashes_N,
                labels=index.labels_N,
            )
        part.replace(place)
    except OSError:
        with suppress(OSError):
            part.unlink()
        return False
    return True


def _looked_up(path: Path, label: str, size: int) -> ShardIndex:
    """The samples of a shard by its headers; of the files in it those with classes are read."""
    pictures: dict[str, tuple[int, int]] = {}
    classes: dict[str, str] = {}
    unused: Counter[tuple[str, str]] = Counter()
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as members:
        for member in members:
            if member.isdir():
                continue
            if member.offset_data + member.size > size:
                raise tarfile.ReadError(f"it is cut off in {member.name}")
            folder, _, name = member.name.rpartition("/")
            stem, _, ending = name.partition(".")
            key, suffix = f"{folder}/{stem}", f".{ending.lower()}"
            if not member.isreg() or member.issparse() or not stem:
                unused["file", "hidden, a link, or sparse"] += 1
            elif suffix in (".cls", ".json"):
                content = os.pread(file.fileno(), member.size, member.offset_data)
                if suffix == ".cls" or key not in classes:  # .cls goes before .json
                    classes[key] = _class(content, suffix, label, f"{path}: {member.name}") or classes.get(key, "")
            elif suffix not in SUFFIXES or key in pictures:
                second = suffix in SUFFIXES
                unused["file", "a second picture of a sample" if second else f"no picture: {suffix}"] += 1
            else:
                pictures[key] = member.offset_data, member.size
    keys = [key for key in pictures if classes.get(key)]
    names = sorted({classes[key] for key in keys})
    number = {name: index for index, name in enumerate(names)}
    unused["picture", "without a class"] += len(pictures) - len(keys)
    # with the shard's name, as many shards number their samples alike
    hashes = [hashlib.sha256(f"{path.name}/{key}".encode("utf-8", "surrogateescape")).digest()[:8] for key in keys]
    return ShardIndex(
        path,
        np.array([pictures[key][0] for key in keys], dtype=np.int64),
        np.array([pictures[key][1] for key in keys], dtype=np.int64),
        np.frombuffer(b"".join(hashes), dtype="<u8"),
        np.array([number[classes[key]] for key in keys], dtype=np.int32),
        tuple(names),
        tuple((what, why, count) for (what, why), count in unused.items() if count),
    )


def _class(content: bytes, suffix: str, label: str, origin: str) -> str:
    """The class that a file says a sample has, in its one spelling. Raises LabwrightError for one that says none."""
    try:
        text = content.decode("utf-8")
        value = json.loads(text) if suffix == ".json" else text.strip()
    except ValueError as error:
        raise LabwrightError(f"{origin} is no {suffix[1:]} in UTF-8: {sentence(str(error))}") from error
    if suffix == ".json":
        value = value.get(label) if isinstance(value, dict) else None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value).strip()
    if value is None:
        return ""
    raise LabwrightError(f"{origin} has {value!r} as {label!r}; a class is a text or a whole number.")


class Members(Sequence[Member]):
    """The pictures of shards, one shard after another: two numbers each, of which a Member is made when asked for."""

    def __init__(self, indexes: Sequence[ShardIndex]) -> None:
        self._paths = [index.path for index in indexes]
        self._ends = np.cumsum([len(index) for index in indexes])
        self._offsets = np.concatenate([index.offsets_N for index in indexes])
        self._sizes = np.concatenate([index.sizes_N for index in indexes])

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: Any) -> Any:
        shard = self._paths[int(np.searchsorted(self._ends, index, side="right"))]
        return Member(shard, int(self._offsets[index]), int(self._sizes[index]))
