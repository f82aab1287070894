"""`labwright completion`: what a shell has to know to complete verbs, names, settings and values."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer
from labwright import LabwrightError, nearest
from labwright.cli.shared import Json, echo, print_json

from labwright_instruments.completion.scripts import SCRIPTS


def verb(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish")], as_json: Json = False) -> None:
    """Print the script with which a shell completes what follows `labwright`; put the line into its start-up file.

    In ~/.bashrc or ~/.zshrc it is `eval "$(labwright completion bash)"`, or zsh; in ~/.config/fish/config.fish
    `labwright completion fish | source`.

    Example: labwright completion bash
    """
    if shell not in SCRIPTS:
        raise LabwrightError(f"no script for {shell!r}{nearest(shell, SCRIPTS)} There are {', '.join(SCRIPTS)}.")
    script = SCRIPTS[shell].strip().replace("@PYTHON@", shlex.quote(sys.executable))
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        echo(script)
