"""`labwright predict`: a run's model on new inputs."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labwright.base.errors import LabwrightError, nearest
from labwright.base.files import json_text, printable, refuse_links, write_bytes
from labwright.cli.shared import Json, RunFolder, echo, say

if TYPE_CHECKING:
    from labwright.interfaces.task import Attachment, Task

SETTINGS = {"ignore_unknown_options": True}  # `--LINE TEXT`: the task says what LINE is
AT_ONCE = 64  # files that are read before they are answered together
RESERVED = ("set", "on", "explain", "out", "json", "help")
MOST_NAMED = 10  # inputs that can't be read

Reader = Callable[[], Any]


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
    from labwright.runs.load import built_from, experiment_of, predictions

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
            reason = str(answer) if isinstance(answer, LabwrightError) else f"{type(answer).__name__}: {answer}"
            if failed <= MOST_NAMED:
                say(f"error: {printable(name)}: {printable(reason)}")
            if as_json:
                echo(json_text({"input": name, "error": reason}))
            continue
        answer = {key: kept.write(value) if isinstance(value, Attachment) else value for key, value in answer.items()}
        if as_json:
            whole = {key: "".join(value) if isinstance(value, Iterator) else value for key, value in answer.items()}
            echo(json_text({"input": name} | whole))
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
    if (line := task.line) in RESERVED:
        raise LabwrightError(
            f"task {type(task).__name__} calls its lines {line!r}, but --{line} is an option of predict itself; "
            "`line` should be another word."
        )
    waiting = iter(given)
    for one in waiting:
        path = Path(one)
        if isinstance(one, Path):
            rows = task.inputs(one)
            yield from _inputs(task, [str(one)]) if rows is None else rows
        elif one == "-":
            for line in _lines():
                yield line.strip(), partial(_parsed, task, line)
        elif one.startswith("--"):
            name, equals, text = one.removeprefix("--").partition("=")
            if name != task.line:
                known = [task.line, *RESERVED]
                raise LabwrightError(
                    f"predict has no option --{name}{nearest(name, known)} This run takes --{task.line} TEXT."
                )
            text = text if equals else str(next(waiting, ""))
            # "" too: a line of stdin that is empty is left out as well
            if not text:
                raise LabwrightError(f"--{name} needs a text, such as --{name} TEXT.")
            yield text, partial(_parsed, task, text)
        elif path.is_dir():
            files = task.data.files(path)
            left_out = _left_out(path, files)
            if not files:
                reads = f"it has no file that {type(task.data).__name__} reads"
                yield one, partial(_refuse, f"{reads}; it has {left_out}." if left_out else f"{reads}: it is empty.")
            elif left_out:
                say(f"note: {printable(one)}: {len(files):,} files read; left out: {left_out}.")
            yield from ((str(file), partial(task.data.read, file)) for file in files)
        else:
            yield one, partial(_read, task, path)


def _lines() -> Iterator[str]:
    """The lines of stdin that aren't empty; bytes that are no UTF-8 are kept as those of a file's name are."""
    if sys.stdin is None or sys.stdin.closed:
        return
    if sys.stdin.isatty():
        say("reading lines from the terminal; Ctrl-D ends them.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())


def _refuse(why: str) -> None:
    raise LabwrightError(why)


def _read(task: Task, path: Path) -> Any:
    _check_file(path, f" This run takes --{task.line} TEXT as well.")
    return task.data.read(path)


def _parsed(task: Task, line: str) -> Any:
    if task.line == "file":
        _check_file(Path(line))
    return task.parse(line)


def _check_file(path: Path, more: str = "") -> None:
    """Raises LabwrightError if there is no file, or one that never ends: a device, pipe or socket."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabwrightError(f"there is no file or folder {str(path)!r} to read: {reason}.{more}") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket; `-` reads lines from stdin"
        raise LabwrightError(f"{str(path)!r} is no file but {what}.")


def _left_out(folder: Path, files: Iterable[Path]) -> str:
    """What of a folder isn't among the files that are read: endings, hidden files, links to folders, in words."""
    # a link to a folder counts as followed where one of the files was reached through it
    read = set(files)
    followed = {parent for file in read for parent in file.parents}
    found: Counter[str] = Counter()
    for place, folders, names in os.walk(folder, onerror=lambda _: found.update(["folders that can't be read"])):
        links = (path for name in folders if (path := Path(place, name)).is_symlink())
        found.update("links to folders" for path in links if path not in followed)
        for path in (Path(place, name) for name in names):
            if path not in read:
                hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
                found["hidden" if hidden else path.suffix.lower() or "without an ending"] += 1
    return ", ".join(f"{count:,} {printable(what)}" for what, count in found.most_common())


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
