"""The idx format of MNIST: two zero bytes, a type, the number of axes, each axis' length, the values."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from labwright import LabwrightError

_UNSIGNED_BYTE = 8


def read_idx(path: Path) -> np.ndarray:
    """An array of unsigned bytes from an idx file, gzipped if the name ends in `.gz`.

    Raises LabwrightError naming a file that is torn, of another format, or longer or shorter than its header says.
    Source: the description on the MNIST page (LeCun, Cortes & Burges 1998).
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise LabwrightError(f"{path} can't be read ({error}): take it away and it is fetched anew.") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise LabwrightError(f"{path} is no idx file of bytes: it starts with {content[:4]!r}, not b'\\x00\\x00\\x08'.")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise LabwrightError(f"{path} ends after {len(content)} bytes; its header alone has {start}.")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], dtype=">u4"))
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise LabwrightError(f"{path} has {len(content):,} bytes; its header, for an array {shape}, says {expected:,}.")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
