"""`labwright worker`: join a study from this or another machine."""

from __future__ import annotations

from typing import Annotated

import typer
from labwright.cli.shared import Json

from labwright_study.verbs.tune import tell


def verb(
    ctx: typer.Context,
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")],
    storage: Annotated[str, typer.Option(help="The URL that `tune` was given; a journal's by default.")] = "",
    workers: Annotated[int, typer.Option(help="Processes that train side by side.")] = 1,
    as_json: Json = False,
) -> None:
    """Run trials of a study that `labwright tune --asynchronous` began, until it has all it asked for.

    A machine that is lost keeps its trials for a minute, or what `tune --lease` was given; then another machine runs
    them again, and they count once.

    Example: labwright worker vision-digits --storage postgresql+psycopg://user@host/studies
    """
    from labwright_study.joining import joined

    tell(joined(study, storage, ctx.obj.plugins, workers=workers).run(), as_json)
