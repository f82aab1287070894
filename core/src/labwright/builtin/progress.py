"""What a person sees of a run while it goes on: a bar on a terminal, plain lines elsewhere. All of it on stderr.

In a notebook that would be red, as if something had failed: there lines are on stdout, below a bar of the cell's.
"""

from __future__ import annotations

import atexit
import io
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Annotated, Any, cast

from pydantic import Field
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from labwright.base.durations import duration
from labwright.base.elsewhere import Absent, brought
from labwright.base.files import mute, printable
from labwright.interfaces.run import Outcome, Run
from labwright.interfaces.task import headlines
from labwright.plugin.hookspecs import hookimpl

REFRESHES_PER_SECOND = 4
BAR_WIDTH = 40


class Progress:
    """A bar on a terminal; elsewhere a line for each evaluation, and some between them.

    Args:
        every: the fewest seconds between two lines that aren't of evaluations, where there is no terminal.
    """

    def __init__(self, *, every: Annotated[float, Field(gt=0)] = 30.0) -> None:
        self.every = every
        self._run: Run | None = None
        self._bar: _Bar | None = None
        self._notes_said = 0
        self._in_cell: Any = None

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        self._run, self._first_step, self._begun = run, run.step, time.monotonic()
        self._last_line = self._begun
        self._values: dict[str, float] = {}
        self._metrics = ""
        self._notes_said = 0
        console = Console(file=_patient())
        if console.file.isatty() and not console.is_dumb_terminal:
            self._bar = _Bar(self._speed, self._numbers, run, console)
        with suppress(Absent):
            self._in_cell = brought("instruments", "RunBar")(run) if console.is_jupyter else None
        begun = f"from step {run.step:,} of {run.total_steps:,}" if run.step else f"{run.total_steps:,} steps"
        self._say(f"{run.folder}: {begun} on {run.device}")
        if run.data is not None:
            self._say(f"data: {run.data.line()}")
        self._say_notes(run)

    @hookimpl
    def labwright_logged(self, values: Mapping[str, float]) -> None:
        if self._in_cell is not None:
            self._in_cell.draw(values)
        self._values.update(values)
        if self._bar is None and time.monotonic() - self._last_line >= self.every:
            self._say_step()

    @hookimpl
    def labwright_evaluated(self, run: Run, split: str, metrics: Mapping[str, float]) -> None:
        goal = run.task.goal.metric
        best = " (best so far)" if split == "valid" and metrics.get(goal) == run.best else ""
        self._metrics = f"{split} {_listed(metrics, goal)}{best}"
        if self._bar is None:
            self._say_step()
            self._metrics = ""

    @hookimpl
    def labwright_run_ended(self, run: Run, outcome: Outcome) -> None:
        if self._run is None:  # it never started
            return
        for bar in filter(None, (self._bar, self._in_cell)):
            bar.close()
        self._say_notes(run)
        self._say(_closing(run, outcome))
        self._run = self._bar = None

    def _say(self, line: str) -> None:
        """Show a line that stays."""
        if self._bar is not None:
            self._bar.say(line)
            return
        print(printable(line), file=_patient(), flush=True)

    def _say_step(self) -> None:
        self._last_line = time.monotonic()
        self._say(f"step {self._speed()}  {self._numbers()}")

    def _say_notes(self, run: Run) -> None:
        """The notes that came since they were said last."""
        for note in run.notes[self._notes_said :]:
            self._say(f"note: {note}")
        self._notes_said = len(run.notes)

    def _speed(self) -> str:
        assert self._run is not None
        step, total = self._run.step, self._run.total_steps
        parts = [f"{step:,}/{total:,}"]
        if "steps_per_second" in self._values:
            parts.append(f"{_number(self._values['steps_per_second'])} steps/s")
        if self._first_step < step < total:
            left = (time.monotonic() - self._begun) * (total - step) / (step - self._first_step)
            parts.append(f"{duration(left)} left")
        return "  ".join(parts)

    def _numbers(self) -> str:
        parts = [f"{name} {_number(value)}" for name, value in self._values.items() if name != "steps_per_second"]
        return "  ".join([*parts, self._metrics] if self._metrics else parts)


class _Bar:
    """Two lines that a thread of rich's redraws in place, a few times a second: the loop itself draws nothing."""

    def __init__(self, speed: Callable[[], str], numbers: Callable[[], str], run: Run, console: Console) -> None:
        self.speed, self.numbers, self.run, self.console = speed, numbers, run, console
        shown: dict[str, Any] = {"get_renderable": self._picture, "refresh_per_second": REFRESHES_PER_SECOND}
        self.live = Live(console=console, redirect_stdout=False, redirect_stderr=False, transient=True, **shown)
        self.streams = (sys.stdout, sys.stderr)
        self.live.start()
        if sys.stdout.isatty():  # results in a pipe stay where they are
            sys.stdout = _Above(console, sys.stdout)
        sys.stderr = _Above(console, sys.stderr)
        atexit.register(self.close)  # the cursor comes back even if nobody says that the run has ended

    def say(self, line: str) -> None:
        self.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.live.stop()
        sys.stdout, sys.stderr = self.streams
        atexit.unregister(self.close)

    def _picture(self) -> Group:
        speed = Text(self.speed(), no_wrap=True, overflow="ellipsis")
        room = min(BAR_WIDTH, self.console.width - speed.cell_len - 2)
        line = Table.grid(padding=(0, 2, 0, 0))
        steps, total = self.run.step, self.run.total_steps
        bar = ProgressBar(total, steps, width=max(room, 1), complete_style="cyan", finished_style="green")
        line.add_row(*([bar, speed] if room >= 5 else [speed]))
        return Group(line, Text(self.numbers(), style="dim", no_wrap=True, overflow="ellipsis"))


class _Nowhere(io.TextIOBase):
    """A stream that drops what is written to it, and has nothing to close."""

    def write(self, text: str) -> int:
        return len(text)


class _Patient:
    """A stream to which writing never fails: once it takes no more, as a broken pipe, it leads nowhere."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        self._tried(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._tried(self.stream.flush)

    def _tried(self, action: Callable[[], object]) -> None:
        try:
            action()
        except (OSError, ValueError):
            mute(self.stream)
            self.stream = cast("IO[str]", _Nowhere())


def _patient() -> IO[str]:
    """stderr, or a notebook's stdout, as it is now; a program may have none, or have closed it."""
    stream = sys.stdout if Console().is_jupyter else sys.stderr
    there = stream is not None and not stream.closed
    return cast("IO[str]", _Patient(stream if there else cast("IO[str]", _Nowhere())))


class _Above(FileProxy):
    """A stream whose lines appear above the bar. In a forked process, which has no bar, it is the stream itself."""

    def __init__(self, console: Console, stream: IO[str]) -> None:
        super().__init__(console, stream)
        self.owner = os.getpid()

    def write(self, text: str) -> int:
        return super().write(text) if os.getpid() == self.owner else self.rich_proxied_file.write(text)

    def flush(self) -> None:
        super().flush() if os.getpid() == self.owner else self.rich_proxied_file.flush()


def _closing(run: Run, outcome: Outcome) -> str:
    """The line that says how a run ended: status, metrics, folder, next step."""
    line = f"{outcome.status} after {outcome.step:,} step{'s' * (outcome.step != 1)} in {duration(outcome.seconds)}"
    if outcome.status == "stopped":
        line += f" ({outcome.reason})"
    split = "test" if "test" in outcome.metrics else "valid"
    if split in outcome.metrics:
        line += f": {split} {_listed(outcome.metrics[split], run.task.goal.metric)}"
        line += f" ({outcome.samples[split]:,} samples)" if split in outcome.samples else ""
    line += f". Everything is in {outcome.folder}"
    if outcome.status == "failed":  # the error itself says how to go on
        return line
    verb = "resume" if outcome.status == "interrupted" else "evaluate"
    return line + f". Next: labwright {verb} {shlex.quote(str(outcome.folder))}"


def _listed(metrics: Mapping[str, float], goal: str) -> str:
    """Metrics in words, the goal first."""
    return ", ".join(f"{name} {_number(metrics[name])}" for name in headlines(metrics, goal))


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
