"""What a person sees of many runs as they end: a bar on a terminal, a line for each elsewhere. All of it on stderr.

In a notebook, where that would be red, lines are on stdout, below a bar of the cell's.

A run's own display is the core's: it moves with every step, and is about one run.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any

import typer
from labwright.engine import brought
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from labwright_study.description import Description
from labwright_study.report.rows import number
from labwright_study.trial import Result


class Tally:
    """Counts what has ended: `with Tally("runs", 20, done=3) as tally: tally.say("..."); tally.ended("...")`.

    `summary` stands at the end of the bar.
    """

    def __init__(self, noun: str, total: int, done: int = 0, summary: str = "", *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Progress | None = None
        self._done = done
        self._in_cell: Any = None
        console = Console(stderr=True)
        if sys.stderr.isatty() and not console.is_dumb_terminal and not quiet:
            columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}")
            self._bar = Progress(TextColumn(noun), *columns, console=console)
            self._task = self._bar.add_task(summary, total=total, completed=done)
        if console.is_jupyter and not quiet:
            with suppress(ImportError):
                self._in_cell = brought("instruments", "Bar")(total, done, summary)

    def __enter__(self) -> Tally:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._in_cell is not None:
            self._in_cell.close()

    def ended(self, line: str, summary: str = "") -> None:
        """One more is done; the line says how."""
        self.say(line)
        self._done += 1
        if self._in_cell is not None:
            self._in_cell.draw(self._done, summary)
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=summary)

    def say(self, line: str) -> None:
        """Show a line that stays."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            say(line)


def say(line: str) -> None:
    """A line for the person, on stderr; in a notebook on stdout."""
    typer.echo(line, err=not Console().is_jupyter)


class TrialProgress:
    """A study's tally, with a line for each trial that ended and the best value so far.

    `ended` are the trials that are there already.
    """

    def __init__(self, study: Description, ended: Iterable[FrozenTrial], *, quiet: bool) -> None:
        self.study, self.goal = study, study.goals[0]
        ended = list(ended)
        self.done = len(ended)
        self.best: float | None = None
        for trial in ended:
            if trial.state is TrialState.COMPLETE:
                self._is_best(trial.values[0])
        paths = {dimension.path for dimension in study.space.dimensions}
        last = Counter(map(_last, paths))
        self.names = {path: _last(path) if last[_last(path)] == 1 else path for path in paths}
        self.tally = Tally("trials", study.trials, self.done, self._summary(), quiet=quiet)

    def __enter__(self) -> TrialProgress:
        self.tally.__enter__()
        study = self.study
        there = f", {self.done} are there" if self.done else ""
        how = "asynchronously, which isn't reproducible" if study.asynchronous else f"in batches of {study.batch}"
        self.say(
            f"{study.folder}: {study.trials} trials{there}; {study.goals_in_words()} over "
            f"{len(study.space.dimensions)} settings, {study.sampler} and {study.pruner}, {how}"
        )
        for note in study.space.notes:
            self.say(f"note: {note}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tally.__exit__(kind, error, trace)

    def ended(self, trial: FrozenTrial, result: Result) -> None:
        """Show a trial that has ended."""
        is_best = result.state == "complete" and self._is_best(result.values[0])
        mark = " (best so far)" if is_best and len(self.study.goals) == 1 else ""
        goals = zip(self.study.goals, result.values, strict=False)
        values = "  ".join(f"{goal.metric} {number(value, 5)}" for goal, value in goals) or result.reason
        shown = self.study.space.shown(trial.params)
        settings = "  ".join(f"{self.names[path]}={_short(value)}" for path, value in shown.items())
        line = f"trial {trial.number}  {result.state}  {values}{mark}  {result.seconds:.1f} s  {settings}"
        self.tally.ended(line, self._summary())

    def say(self, line: str) -> None:
        """Show a line that stays."""
        self.tally.say(line)

    def _is_best(self, value: float) -> bool:
        """Whether a value is the best so far; it is remembered then."""
        better = self.goal.better(value, self.best)
        self.best = value if better else self.best
        return better

    def _summary(self) -> str:
        return "" if self.best is None else f"best {self.goal.metric} {self.best:.5g}"


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
