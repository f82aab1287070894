"""What a person sees of a study as it goes on: a line for each trial, and a bar on a terminal. All of it on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

import typer
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from labwright_study.report_rows import number
from labwright_study.trial import Result

if TYPE_CHECKING:
    from labwright_study.study import Study
    from labwright_study.trial_store import TrialStore


class Progress:
    """A line for each trial that ended; on a terminal also a bar with the best so far."""

    def __init__(self, study: Study, book: TrialStore, quiet: bool) -> None:
        self.study, self.book, self.quiet = study, book, quiet
        self.done = len(book.ended())
        self.goal = study.goals[0]
        paths = {one.path for one in study.space.dimensions}
        last = [path.rpartition(".")[2] for path in paths]
        self.names = {
            path: path.rpartition(".")[2] if last.count(path.rpartition(".")[2]) == 1 else path for path in paths
        }
        values = [one.values[0] for one in book.ended() if one.state is TrialState.COMPLETE and one.values]
        self.best: float | None = None
        for value in values:
            self._take(value)
        console = Console(stderr=True)
        self.bar: Bar | None = None
        if sys.stderr.isatty() and not console.is_dumb_terminal and not quiet:
            columns = (
                TextColumn("trials"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self.bar = Bar(*columns, console=console)
            self.task = self.bar.add_task(self._summary(), total=study.count, completed=self.done)

    def __enter__(self) -> Progress:
        self.begun = time.monotonic()
        if self.bar is not None:
            self.bar.start()
        if not self.quiet:
            study = self.study
            goals = " and ".join(f"{goal.direction} {goal.metric}" for goal in study.goals)
            there = f", {self.done} are there" if self.done else ""
            how = "asynchronously, which isn't reproducible" if study.asynchronous else f"in batches of {study.batch}"
            self.say(
                f"{study.folder}: {study.count} trials{there}; {goals} over {len(study.space.dimensions)} settings, "
                f"{study.sampler.label} and {study.pruner.label}, {how}"
            )
            for note in study.space.notes:
                self.say(f"note: {note}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def ended(self, trial: FrozenTrial, result: Result) -> None:
        """Show a trial that has ended."""
        self.done += 1
        better = result.state == "complete" and self._take(result.values[0])
        if self.quiet:
            return
        pairs = zip(self.study.goals, result.values, strict=False)
        values = "  ".join(f"{goal.metric} {number(value, 5)}" for goal, value in pairs) or result.reason
        shown = self.study.space.shown(trial.params)
        settings = "  ".join(f"{self.names[path]}={_short(value)}" for path, value in shown.items())
        mark = " (best so far)" if better and len(self.study.goals) == 1 else ""
        self.say(f"trial {trial.number}  {result.state}  {values}{mark}  {result.seconds:.1f} s  {settings}")
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, description=self._summary())

    def _take(self, value: float) -> bool:
        better = self.goal.better(value, self.best)
        self.best = value if better else self.best
        return better

    def _summary(self) -> str:
        return "" if self.best is None else f"best {self.goal.metric} {self.best:.5g}"

    def say(self, line: str) -> None:
        """Show a line that stays."""
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.console.print(line, markup=False, highlight=False)
        else:
            typer.echo(line, err=True)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
