"""For whoever writes a verb: options that verbs have in common, and output as text or JSON.

A verb is a function as Typer takes it, in a module of its own. Results go to stdout and all else to stderr, so that its
`--json` is JSON whatever libraries print:

    def verb(ctx: typer.Context, recipe: RecipeName, overrides: Overrides = None, as_json: Json = False) -> None:
        '''Count the samples of a recipe's data.

        Example: labwright count vision/digits
        '''
        import labwright as lw  # here: what is imported above, `--help` pays for

        experiment = ctx.obj.experiment(recipe, overrides)
        ...
        if as_json:
            print_json(counts)
        else:
            print_table(counts.items())

`ctx.obj.plugins` are the plugins (`lw.Plugins`) as the options before the verb left them. A person's slip is raised as
`lw.LabwrightError`, which ends in its message and exit code 2; `raise typer.Exit(1)` says that something was found.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer

from labwright.base import ranks
from labwright.base.errors import LabwrightError
from labwright.base.files import json_text, mute, printable
from labwright.plugin.lockfile import check
from labwright.plugin.registry import Plugins
from labwright.runs.folder import claim_folder
from labwright.runs.folder import new_folder as new_folder

if TYPE_CHECKING:
    from labwright.interfaces.run import Outcome
    from labwright.interfaces.sections import Section
    from labwright.plugin.discovery import Plugin
    from labwright.runs.experiment import Experiment

# Where results go while stdout is kept for JSON.
_RESULTS: ContextVar[TextIO | None] = ContextVar("results", default=None)


@contextmanager
def results_apart() -> Iterator[None]:
    """While this lasts, stdout is for results: what else is printed, also by processes begun here, goes to stderr."""
    results = sys.stdout
    whole = results is not None and results is sys.__stdout__ and sys.stderr is sys.__stderr__ is not None
    if whole:  # and not captured by whoever called
        results.flush()
        results = os.fdopen(os.dup(1), "w", encoding=results.encoding, errors=results.errors)
        os.dup2(2, 1)
    token = _RESULTS.set(results)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _RESULTS.reset(token)
        if whole:
            os.dup2(results.fileno(), 1)
            with suppress(OSError):  # of what is written, each line was flushed
                results.close()


Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout, all else that is printed on stderr.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/vision-digits-001.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, or a .toml file; NAME:VARIANT.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[FIELD=VALUE]...", help="Settings to change, such as train.epochs=5.")
]
Out = Annotated[Path | None, typer.Option(help="An empty or new folder for a page about it.")]
OtherData = Annotated[bool, typer.Option("--other-data", help="Go on although the samples are not those of the run.")]
Processes = Annotated[int | None, typer.Option("--processes", min=1, help="Of this machine, as torchrun starts them.")]


@dataclass
class Context:
    """What the options before the verb said; `ctx.obj` of every verb, which looks at its `plugins`."""

    blocked: tuple[str, ...]
    local: tuple[Path, ...] = ()
    locked: bool = False

    @cached_property
    def plugins(self) -> Plugins:
        return Plugins.discover(self.blocked, self.local)

    def experiment(self, recipe: str, overrides: Sequence[str] | None = None) -> Experiment:
        """The experiment of a recipe, by its name or in a file; its notes are said. Raises LabwrightError."""
        self.plugins.recipe_file(recipe)  # a misspelt name is answered before torch is imported
        from labwright.runs.experiment import Experiment

        experiment = Experiment.from_recipe(recipe, overrides or (), plugins=self.plugins)
        say(*(f"note: {note}" for note in experiment.notes))
        return experiment

    def announce(self, *, trains: bool) -> None:
        """What a person should know of the plugins before a verb; more of it if it trains. Raises LabwrightError."""
        absent = [one for one in self.plugins.plugins if one.state == "quarantined"] if trains else []
        say(*(f"note: {note}" for note in self.plugins.notes), *map(did_not_load, absent))
        if (self.locked or trains) and (said := check(self.plugins.loaded, refuse=self.locked)):
            say(f"warning: {said}")


def join_or_start(processes: int | None) -> None:
    """Join the processes that torchrun or srun started, or start that many; then this process ends with their code.

    Raises LabwrightError for a number where there are several processes already.
    """
    ranks.join()
    if processes is None:
        return
    if ranks.count() > 1:
        raise LabwrightError(f"--processes {processes}: torchrun or srun has started {ranks.count()} already.")
    if processes > 1:
        _start(processes)


def _start(processes: int) -> NoReturn:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    results = _RESULTS.get()
    if results is not None and sys.stdout is sys.stderr:
        os.dup2(results.fileno(), 1)  # what is stdout to them
    # each has its share of the cores, unless the person says otherwise
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    command = re.sub(r"\0--processes(=|\0)\d+", "", "\0" + "\0".join(sys.argv[1:])).split("\0")[1:]
    options = ["--nproc-per-node", str(processes), "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    options += ["--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1", "--module", "labwright"]
    for name in ("torch.distributed.elastic", "torch.distributed.elastic.agent.server.api", "torch.distributed.run"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a process that fails says why itself
    try:
        run(get_args_parser().parse_args([*options, *command]))  # type: ignore[no-untyped-call]
    except SignalException:  # passed on to them, who have said what became of it
        sys.exit(130)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        sys.exit(code if code > 0 else 128 - code)
    sys.exit(0)


def did_not_load(plugin: Plugin) -> str:
    """The line about a plugin that is set aside."""
    return f"plugin {plugin.name} did not load: {plugin.reason}"


def say(*lines: str, everywhere: bool = False) -> None:
    """Lines for the person, on stderr, such as progress and notes: `say("note: 3 files are left out")`.

    Of several processes that train together the first says them, unless it is to be said `everywhere`. Nobody there to
    read them, as with a full disk, is no reason to end.
    """
    if not (everywhere or ranks.first()):
        return
    try:
        for line in lines:
            typer.echo(_safe(line), err=True)
    except OSError:
        mute(sys.stderr)


def echo(text: str = "", *, nl: bool = True) -> None:
    """Some of the results, on stdout: `echo("4 folds")`. What can't be said in its encoding is escaped.

    Under `--json` only what goes through this and `print_json` reaches stdout; give one of them one value.
    """
    if not ranks.first():
        return
    results = _RESULTS.get() or sys.stdout
    encoding = getattr(results, "encoding", None) or "utf-8"
    typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=nl, file=results)


def _safe(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def print_json(value: Any) -> None:
    """The results of a verb under `--json`: `print_json({"folds": 4})`. NaN and infinities are written as texts."""
    echo(json_text(value, indent=2, default=str))


def print_table(rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Aligned columns, two spaces apart, the last one running free: `print_table([("fold", "loss"), ("1", "0.25")])`.

    On a terminal that is too narrow, cells go on below themselves. Control characters, as in the names of files, are
    spelt out.
    """
    rows = [[_safe(cell) for cell in row] for row in rows]
    if (results := _RESULTS.get() or sys.stdout).isatty():
        from rich import console, padding, table, text

        grid = table.Table.grid(padding=(0, 2, 0, 0))
        for row in rows:
            grid.add_row(*map(text.Text, row))
        console.Console(file=results).print(padding.Padding(grid, (0, 0, 0, len(indent))))
        rows = []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        echo((indent + "  ".join([*cells, row[-1]])).rstrip())


def claim_out(folder: Path) -> None:
    """Make the folder that `--out` names, before work that may be long: `claim_out(Path("page"))`.

    Raises LabwrightError if something is in it or it can't be written.
    """
    ranks.by_first(lambda: claim_folder(folder, of_run=False))


def write_page(folder: Path, title: str, about: str, parts: Mapping[str, Sequence[Section]]) -> None:
    """Write report.html into a folder, a heading for each of the parts, in the frame of a run's report.

    A section that can't be drawn ends in a warning in the log. Of several processes the first writes.

    Example: `write_page(Path("page"), "photos", "120 pictures", {"Sizes": [lw.Table("Sizes", ("side",), [(64,)])]})`
    """
    from labwright.report import page, sections  # which import torch

    if ranks.first():
        of_parts = (
            page.section(heading, page.together(map(sections.card, of_part), "row"))
            for heading, of_part in parts.items()
        )
        page.write(folder, title, (page.heading(title, about, "", "", {}), *of_parts))


def print_outcome(outcome: Outcome, as_json: bool, notes: Sequence[str] = ()) -> None:
    """How a run ended, and the exit code that goes with it: `print_outcome(run.outcome, as_json)`.

    Raises typer.Exit with code 130 for a run that was interrupted.
    """
    if as_json:
        print_json(outcome.json() | {"notes": [*notes, *outcome.notes]})
    else:
        print_metrics(outcome.metrics, outcome.samples)
    if outcome.status == "interrupted":
        say(f"{outcome.reason}; saved. Go on with: labwright resume {outcome.folder}")
        raise typer.Exit(130)


def print_metrics(metrics: Mapping[str, Mapping[str, float]], samples: Mapping[str, int]) -> None:
    """One line for each split: as many digits as tell runs apart, intervals, and on how many samples it was measured.

    Numbers of a table within a table, such as `f1/class/cat`, are for `--json` and the report.

    Example: `print_metrics({"test": {"accuracy": 0.97}}, {"test": 360})`
    """
    from labwright.interfaces.task import figures  # which imports torch

    rows = []
    for split, values in metrics.items():
        numbers = figures(values, "", "{:.5g}".format)
        rows.append((split, "  ".join([*numbers, f"({samples[split]:,} samples)"] if split in samples else numbers)))
    print_table(rows)
