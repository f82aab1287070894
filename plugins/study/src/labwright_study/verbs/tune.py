"""`labwright tune`: search for better settings of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from labwright import LabwrightError
from labwright.cli.shared import Json, Overrides, RecipeName, print_json, print_table, say
from labwright.config.recipe import parsed

if TYPE_CHECKING:
    from labwright_study.confirm import Confirmation
    from labwright_study.study import Found


Name = Annotated[str | None, typer.Option(help="The study's name; by default the recipe's. The same one goes on.")]
Storage = Annotated[
    str | None, typer.Option(help="journal:FILE, grpc://HOST:PORT, sqlite:///FILE, postgresql+psycopg://...")
]


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    trials: Annotated[int, typer.Option(help="How many, with those that are there already.")] = 50,
    workers: Annotated[int, typer.Option(help="Processes that train side by side.")] = 1,
    search: Annotated[
        list[str] | None,
        typer.Option(help="Where to look: model.width='{low=32,high=256,log=true}', or a list. May be given again."),
    ] = None,
    fix: Annotated[list[str] | None, typer.Option(help="What isn't searched: a path or pattern.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Search nothing but this: a path or pattern.")] = None,
    goal: Annotated[
        list[str] | None, typer.Option(help="A metric of `valid`, `parameters` or `step_seconds`, as NAME[:minimize].")
    ] = None,
    sampler: Annotated[
        str, typer.Option(help="See `labwright list samplers`; or a table, '{name=\"tpe\",startup=20}'.")
    ] = "tpe",
    pruner: Annotated[
        str | None, typer.Option(help="See `labwright list pruners`; median if there is one goal.")
    ] = None,
    name: Name = None,
    storage: Storage = None,
    seed: Annotated[int, typer.Option(help="Of the study: the same seed gives the same trials.")] = 0,
    batch: Annotated[int, typer.Option(help="Trials that are asked for at once.")] = 8,
    threads: Annotated[int, typer.Option(help="CPU threads of a trial.")] = 1,
    asynchronous: Annotated[
        bool,
        typer.Option("--asynchronous", help="Ask as workers become free: faster, not reproducible; others may join."),
    ] = False,
    lease: Annotated[
        float, typer.Option(min=1, help="Seconds after which a machine that isn't heard of has lost its trials.")
    ] = 60.0,
    fuse: Annotated[
        str, typer.Option(help="auto: trials that differ in rates and the like as one program, if faster.")
    ] = "none",
    confirm: Annotated[int, typer.Option(help="Run so many of the best again over fresh seeds.")] = 0,
    seeds: Annotated[int, typer.Option(help="How many fresh seeds, for --confirm.")] = 5,
    as_json: Json = False,
) -> None:
    """Search for better settings of a recipe: pruned, in parallel, reproducible. The same command goes on.

    Overrides hold for all trials, and what they set isn't searched. The first trial is the recipe itself, unless the
    sampler is `grid`, and its own values are searched too.

    Example: labwright tune vision/digits-mlp task.data.valid=0.2 --trials 20 --workers 2
    """
    if not recipe.endswith(".toml"):
        ctx.obj.plugins.recipe(recipe)  # a misspelt name is answered before torch is imported
    from labwright import Experiment

    from labwright_study import ranks
    from labwright_study.study import Study

    experiment = Experiment.from_recipe(recipe, overrides or (), plugins=ctx.obj.plugins)
    say(*(f"note: {note}" for note in experiment.notes))
    pinned = [text.partition("=")[0] for text in overrides or ()]
    study = Study(
        experiment,
        trials,
        name=name,
        storage=storage,
        search=assignments(search or ()) | ({"only": only} if only else {}),
        fixed=[*(fix or ()), *(path for path in pinned if path in experiment.marks())],
        goals=goal or (),
        sampler=parsed(sampler),
        pruner=None if pruner is None else parsed(pruner),
        workers=workers,
        threads=threads,
        batch=batch,
        seed=seed,
        asynchronous=asynchronous,
        fuse=fuse,  # type: ignore[arg-type]  # it is checked there
        lease=lease,
    )
    if min(confirm, seeds) < 0 or (confirm and not seeds):
        raise LabwrightError(f"given --confirm {confirm} and --seeds {seeds}; they are numbers of trials and of seeds.")
    found = study.run()
    if ranks.follows():
        return
    again = study.confirm(confirm, seeds) if confirm and not found.interrupted else None
    tell(found, as_json, again)


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """`path=value` texts as a table. Raises LabwrightError for one that is no assignment."""
    table = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not value:
            raise LabwrightError(
                f"--search {text!r}: write PATH=RANGE, such as optimizer.lr='{{low=1e-4,high=1e-1,log=true}}'."
            )
        table[path.strip()] = parsed(value.strip())
    return table


def tell(found: Found, as_json: bool, again: Confirmation | None = None) -> None:
    """What a study has come to, and the exit code that goes with it."""
    from labwright_study.report_rows import number

    if as_json:
        print_json(found.json() | ({} if again is None else {"confirmed": again.json()}))
    else:
        typer.echo(f"{found.trials} trials: {found.counts()}; in {found.folder}")
        for one in found.best:
            values = "  ".join(f"{key} {number(value, 5)}" for key, value in one["values"].items())
            typer.echo(f"best: trial {one['number']}  {values}")
            if len(found.best) == 1:
                print_table([(path, str(value)) for path, value in one["settings"].items()], indent="  ")
        if len(found.best) > 1:
            typer.echo(f"their recipes: {found.folder}/front")
        if again is not None:
            typer.echo("\n".join(again.lines()))
        if (found.folder / "report.html").is_file():
            typer.echo(f"report: {found.folder / 'report.html'}")
    if found.interrupted or (again is not None and again.interrupted):
        say("interrupted; the same command goes on.")
        raise typer.Exit(130)
