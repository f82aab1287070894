"""`labwright chat`: a conversation with a run's language model, on a terminal or line by line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from labwright import LabwrightError, nearest
from labwright.cli.shared import Json, RunFolder, echo, say

COMMANDS = ("/reset", "/quit")


def verb(
    ctx: typer.Context,
    run: RunFolder,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="How answers are written, such as temperature=0; repeatable."),
    ] = None,
    system: Annotated[str | None, typer.Option(help="A message that stands before the conversation.")] = None,
    as_json: Json = False,
) -> None:
    """Talk with the language model of a run: what it writes to each of your lines is shown as it comes.

    /reset begins anew, /quit or Ctrl-D ends, Ctrl-C stops an answer. A run of nlp/instructions is asked by the template
    it was trained with; of any other the model goes on with your text. Lines can be piped in; --json gives a line of
    JSON for each. It runs on the CPU.

    Example: labwright chat runs/instructions --set temperature=0.7 --set top_p=0.9
    """
    import labwright as lw

    from labwright_nlp.talking import Talk, sampling

    loaded = lw.load(run, plugins=ctx.obj.plugins)
    say(*(f"note: {note}" for note in loaded.notes))
    talk = Talk(loaded.task, loaded.model, system)
    talk.how = sampling(talk.how, settings or (), talk.task.settable)
    say(talk.about)
    failed = False
    for line in _lines():
        if line.startswith("/"):
            if line == "/quit":
                break
            if line == "/reset":
                talk.reset()
                say("begun anew.")
            else:
                say(f"there is no command {line!r}{nearest(line, COMMANDS)} There are /reset and /quit.")
            continue
        try:
            _answer(talk, line, as_json)
        except LabwrightError as error:
            failed = True
            say(f"error: {error}")
            if as_json:
                echo(json.dumps({"input": line, "error": str(error)}))
    if failed and not sys.stdin.isatty():
        raise typer.Exit(2)


def _answer(talk: object, line: str, as_json: bool) -> None:
    """Show an answer, piece by piece or as a line of JSON; Ctrl-C stops it, and what was written stays."""
    from labwright_nlp.talking import Talk

    assert isinstance(talk, Talk)
    pieces: list[str] = []
    try:
        for piece in talk.answer(line):
            pieces.append(piece)
            if not as_json:
                echo(piece, nl=False)
                sys.stdout.flush()
    except KeyboardInterrupt:
        say("", "stopped; Ctrl-D or /quit ends.")
    finally:
        say(*talk.noticed())
    echo(json.dumps({"input": line, "answer": "".join(pieces)}, ensure_ascii=False) if as_json else "")


def _lines() -> Iterator[str]:
    """What a person types, or the lines of stdin, without those that are empty."""
    if not sys.stdin.isatty():
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # a line of other bytes is told, as one of several
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    import readline  # noqa: F401 - with it `input` can be edited, and knows earlier lines

    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            echo()
            return
        except KeyboardInterrupt:
            say("", "Ctrl-D or /quit ends.")
            continue
        if line:
            yield line
