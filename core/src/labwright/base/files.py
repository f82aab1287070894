"""Writing files: whole or not at all, never through a link, and JSON that every program reads.

JSON has no numbers that aren't finite: the strings "NaN", "Infinity" and "-Infinity" stand for them in every file and
in all output, as in protobuf's JSON. pandas and `float` read them as what they are, and what computes with them
otherwise fails loudly, as it wouldn't with null.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from labwright.base.errors import LabwrightError, RunFailed

File = Path | str  # or a folder
NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file like `write_bytes`, in UTF-8. What can't be said in UTF-8 is escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), durable=durable)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write a value as JSON like `write_bytes`."""
    write_text(path, json_text(value, indent=1) + "\n", durable=durable)


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file under a new name of its own and give it its name when it is whole.

    A link of that name is replaced and not followed; what was there before stays until then. `durable` waits for the
    disk. Raises RunFailed if the file can't be written.
    """
    # in the same folder, since a name is given in one piece within a file system only
    unfinished = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        try:
            # x: a link of that name, laid by somebody else, isn't written through
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise
        if durable:
            sync(path.parent)
    except OSError as error:
        raise RunFailed(f"can't write {path}: {error.strerror or error}.") from error


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, on a line of its own whatever the file ends with.

    Raises OSError if the disk takes no more, or if the path is a link.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    with os.fdopen(handle, "rb+", buffering=0) as file:
        size = os.fstat(handle).st_size
        # a killed process may have left a line without its end
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        content = (b"\n" if torn else b"") + line.encode() + b"\n"
        while content:
            content = content[file.write(content) :]


def mute(stream: Any) -> None:
    """Let a stream that takes no more, such as a broken pipe, lead to nowhere: what is still written is no error."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def printable(text: str) -> str:
    """A text for a line on a terminal: control characters, and what can't be said in UTF-8, are escaped."""
    safe = "".join(
        character if character.isprintable() or character == " " else ascii(character)[1:-1] for character in text
    )
    return safe.encode("utf-8", "backslashreplace").decode()


def sync(path: Path) -> None:
    """See that a file, or the names in a folder, have reached the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_links(folder: Path) -> None:
    """Raises LabwrightError if something in a folder that will be written to, at any depth, leads out of it.

    These are links, and files that are none: devices, pipes, sockets. The folder itself may be reached by a link. A
    hard link is no harm, as files are replaced and not written into.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise LabwrightError(
                f"{path} is a link to {str(path.readlink())!r}: writing into {folder} could change what lies "
                "elsewhere. Put there what it points to, or remove it."
            )
    refuse_special(folder)


def refuse_special(folder: Path) -> None:
    """Raises LabwrightError if a name in a folder that will be read is a device, pipe or socket: reading may not end.

    Links are followed.
    """
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):  # a link that leads nowhere is missing for whoever reads it
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise LabwrightError(f"{path} is no file but a device, pipe or socket. Remove it.")


def json_text(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """A value as JSON in the strict sense, without nan and infinities. `default` turns other objects into JSON."""
    return json.dumps(_finite(value), indent=indent, default=default, allow_nan=False)


def numbers(value: Any) -> Any:
    """What was read from JSON that holds numbers, with those that aren't finite as numbers again."""
    if isinstance(value, dict):
        return {key: numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [numbers(element) for element in value]
    return float(value) if isinstance(value, str) and value in NOT_FINITE else value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(element) for element in value]
    return value
