"""Data of texts that others may rewrite before anything is made of them, such as to mask personal data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable


@runtime_checkable
class Rewritten(Protocol):
    """Data each of whose texts goes through `rewrite` first: before splits, vocabulary, digests, batches and `parse`.

    `str` leaves them as they are. Labels and the names of files aren't texts.
    """

    rewrite: Callable[[str], str]
