"""`labwright compare`: which of some recipes, runs or trials is really better?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from labwright.cli.shared import Json, print_json, print_table, say

if TYPE_CHECKING:
    from labwright_study.comparing.result import Comparison, Standing


def verb(
    ctx: typer.Context,
    candidates: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CANDIDATE]...",
            help="A recipe, a file that ends in .toml, a :VARIANT of either, a run folder or STUDY/trials/NUMBER; in "
            'quotes "RECIPE field=value" changes it, NAME=CANDIDATE names it. None goes on with those of --folder.',
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many runs of each candidate.")] = 10,
    metric: Annotated[
        str | None, typer.Option(help="Instead of the goal they have in common, as NAME or NAME:minimize.")
    ] = None,
    level: Annotated[float, typer.Option(help="How often a verdict may be a false alarm.")] = 0.05,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A setting to change in all candidates, more than once."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="By default comparisons/NAMES-001 and so on; one that is there is gone on with.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train each candidate with the same seeds, and say which is better, by how much and how sure that is.

    Example: labwright compare vision/digits-mlp "vision/digits-mlp model.dropout=0.5" runs/vision-digits-mlp-001
    studies/digits/trials/0012 --seeds 8 --set train.epochs=5
    """
    from labwright_study.comparing.candidates import check_names

    check_names(candidates or (), ctx.obj.plugins)
    from labwright_study.comparing.comparison import compare

    try:
        result = compare(
            candidates or (),
            seeds,
            metric=metric,
            level=level,
            folder=folder,
            overrides=settings or (),
            plugins=ctx.obj.plugins,
        )
    except KeyboardInterrupt:
        say("interrupted; runs that have finished are kept, and the same command with --folder goes on.")
        raise
    if as_json:
        print_json(result.json())
    else:
        _tell(result)
    if any(standing.failures for standing in result.candidates):
        raise typer.Exit(1)


def _tell(result: Comparison) -> None:
    """Notes on stderr, without a candidate's own, which were said first; means, verdicts, the report on stdout."""
    said = tuple(f"{standing.name}: " for standing in result.candidates)
    say(*(f"note: {note}" for note in result.notes if not note.startswith(said)))
    print_table([_row(standing, result) for standing in result.candidates])
    for sentence in result.sentences():
        typer.echo(sentence)
    typer.echo(f"report: {result.folder / 'report.html'}")


def _row(standing: Standing, result: Comparison) -> tuple[str, ...]:
    mean = "no value" if standing.mean is None else f"{result.split} {result.metric} {standing.mean:.5g}"
    return standing.name, mean, standing.spread(1 - result.level, ".5g")
