"""`labwright predict`: a run's model on new inputs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labwright.base.errors import LabwrightError, nearest
from labwright.base.files import json_text, printable, refuse_links, write_bytes
from labwright.cli.shared import Json, RunFolder, echo, say

if TYPE_CHECKING:
    from labwright.interfaces.task import Attachment, Task
    from labwright.runs.inputs import Reader

SETTINGS = {"ignore_unknown_options": True}  # `--LINE TEXT`: the task says what LINE is
RESERVED = ("set", "on", "explain", "out", "json", "help")
MOST_NAMED = 10  # inputs that can't be read


def verb(
    ctx: typer.Context,
    run: RunFolder,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUTS]...",
            help="Files and folders, or --LINE TEXT where the task takes lines of that name, such as --user 42; "
            "- or nothing reads one a line from stdin.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A setting to change, more than once.")
    ] = None,
    on: Annotated[Path | None, typer.Option(help="Data as the run's, labelled or not: answer for each row.")] = None,
    explain: Annotated[str | None, typer.Option(metavar="METHOD", help="Add what an answer rests on.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where predictions that are files go: RUN/predictions.")] = None,
    as_json: Json = False,
) -> None:
    """Predict for files, folders or lines of stdin; one line each, in their order, with --json as JSON Lines.

    An input that can't be read is told on stderr, and with --json as a line with its `error`; the others are answered,
    and the exit code is 2.

    Example: labwright predict runs/vision-digits-001 photos/ --json > answers.jsonl
    """
    from labwright.interfaces.task import Attachment
    from labwright.runs.load import AT_ONCE, built_from, experiment_of, plain_answer, predictions, reason_of

    experiment = experiment_of(run, ctx.obj.plugins, settings or ())
    built = built_from(run, experiment, overrides=settings or ())
    say(*(f"note: {note}" for note in [*experiment.notes, *built.notes]))
    built.notes.clear()  # for those that come while it predicts
    kept = _Kept(run, out)
    given = [*([] if on is None else [on]), *(inputs or ())] or ["-"]
    at_once = 1 if "-" in given else AT_ONCE  # whoever writes lines may wait for an answer before the next
    failed, count = 0, 0
    answers = predictions(built, _inputs(built.task, given), at_once=at_once, explain=explain)
    for count, (name, answer) in enumerate(answers, 1):  # noqa: B007
        if isinstance(answer, Exception):
            failed += 1
            if failed <= MOST_NAMED:
                say(f"error: {printable(name) or repr(name)}: {printable(reason_of(answer))}")
            if as_json:
                echo(json_text(plain_answer(name, answer)))
            continue
        answer = {key: kept.write(value) if isinstance(value, Attachment) else value for key, value in answer.items()}
        if as_json:
            echo(json_text(plain_answer(name, answer)))
        else:
            _tell(name, answer)
    say(*(f"note: {note}" for note in [*built.notes, *built.task.data.noticed()]))
    if not count:
        raise LabwrightError(f"{on or 'stdin'} held no line: there is nothing to predict for. Give files or folders.")
    if failed:
        if count > 1:
            say(f"{failed:,} of {count:,} inputs couldn't be read.")
        raise typer.Exit(2)


class _Kept:
    """Where predictions that are files go, each under the next number that is free."""

    def __init__(self, run: Path, out: Path | None) -> None:
        self.run, self.folder, self.inside = run, out or run / "predictions", out is None
        self.number = 0

    def write(self, attachment: Attachment) -> str:
        # once, before the first: --out is the person's own choice
        if not self.number and self.inside:
            refuse_links(self.run)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LabwrightError(f"can't write {self.folder}: {error.strerror}. Give a folder with --out.") from error
        while os.path.lexists(file := self.folder / f"{self.number:04d}{attachment.suffix}"):
            self.number += 1
        write_bytes(file, attachment.data)
        return str(file)


def _inputs(task: Task, given: Iterable[str | Path]) -> Iterator[tuple[str, Reader]]:
    """The name of each input, and what reads it; a Path is other data, with an input in each of its rows."""
    from labwright.runs.inputs import of_line, of_path, of_rows

    if (line := task.line) in RESERVED:
        raise LabwrightError(
            f"task {type(task).__name__} calls its lines {line!r}, but --{line} is an option of predict itself; "
            "`line` should be another word."
        )
    waiting = iter(given)
    told = lambda note: say(f"note: {note}"), f" This run takes --{line} TEXT as well."
    for one in waiting:
        if isinstance(one, Path):
            yield from of_rows(task, one, *told)
        elif one == "-":
            yield from (of_line(task, text) for text in _lines())
        elif one.startswith("--"):
            name, equals, text = one.removeprefix("--").partition("=")
            if name != line:
                known = [line, *RESERVED]
                raise LabwrightError(
                    f"predict has no option --{name}{nearest(name, known)} This run takes --{line} TEXT."
                )
            text = text if equals else str(next(waiting, ""))
            # "" too: a line of stdin that is empty is left out as well
            if not text:
                raise LabwrightError(f"--{name} needs a text, such as --{name} TEXT.")
            yield of_line(task, text)
        else:
            yield from of_path(task, one, *told)


def _lines() -> Iterator[str]:
    """The lines of stdin that aren't empty; bytes that are no UTF-8 are kept as those of a file's name are."""
    if sys.stdin is None or sys.stdin.closed:
        return
    if sys.stdin.isatty():
        say("reading lines from the terminal; Ctrl-D ends them.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())


def _tell(name: str, answer: dict[str, Any]) -> None:
    """One line; texts that come in pieces are shown piece by piece."""
    echo(printable(name), nl=False)
    for value in answer.values():
        if isinstance(value, dict):
            continue
        for piece in chain("\t", value if isinstance(value, Iterator) else [_shown(value)]):
            echo(piece, nl=False)
            sys.stdout.flush()
    echo()


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)
