"""What a person sees of many runs as they end: a bar on a terminal, a line for each elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Tally:
    """Counts runs: `with Tally(20, done=3) as tally: tally.say("..."); tally.ended("...")`."""

    def __init__(self, total: int, done: int = 0, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Progress | None = None
        console = Console(stderr=True)
        if sys.stderr.isatty() and not console.is_dumb_terminal and not quiet:
            columns = TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task("", total=total, completed=done)

    def __enter__(self) -> Tally:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def ended(self, line: str) -> None:
        """One more is done; the line says how."""
        if self._bar is not None:
            self._bar.advance(self._task)
        self.say(line)

    def say(self, line: str) -> None:
        """Show a line that stays."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
