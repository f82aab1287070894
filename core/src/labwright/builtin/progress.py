"""What a person sees of a run while it goes on: a bar on a terminal, plain lines elsewhere. All of it on stderr.

In a notebook that would be red, as if something had failed: there lines are on stdout, below a bar of the cell's.
"""

from __future__ import annotations

import io
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Annotated, Any, cast

from pydantic import Field
from rich.console import Console

from labwright.base.durations import duration
from labwright.base.elsewhere import Absent, brought
from labwright.base.files import mute, printable
from labwright.data.dataset import Data
from labwright.interfaces.run import Outcome, Run
from labwright.interfaces.task import Task, figures, headlines
from labwright.plugin.hookspecs import hookimpl


class Progress:
    """A line that stays for each evaluation; on a terminal a bar below, elsewhere some lines between them.

    The bar comes with labwright-instruments; without it a terminal has the lines.

    Args:
        every: the fewest seconds between two lines that aren't of evaluations, where there is no terminal.
    """

    def __init__(self, *, every: Annotated[float, Field(gt=0)] = 30.0) -> None:
        self.every = every
        self._run: Run | None = None
        self._bar: Any = None
        self._in_cell: Any = None
        self._notes_said = 0

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        self._run, self._first_step, self._begun = run, run.step, time.monotonic()
        self._last_line = self._begun
        self._values: dict[str, float] = {}
        self._speed = ""
        self._widths: dict[str, int] = {}
        self._notes_said = 0
        console = Console(file=_patient())
        with suppress(Absent):  # without it there are lines
            if console.file.isatty() and not console.is_dumb_terminal:
                self._bar = brought("instruments", "TerminalBar")(self._far, self._numbers, run, console)
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
        self._values = dict(values)
        self._speed = f"  {_number(self._values.pop('steps_per_second'))} steps/s"
        if self._bar is self._in_cell is None and time.monotonic() - self._last_line >= self.every:
            self._last_line = time.monotonic()
            self._say("  ".join([f"step {self._far()}", *self._numbers()]))

    @hookimpl
    def labwright_evaluated(self, run: Run, split: str, metrics: Mapping[str, float]) -> None:
        goal, self._last_line = run.task.goal.metric, time.monotonic()
        valid = split == "valid"
        best = valid and metrics.get(goal) == run.best
        parts = [_place(run), *(self._cell(name, loss) for name, loss in run.losses.items() if valid)]
        for number, name in enumerate(headlines(metrics, goal)):
            mark = " best" * (best and name == goal)
            parts.append(self._cell(name if number else f"{split} {name}", metrics[name], mark))
        # such as what is spent of a privacy budget
        parts += [self._cell(*one) for one in self._values.items() if not one[0].startswith(("loss", "lr"))]
        if self._bar is not None:
            self._bar.say_cells(list(map(printable, parts)), best)
        else:
            # a cell's bar says how fast
            self._say("  ".join(parts + self._far().split("  ")[1:] * (valid and self._in_cell is None)).rstrip())
        self._values = {}  # what they say is older now

    @hookimpl(trylast=True)  # once there is a report to be looked at
    def labwright_run_ended(self, run: Run, outcome: Outcome) -> None:
        if self._run is None:  # it never started
            return
        for bar in filter(None, (self._bar, self._in_cell)):
            bar.close()
        self._say_notes(run)
        self._say(*_closing(run, outcome))
        self._run = self._bar = None

    def _say(self, *lines: str) -> None:
        """Show lines that stay."""
        for line in map(printable, lines):
            if self._bar is not None:
                self._bar.say(line)
            else:
                print(line, file=_patient(), flush=True)

    def _say_notes(self, run: Run) -> None:
        """The notes that came since they were said last."""
        self._say(*(f"note: {note}" for note in run.notes[self._notes_said :]))
        self._notes_said = len(run.notes)

    def _far(self) -> str:
        """How far the run is, how fast, and what is left."""
        assert self._run is not None
        step, total = self._run.step, self._run.total_steps
        parts = [f"{step:,}/{total:,}{self._speed}"]
        if self._first_step < step < total:
            left = (time.monotonic() - self._begun) * (total - step) / (step - self._first_step)
            parts.append(f"{duration(left)} left")
        return "  ".join(parts)

    def _numbers(self) -> list[str]:
        """What was logged since the last evaluation."""
        return [printable(f"{name} {_number(value)}") for name, value in self._values.items()]

    def _cell(self, name: str, value: float, mark: str = "") -> str:
        """A number with its name, as wide as the widest of that name so far."""
        text = f"{name} {_number(value, '#')}{mark}"
        self._widths[name] = max(self._widths.get(name, 0), len(text))
        return text.ljust(self._widths[name])


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


def _place(run: Run) -> str:
    """Where a run is, in epochs."""
    epochs = f"{round(run.total_steps / run.steps_per_epoch, 2):g}"
    return f"epoch {f'{round(run.epoch, 2):g}':>{len(epochs)}}/{epochs}"


def _closing(run: Run, outcome: Outcome) -> list[str]:
    """The lines that say how a run ended: status, metrics, folder, next steps."""
    line = f"{outcome.status} after {outcome.step:,} step{'s' * (outcome.step != 1)} in {duration(outcome.seconds)}"
    if outcome.status == "stopped":
        line += f" ({outcome.reason})"
    split = "test" if "test" in outcome.metrics else "valid"
    if split in outcome.metrics:
        line += f": {split} {', '.join(figures(outcome.metrics[split], run.task.goal.metric, _number))}"
        line += f" ({outcome.samples[split]:,} samples)" if split in outcome.samples else ""
    line += f". Everything is in {outcome.folder}"
    if outcome.status == "failed":  # the error itself says how to go on
        return [line]
    folder, report = shlex.quote(str(outcome.folder)), outcome.folder / "report.html"
    if outcome.status == "interrupted":
        return [line, f"Next: labwright resume {folder}"]
    following = [f"open {shlex.quote(str(report))}"] if report.is_file() else []
    data, none = type(run.task.data), (Data.parse, Data.read)
    if type(run.task).predict is not Task.predict and (data.parse, data.read) != none:
        given = "FILE" if run.task.line == "file" else f"--{run.task.line} TEXT"
        following.append(f"labwright predict {folder} {given}")
    return [line, *map("{}{}".format, ["Next: ", "      "], following or [f"labwright evaluate {folder}"])]


def _number(value: float, zeros: str = "") -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:{zeros}.4g}"
