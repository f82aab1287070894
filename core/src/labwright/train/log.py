"""metrics.jsonl: the log of a run, one JSON record a line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labwright.base.errors import RunFailed
from labwright.base.files import File, append_line, json_text, numbers, sync, write_text


class Log:
    """metrics.jsonl: appended line by line, cut back to a step when a run is resumed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records, self._digest = 0, hashlib.sha256()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record. Raises RunFailed if the disk takes no more."""
        line = json_text(record)
        try:
            append_line(self.file, line)
        except OSError as error:
            raise RunFailed(f"can't write {self.file}: {error.strerror}. What was logged before is kept.") from error
        self._take(line)

    def mark(self, *, durable: bool = True) -> dict[str, Any]:
        """What a checkpoint says of the log until now, for `cut`; `durable` sees that all of it has reached the disk.

        The digest is of everything but the times, which are others each time a run is made.
        """
        if durable and self.file.exists():
            sync(self.file)
        return {"records": self.records, "sha256": self._digest.hexdigest()}

    def cut(self, mark: Mapping[str, Any]) -> list[str]:
        """Drop what was logged after a mark, and lines that are torn. Returns what differs from the mark, in words."""
        lines = _lines(self.file)[: mark["records"]]
        torn = [number for number, (_, record) in enumerate(lines, 1) if record is None]
        self.records, self._digest = 0, hashlib.sha256()
        # lines stay as they were written, byte for byte: a log of an older version isn't rewritten
        kept = [line for line, record in lines if record is not None]
        for line in kept:
            self._take(line)
        write_text(self.file, "".join(line + "\n" for line in kept))
        notes = [f"line {number} of {self.file} is torn and left out." for number in torn]
        if len(lines) < mark["records"]:
            notes.append(f"{self.file} has {len(lines)} of the {mark['records']} lines it had at this checkpoint.")
        elif not torn and self.mark(durable=False) != mark:
            notes.append(f"{self.file} holds other values than it did at this checkpoint.")
        return [f"{note} Curves, and rules that end a run, go by what is left." for note in notes]

    def _take(self, line: str) -> None:
        record = json.loads(line)
        # times are others each time the same run is made
        record.pop("seconds", None)
        self.records += 1
        self._digest.update(json_text(record).encode())


def read_log(file: File, torn: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """The records of a metrics.jsonl. Lines that are torn are left out; their numbers, from 1, are added to `torn`.

    Example: `[record for record in lw.read_log(Path(run, "metrics.jsonl")) if record["event"] == "evaluation"]`
    """
    for number, (_, record) in enumerate(_lines(Path(file)), 1):
        if record is not None:
            yield record
        elif torn is not None:
            torn.append(number)


def _lines(file: Path) -> list[tuple[str, dict[str, Any] | None]]:
    """Each line of a log, as it stands and as it reads, None if it is torn.

    A last line without an end is left out: it was being written when its process died.
    """
    if not file.is_file():
        return []
    lines = []
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            record = _with_lr(numbers(json.loads(line)))
            _check(record)
        except (ValueError, TypeError, KeyError, AttributeError):
            record = None
        lines.append((line, record))
    return lines


def _check(record: dict[str, Any]) -> None:
    """Raises some error for what is no record of a log."""
    if record["event"] == "evaluation":
        str.strip(record["split"])
        values = [*record["metrics"].values(), record["step"]]
    elif record["event"] == "train":
        values = [value for name, value in record.items() if name != "event"]
    else:
        raise ValueError(record["event"])
    for value in values:
        float(value)


def _with_lr(record: dict[str, Any]) -> dict[str, Any]:
    """A record with `lr` for what logs of version 0.1 called `rate`."""
    return {re.sub(r"^rate(?=$|/)", "lr", key): value for key, value in record.items()}
