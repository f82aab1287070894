"""Waiting for what happens elsewhere, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 1000.0) -> T:
    """What a condition comes to, as soon as it is true. The limit is no part of a test: it ends one that hangs."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"it didn't come to that in {seconds:g} s"
        time.sleep(0.01)
    return value
