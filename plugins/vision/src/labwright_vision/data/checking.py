"""Every picture of a folder looked at once, before a run begins; what was seen is kept for the next time.

Decoding takes a millisecond for a small JPEG and ten for a large PNG. For folders of many pictures the answers are kept
in the user's cache, and a file whose size or time has changed is looked at again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import PIL

from labwright_vision.data.archive import Archived
from labwright_vision.data.folders import Found, name_below
from labwright_vision.data.reading import Facts, facts

_MANY = 500  # pictures from which on keeping is worth a file
_FORM = f"1, Pillow {PIL.__version__}"
_THREADS = 8  # Pillow decodes beside Python
_AT_ONCE = 1000  # pictures

Seen = tuple[str, Facts]  # a file's size and time, and what was seen


def examined(root: Found, paths: Sequence[Found]) -> list[Facts]:
    """The facts of each picture below `root`, in their order."""
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        if len(paths) < _MANY:
            return list(pool.map(facts, paths))
        place = root.path if isinstance(root, Archived) else root
        file = cache() / "pictures" / f"{hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:32]}.json"
        kept = _read(file)
        names = [name_below(path, root) for path in paths]
        stamps = [_stamp(path) for path in paths]
        known = [kept.get(name) for name in names]
        missing = [i for i, one in enumerate(known) if one is None or one[0] != stamps[i]]
        for start in range(0, len(missing), _AT_ONCE):  # each that waits for its turn takes a kilobyte
            some = missing[start : start + _AT_ONCE]
            for i, seen in zip(some, pool.map(facts, [paths[i] for i in some]), strict=True):
                known[i] = (stamps[i], seen)
    pictures = {name: one for name, one in zip(names, known, strict=True) if one is not None}
    if missing:  # what couldn't be read may be mended with its size and time as they were
        _write(file, {name: one for name, one in pictures.items() if not one[1].problem})
    return [pictures[name][1] for name in names]


def cache() -> Path:
    """The folder `labwright` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "labwright"


def _stamp(path: Found) -> str:
    if isinstance(path, Archived):
        return path.stamp()
    try:
        of_file = path.stat()
    except OSError:
        return "gone"
    return f"{of_file.st_size} {of_file.st_mtime_ns}"


def _read(file: Path) -> dict[str, Seen]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["form"] != _FORM:
            return {}
        return {name: (stamp, Facts(**of_file)) for name, (stamp, of_file) in kept["pictures"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # none yet, or torn: all are looked at


def _write(file: Path, pictures: dict[str, Seen]) -> None:
    """Keep what was seen; where that can't be, it is looked at again next time."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as text:
            text.write(f'{{"form": {json.dumps(_FORM)}, "pictures": {{')
            for place, (name, (stamp, of_file)) in enumerate(pictures.items()):  # one by one, as they are many
                text.write(f"{', ' if place else ''}{json.dumps(name)}: {json.dumps([stamp, asdict(of_file)])}")
            text.write("}}")
        part.replace(file)
