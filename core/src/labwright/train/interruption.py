"""Signals that ask a run for an end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from labwright.base import ranks


@contextmanager
def interruptions(heeded: bool) -> Iterator[list[int]]:
    """A list that is filled by a signal that asks for an end, if they are heeded; a second Ctrl-C or SIGTERM ends now.

    Only what stands within it can end gently: what a run does after its steps is ended at once, and done by `resume`.

    SIGHUP comes of a closed terminal, often twice, and SIGUSR1 of a cluster's scheduler; who ignores them, as `nohup`
    does, goes on.
    """
    asked: list[int] = []
    if not heeded or threading.current_thread() is not threading.main_thread():
        yield asked
        return
    gentle = [getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)]
    gentle = [number for number in gentle if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, *gentle)}
    if ranks.count() > 1:  # a terminal's Ctrl-C comes twice, as torchrun passes it on; it gives them half a minute
        gentle += [signal.SIGINT, signal.SIGTERM]

    def ask(number: int, _: Any) -> None:
        asked.append(number)
        if number not in gentle:
            handler = before[signal.Signals(number)]
            # A program begun in the background ignores Ctrl-C; whoever sends it one twice all the same means it.
            signal.signal(number, signal.default_int_handler if handler == signal.SIG_IGN else handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
