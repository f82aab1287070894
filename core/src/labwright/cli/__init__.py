"""The command line: one file for each verb, which parses, calls and prints. Only verbs that need torch import it.

Exit codes: 0 done; 1 a run failed, a check found something or a resumption wasn't exact; 2 the input needs mending;
130 interrupted, with the run saved, by Ctrl-C or a signal that asks for an end.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from labwright.cli import (
    compare,
    doctor,
    evaluate,
    export,
    listing,
    new,
    plugins,
    predict,
    resume,
    run,
    schema,
    show,
    study,
    tune,
    verify_resume,
    worker,
)
from labwright.cli.shared import Context, say
from labwright.errors import LabwrightError, RunFailed
from labwright.files import mute
from labwright.settings import working_folder

EXIT_CODES = "Exit codes: 0 done, 1 a run failed or a check found something, 2 mend the input, 130 interrupted."
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)  # of a stream that takes no more

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Example: labwright run vision/digits train.epochs=2. {EXIT_CODES}",
)

TRAINING = (run, resume, evaluate, predict, export, tune, worker, compare, verify_resume)
VERBS = (
    *(run, resume, evaluate, predict, export),
    *(tune, study, worker, compare),
    *(listing, show, plugins, new, doctor, schema, verify_resume),
)
for verb in VERBS:
    app.command(verb.NAME, epilog=verb.EXAMPLE, context_settings=getattr(verb, "SETTINGS", None))(verb.verb)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"labwright {version('labwright')}")
        raise typer.Exit


@app.callback()
def labwright(
    ctx: typer.Context,
    no_plugin: Annotated[
        list[str] | None, typer.Option(help="Leave a plugin out; may be given more than once.")
    ] = None,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="Use a Python file as a plugin, too; may be given more than once.")
    ] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="Refuse plugins that aren't those of labwright.lock.")
    ] = False,
    _version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Deep-learning research on PyTorch: plugins, exact runs, kind errors."""
    working_folder()  # libraries crash where there is none
    trains = ctx.invoked_subcommand in {verb.NAME for verb in TRAINING}
    ctx.obj = Context(tuple(no_plugin or ()), tuple(plugin or ()), locked, trains)


def main() -> None:
    """Run the command line; a user's slip is one message on stderr and exit code 2, a failed run exit code 1."""
    try:
        app()
    except LabwrightError as error:
        say(f"error: {error}")
        sys.exit(1 if isinstance(error, RunFailed) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:  # a file or folder, where nobody said it better
            say(f"error: {error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
            sys.exit(2)
        mute(sys.stdout)
        say(f"error: the results can't be written: {error.strerror}.")
        sys.exit(1)
