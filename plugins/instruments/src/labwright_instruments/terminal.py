"""The bar of a run on a terminal: the logger `progress` has it drawn where there is one."""

from __future__ import annotations

import atexit
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import IO, Any

from labwright import Run
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

REFRESHES_PER_SECOND = 4
BAR_WIDTH = 40


class TerminalBar:
    """Two lines that a thread of rich's redraws in place, a few times a second: the loop itself draws nothing.

    Args:
        far: how far the run is, how fast, and what is left.
        numbers: what was logged last, a cell each.
        run: the run.
        console: where it is drawn.
    """

    def __init__(self, far: Callable[[], str], numbers: Callable[[], list[str]], run: Run, console: Console) -> None:
        self.far, self.numbers, self.run, self.console = far, numbers, run, console
        shown: dict[str, Any] = {"get_renderable": self._picture, "refresh_per_second": REFRESHES_PER_SECOND}
        self.live = Live(console=console, redirect_stdout=False, redirect_stderr=False, transient=True, **shown)
        self.streams = (sys.stdout, sys.stderr)
        self.live.start()
        if sys.stdout.isatty():  # results in a pipe stay where they are
            sys.stdout = _Above(console, sys.stdout)
        sys.stderr = _Above(console, sys.stderr)
        atexit.register(self.close)  # the cursor comes back even if nobody says that the run has ended

    def say(self, text: str) -> None:
        """A line that stays."""
        whole = text.startswith(("Next: ", "      "))  # a command, to be copied
        self.console.print(text, markup=False, highlight=False, soft_wrap=whole)

    def say_cells(self, cells: Sequence[str], best: bool) -> None:
        """Cells beside each other that stay, in as many lines as they need."""
        style = "bold" if best else ""
        self.console.print(_lines(cells, self.console.width), style=style, markup=False, highlight=False)

    def close(self) -> None:
        """Take the bar away."""
        self.live.stop()
        sys.stdout, sys.stderr = self.streams
        atexit.unregister(self.close)

    def _picture(self) -> Group:
        far = Text(self.far())
        room = min(BAR_WIDTH, self.console.width - far.cell_len - 2)
        line = Table.grid(padding=(0, 2, 0, 0))
        steps, total = self.run.step, self.run.total_steps
        bar = ProgressBar(total, steps, width=max(room, 1), complete_style="cyan", finished_style="green")
        line.add_row(*([bar, far] if room >= 5 else [far]))
        numbers = self.numbers() if steps < total else ["evaluating and reporting"]
        return Group(line, Text(_lines(numbers, self.console.width), style="dim"))


class _Above(FileProxy):
    """A stream whose lines appear above the bar. In a forked process, which has no bar, it is the stream itself."""

    def __init__(self, console: Console, stream: IO[str]) -> None:
        super().__init__(console, stream)
        self.owner = os.getpid()

    def write(self, text: str) -> int:
        return super().write(text) if os.getpid() == self.owner else self.rich_proxied_file.write(text)

    def flush(self) -> None:
        super().flush() if os.getpid() == self.owner else self.rich_proxied_file.flush()


def _lines(cells: Sequence[str], width: int) -> str:
    """Cells beside each other, each in one piece, in as many lines as they need; those after the first are indented."""
    whole = "  ".join(cell.replace(" ", "\xa0") for cell in cells)
    return textwrap.fill(whole, width, subsequent_indent="    ", break_on_hyphens=False).replace("\xa0", " ")
