"""`labwright predict`: a run's model on new inputs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labwright.cli.shared import Json, RunFolder, say
from labwright.errors import LabwrightError, nearest

if TYPE_CHECKING:
    from labwright.interfaces import Task

NAME = "predict"
EXAMPLE = "Example: labwright predict runs/vision-digits-001 photos/ --json > answers.jsonl"
SETTINGS = {"ignore_unknown_options": True}  # `--LINE TEXT`: the task says what LINE is


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
    out: Annotated[Path | None, typer.Option(help="Where predictions that are files go: RUN/predictions.")] = None,
    as_json: Json = False,
) -> None:
    """Predict for files, folders or lines of stdin; one line each, with --json as JSON Lines."""
    from labwright.interfaces import Attachment
    from labwright.saved import predictions

    answers = predictions(run, ctx.obj.plugins, lambda task: _inputs(task, inputs or ["-"]), settings or ())
    for number, (name, answer) in enumerate(answers):
        for key, value in answer.items():
            if isinstance(value, Attachment):
                file = (out or run / "predictions") / f"{number:04d}{value.suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(value.data)
                answer[key] = str(file)
        if as_json:
            whole = {key: "".join(value) if isinstance(value, Iterator) else value for key, value in answer.items()}
            typer.echo(json.dumps({"input": name} | whole))
        else:
            _tell(name, answer)


def _inputs(task: Task, given: Iterable[str]) -> Iterator[tuple[str, Any]]:
    waiting = iter(given)
    for one in waiting:
        path = Path(one)
        if one == "-":
            for line in sys.stdin:
                if line.strip():
                    yield line.strip(), task.parse(line.rstrip("\n"))
        elif one.startswith("--"):
            name, equals, text = one.removeprefix("--").partition("=")
            if name != task.line:
                known = [task.line, "set", "out", "json"]
                raise LabwrightError(
                    f"predict has no option --{name}{nearest(name, known)} This run takes --{task.line} TEXT."
                )
            text = text if equals else next(waiting, "")
            if not text:
                raise LabwrightError(f"--{name} needs a text, such as --{name} TEXT.")
            yield text, task.parse(text)
        elif path.is_dir():
            files = task.data.files(path)
            if not files:
                raise LabwrightError(f"the folder {one!r} has no file that {type(task.data).__name__} reads.")
            yield from ((str(file), task.data.read(file)) for file in files)
        elif path.is_file():
            yield one, task.data.read(path)
        else:
            raise LabwrightError(f"there is no file or folder {one!r}. This run takes --{task.line} TEXT as well.")
    say(*(f"note: {note}" for note in task.data.noticed()))


def _tell(name: str, answer: dict[str, Any]) -> None:
    """One line; texts that come in pieces are shown piece by piece."""
    typer.echo(name, nl=False)
    for value in answer.values():
        if isinstance(value, dict):
            continue
        typer.echo("\t", nl=False)
        for piece in value if isinstance(value, Iterator) else [_shown(value)]:
            typer.echo(piece, nl=False)
            sys.stdout.flush()
    typer.echo()


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)
