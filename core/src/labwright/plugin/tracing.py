"""`LABWRIGHT_TRACE_HOOKS=1`: each call of a hook, whose it is and what it took, as lines on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

VARIABLE = "LABWRIGHT_TRACE_HOOKS"
Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def traced(function: Callable[Given, Returned], hook: str, owner: str) -> Callable[Given, Returned]:
    """The function itself, or one that also says when it was called, if the variable is set to anything but 0."""
    if os.environ.get(VARIABLE, "0") in ("", "0"):
        return function

    def called(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        begun = time.perf_counter()
        ended = "raised"
        try:
            result = function(*args, **kwargs)
            ended = "took"
            return result
        finally:
            took = (time.perf_counter() - begun) * 1000
            with suppress(OSError):
                print(f"hook {hook}  {owner}  {ended} {took:.2f} ms", file=sys.stderr)  # noqa: T201 - what it is for

    return called
