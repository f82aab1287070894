"""A study's journal: a file of lines, locked by the kernel, so that a lock is gone with its process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from labwright import LabwrightError
from optuna.storages.journal import BaseJournalBackend

SUM = b"crc32"  # in a line: the checksum of what stands before it
FIRST = b'{"op_code":'  # how a journal begins


class Journal(BaseJournalBackend):
    """A journal file whose lock the kernel takes back when its process ends, however it ends (flock).

    What is written reaches the disk when a trial ends, not with every line: a process that dies loses nothing. Each
    line carries a checksum, so that one that was changed is noticed; lines of other programs have none. Reading writes
    nothing: a line that was never finished is left out, and cut off before the next one is written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offsets = [0]  # of each line that was read, and of the next one

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The entries from a number on. Raises LabwrightError naming a line that isn't what was written."""
        if not self._file.is_file():
            return
        with self._file.open("rb") as journal:
            number = min(log_number_from, len(self._offsets) - 1)
            journal.seek(self._offsets[number])
            for line in journal:
                if not line.endswith(b"\n"):
                    return
                entry = _entry(line)
                if entry is None:
                    raise _torn(self._file, number + 1)
                number += 1
                if number == len(self._offsets):
                    self._offsets.append(self._offsets[-1] + len(line))
                if number > log_number_from:
                    yield entry

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = b"".join(map(_line, logs))
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._file), opened_to_write(self._file) as journal:
                _mend(journal, self._file)
                journal.write(lines)
                journal.flush()
                if any("state" in log for log in logs):
                    os.fsync(journal.fileno())
        except OSError as error:
            raise LabwrightError(
                f"the journal {self._file} can't be written: {why(error)}. What was told is kept; the same command "
                "goes on."
            ) from error


def _line(log: Mapping[str, Any]) -> bytes:
    text = json.dumps(log, separators=(",", ":")).encode()
    return b'%s,"%s":%d}\n' % (text[:-1], SUM, zlib.crc32(text))


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a journal's line; None if it is none, or not what was written."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("op_code"), int) or "worker_id" not in entry:
        return None
    told = entry.pop(SUM.decode(), None)
    if told is not None and zlib.crc32(line[: line.rfind(b',"%s":' % SUM)] + b"}") != told:
        return None
    return entry


def _torn(file: Path, number: int) -> LabwrightError:
    if number == 1:
        return LabwrightError(f"{file} is no journal of a study: its first line isn't one that was written there.")
    name, part = shlex.quote(str(file)), shlex.quote(f"{file}.whole")
    return LabwrightError(
        f"the journal {file} is damaged in line {number}: that isn't what was written. What stands before it is "
        f"whole; to go on from there: head -n {number - 1} {name} > {part} && mv {part} {name}"
    )


def why(error: OSError) -> str:
    linked = "it is a link, and what a link leads to isn't written"
    return linked if error.errno == errno.ELOOP else error.strerror or str(error)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Within it no other process writes the file. Raises OSError if its lock is a link or can't be made."""
    with opened_to_write(file.with_name(file.name + ".flock")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def opened_to_write(file: Path) -> IO[bytes]:
    """A file opened to be written, made if it isn't there. Raises OSError if it is a link or no file."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    return os.fdopen(handle, "rb+")


def _mend(journal: IO[bytes], file: Path) -> None:
    """Cut off an unfinished last line, and stand at the end. Raises LabwrightError for what is no journal."""
    size = end = journal.seek(0, os.SEEK_END)
    while end:
        begin = max(end - 4096, 0)
        journal.seek(begin)
        newline = journal.read(end - begin).rfind(b"\n")
        if newline >= 0:
            end = begin + newline + 1
            break
        end = begin
    if end < size:
        journal.seek(0)
        first = journal.readline()
        whole = _entry(first) is not None if end else FIRST.startswith(first[: len(FIRST)]) or not first.strip(b"\0")
        if not whole:
            raise _torn(file, 1)
        journal.truncate(end)
    journal.seek(end)
