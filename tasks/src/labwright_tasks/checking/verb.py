"""`labwright check-data`: what may be amiss with data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from labwright.cli.shared import Json, Out, claim_out, echo, print_json, print_table, say, write_page

if TYPE_CHECKING:
    from labwright import Data

    from labwright_tasks.checking.look import Look

_NAMED = 10  # samples that are shown of a finding


def verb(
    ctx: typer.Context,
    what: Annotated[str, typer.Argument(metavar="DATA|RECIPE", help="The data of a recipe, or data by its own name.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FIELD=VALUE]...",
            help="Settings of the data to change, such as folder=photos, also written task.data.folder=photos.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="A run, whose model judges the labels of its valid and test parts, or the folder of cross-validate, "
            "whose folds judge all; by default a simple classifier does."
        ),
    ] = None,
    most: Annotated[
        int, typer.Option(min=100, help="Samples that are looked at, drawn at random where there are more.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the folds, and of what is drawn.")] = 0,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Look for duplicates, doubtful labels, damaged and odd samples, rare classes and drift before training.

    The exit code is 1 if something is wrong: a sample in two parts or under two labels, one that can't be read or is no
    sample of anything, a class that can't be learned, 1 % of the labels or more. What is only odd is told, too.

    Examples: labwright check-data vision/digits · labwright check-data vision/image-folder folder=photos --out page
    """
    from labwright_tasks.checking.asked import experiment_over, is_data, prepared
    from labwright_tasks.checking.look import look
    from labwright_tasks.checking.page import parts
    from labwright_tasks.checking.trained_judge import judged_by

    if out is not None:
        claim_out(out)
    if is_data(what, ctx.obj.plugins):
        experiment = experiment_over(what, settings or (), ctx.obj.plugins)
    else:
        written = [given if given.startswith("task.") else f"task.data.{given}" for given in settings or ()]
        experiment = ctx.obj.experiment(what, written)
    data, before = prepared(experiment)
    judge = None if run is None else judged_by(run, data.ports()[1], ctx.obj.plugins, say)
    found = look(data, most=most, seed=seed, say=say, judge=judge, before=before)
    say(*(f"note: {note}" for note in found.notes))
    if out is not None:
        write_page(out, what, found.line(), parts(found, data))
        say(f"page: {out / 'report.html'}")
    if as_json:
        print_json({"data": what} | found.json(data))
    else:
        _tell(found, data)
    if any(finding.wrong for finding in found.findings):
        raise typer.Exit(1)


def _tell(found: Look, data: Data) -> None:
    echo(found.line())
    for check, sought in found.sought.items():
        findings = [finding for finding in found.findings if finding.check == check]
        skipped = f"not looked for, as {found.skipped[check]}" if check in found.skipped else "nothing found"
        echo(f"\n{check}: {sought}" + ("" if findings else f": {skipped}"))
        for finding in findings:
            echo(f"  {'wrong' if finding.wrong else 'look'}: {finding.sentence}")
            details = finding.details or ("",) * len(finding.samples)
            shown = [*zip(finding.samples, details, strict=True)][:_NAMED]
            print_table([(data.place(*sample), detail) for sample, detail in shown], indent="    ")
            if len(finding.samples) > _NAMED:
                echo(f"    and {len(finding.samples) - _NAMED:,} more; --json has them all")
