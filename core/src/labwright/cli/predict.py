"""`labwright predict`: a run's model on new inputs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labwright.cli.shared import Json, RunFolder
from labwright.errors import LabwrightError

if TYPE_CHECKING:
    from labwright.interfaces import Data

NAME = "predict"
EXAMPLE = "Example: labwright predict runs/vision-digits-001 photos/ --json > answers.jsonl"


def verb(
    ctx: typer.Context,
    run: RunFolder,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Files and folders; - or nothing reads one input a line from stdin.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict for files, folders or lines of stdin; one line each, with --json as JSON Lines."""
    from labwright.saved import predictions

    for name, answer in predictions(run, ctx.obj.plugins, lambda data: _inputs(data, inputs or ["-"])):
        if as_json:
            typer.echo(json.dumps({"input": name} | answer))
        else:
            typer.echo(
                f"{name}\t" + "\t".join(_shown(value) for value in answer.values() if not isinstance(value, dict))
            )


def _inputs(data: Data, given: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for one in given:
        path = Path(one)
        if one == "-":
            for line in sys.stdin:
                if line.strip():
                    yield line.strip(), data.parse(line.rstrip("\n"))
        elif path.is_dir():
            files = data.files(path)
            if not files:
                raise LabwrightError(f"the folder {one!r} has no file that {type(data).__name__} reads.")
            yield from ((str(file), data.read(file)) for file in files)
        elif path.is_file():
            yield one, data.read(path)
        else:
            raise LabwrightError(f"there is no file or folder {one!r}.")


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
