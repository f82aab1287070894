"""Reads what W&B wrote offline: records of its own protocol buffers in the format of LevelDB's log.

The format is LevelDB's doc/log_format.md, behind a header of seven bytes: blocks of 32 KiB with pieces of records, each
behind a checksum, a length and a type (1 whole, 2 first, 3 middle, 4 last).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7


def messages(file: Path) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    content = file.read_bytes()
    assert content[:4] == b":W&B"
    place, whole = HEADER, b""
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:  # too little for a piece: the rest of a block is empty
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        whole += content[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def _table(items: Any) -> dict[str, Any]:
    return {".".join(one.nested_key) or one.key: json.loads(one.value_json) for one in items}


def read(file: Path) -> dict[str, Any]:
    """The rows of a run's history, its config, its summary, how it was begun, and the code it ended with."""
    found: dict[str, Any] = {"history": [], "config": {}, "summary": {}}
    for record in messages(file):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            found["history"].append(_table(record.history.item))
        elif kind == "run":
            found["run"] = record.run
            found["config"] |= _table(record.run.config.update)
        elif kind == "config":
            found["config"] |= _table(record.config.update)
        elif kind == "summary":
            found["summary"] |= _table(record.summary.update)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    return found
