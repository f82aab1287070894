"""What a person sees of a run while it goes on: a bar on a terminal, plain lines elsewhere. All of it on stderr."""

from __future__ import annotations

import atexit
import os
import shlex
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Annotated, Any, cast

from pydantic import Field
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from labwright.base.durations import duration
from labwright.base.files import mute, printable
from labwright.interfaces.run import Outcome, Run
from labwright.plugin.hookspecs import hookimpl

REFRESHES_PER_SECOND = 4
BAR_WIDTH = 40


class Progress:
    """A bar on a terminal; elsewhere a line for each evaluation, and between them one every `every` seconds at most."""

    def __init__(self, *, every: Annotated[float, Field(gt=0)] = 30.0) -> None:
        self.every = every
        self._display: _Display | None = None
        self._said = 0

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        state = _State(run, run.step, time.monotonic())
        console = Console(file=cast("IO[str]", _Patient(sys.stderr)))
        on_terminal = console.file.isatty() and not console.is_dumb_terminal
        self._display = _Bar(state, console) if on_terminal else _Lines(state, self.every)
        begun = f"from step {run.step:,} of {run.total_steps:,}" if run.step else f"{run.total_steps:,} steps"
        self._display.say(f"{run.folder}: {begun} on {run.device}")
        if run.data is not None:
            self._display.say(f"data: {run.data.line()}")
        for note in run.notes:
            self._display.say(f"note: {note}")
        self._said = len(run.notes)

    @hookimpl
    def labwright_logged(self, values: Mapping[str, float]) -> None:
        assert self._display is not None
        self._display.state.values.update(values)
        self._display.moved()

    @hookimpl
    def labwright_evaluated(self, run: Run, split: str, metrics: Mapping[str, float]) -> None:
        assert self._display is not None
        goal = run.task.goal.metric
        best = " (best so far)" if split == "valid" and metrics.get(goal) == run.best else ""
        self._display.state.metrics = f"{split} {_listed(metrics, goal)}{best}"
        self._display.evaluated()

    @hookimpl
    def labwright_run_ended(self, run: Run, outcome: Outcome) -> None:
        if self._display is not None:
            self._display.close()
            for note in run.notes[self._said :]:
                self._display.say(f"note: {note}")
            self._display.say(_closing(run, outcome))
            self._display = None


@dataclass
class _State:
    """What is known of the run, for a display to show; `run.step` moves with every step."""

    run: Run
    first: int
    begun: float
    values: dict[str, float] = field(default_factory=dict)
    metrics: str = ""

    def speed(self) -> str:
        step, total = self.run.step, self.run.total_steps
        parts = [f"{step:,}/{total:,}"]
        if "steps_per_second" in self.values:
            parts.append(f"{_number(self.values['steps_per_second'])} steps/s")
        if self.first < step < total:
            left = (time.monotonic() - self.begun) * (total - step) / (step - self.first)
            parts.append(f"{duration(left)} left")
        return "  ".join(parts)

    def numbers(self) -> str:
        parts = [f"{name} {_number(value)}" for name, value in self.values.items() if name != "steps_per_second"]
        return "  ".join([*parts, self.metrics] if self.metrics else parts)


class _Display(ABC):
    def __init__(self, state: _State) -> None:
        self.state = state

    def moved(self) -> None:
        """New numbers of training are in the state."""

    def evaluated(self) -> None:
        """New metrics are in the state."""

    def close(self) -> None:
        """Nothing more will move."""

    @abstractmethod
    def say(self, line: str) -> None:
        """Show a line that stays."""


class _Lines(_Display):
    def __init__(self, state: _State, every: float) -> None:
        super().__init__(state)
        self.every = every
        self.last = state.begun

    def moved(self) -> None:
        if time.monotonic() - self.last >= self.every:
            self._tell()

    def evaluated(self) -> None:
        self._tell()
        self.state.metrics = ""

    def say(self, line: str) -> None:
        stream = _Patient(sys.stderr)
        stream.write(printable(line) + "\n")
        stream.flush()

    def _tell(self) -> None:
        self.last = time.monotonic()
        self.say(f"step {self.state.speed()}  {self.state.numbers()}")


class _Bar(_Display):
    """Two lines that a thread of rich's redraws in place, a few times a second: the loop itself draws nothing."""

    def __init__(self, state: _State, console: Console) -> None:
        super().__init__(state)
        self.console = console
        self.live = Live(
            get_renderable=self._picture,
            console=console,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
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
        run, width = self.state.run, self.console.width
        speed = Text(self.state.speed(), no_wrap=True, overflow="ellipsis")
        room = min(BAR_WIDTH, width - speed.cell_len - 2)
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(run.total_steps, run.step, width=max(room, 1), complete_style="cyan", finished_style="green")
        line.add_row(*([bar, speed] if room >= 5 else [speed]))
        return Group(line, Text(self.state.numbers(), style="dim", no_wrap=True, overflow="ellipsis"))


class _Patient:
    """A stream to which writing never fails: once it takes no more, as a broken pipe, it leads nowhere."""

    def __init__(self, stream: IO[str] | None) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def isatty(self) -> bool:
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:  # it is closed
            return False

    def write(self, text: str) -> int:
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def _try(self, action: Callable[[IO[str]], object]) -> None:
        if self.stream is not None:
            try:
                action(self.stream)
            except (OSError, ValueError):
                mute(self.stream)
                self.stream = None


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
    names = sorted(metrics, key=lambda name: name != goal)
    return ", ".join(f"{name} {_number(metrics[name])}" for name in names)


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
