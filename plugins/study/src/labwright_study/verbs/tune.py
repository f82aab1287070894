"""`labwright tune`: search for better settings of a recipe."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from labwright import LabwrightError
from labwright.cli.shared import (
    Json,
    Overrides,
    Processes,
    RecipeName,
    echo,
    join_or_start,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from labwright_study.confirm import Confirmation
    from labwright_study.findings import Findings
    from labwright_study.study import Study

# The options, in the order in which --help shows them.
Trials = Annotated[int, typer.Option(help="How many, with those that are there already.")]
Workers = Annotated[int, typer.Option(help="Processes that train side by side.")]
On = Annotated[
    str | None, typer.Option(help="A cluster that they run on: ray, ray://HOST:PORT, or a table; labwright-cluster's.")
]
Search = Annotated[
    list[str] | None,
    typer.Option(help="Where to look: model.width='{low=32,high=256,log=true}', or a list. May be given again."),
]
Fix = Annotated[list[str] | None, typer.Option(help="What isn't searched: a path or pattern.")]
Only = Annotated[list[str] | None, typer.Option(help="Search nothing but this: a path or pattern.")]
Goals = Annotated[
    list[str] | None, typer.Option(help="A metric of `valid`, `parameters` or `step_seconds`, as NAME[:minimize].")
]
Sampler = Annotated[str, typer.Option(help="See `labwright list samplers`; or a table, '{name=\"tpe\",startup=20}'.")]
Pruner = Annotated[str | None, typer.Option(help="See `labwright list pruners`; median if there is one goal.")]
Name = Annotated[str | None, typer.Option(help="The study's name; by default the recipe's. The same one goes on.")]
Storage = Annotated[
    str | None, typer.Option(help="journal:FILE, grpc://HOST:PORT, sqlite:///FILE, postgresql+psycopg://...")
]
Seed = Annotated[int, typer.Option(help="Of the study: the same seed gives the same trials.")]
Batch = Annotated[int, typer.Option(help="Trials that are asked for at once.")]
Threads = Annotated[int, typer.Option(help="CPU threads of a trial.")]
Asynchronous = Annotated[
    bool,
    typer.Option("--asynchronous", help="Ask as workers become free: faster, not reproducible; others may join."),
]
LeaseSeconds = Annotated[
    float, typer.Option(min=1, help="Seconds after which a machine that isn't heard of has lost its trials.")
]
Fuse = Annotated[str, typer.Option(help="auto: trials that differ in rates and the like as one program, if faster.")]
Confirm = Annotated[int, typer.Option(help="Run so many of the best again over fresh seeds.")]
Seeds = Annotated[int, typer.Option(help="How many fresh seeds, for --confirm.")]


def verb(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    trials: Trials = 50,
    workers: Workers = 1,
    on: On = None,
    search: Search = None,
    fix: Fix = None,
    only: Only = None,
    goal: Goals = None,
    sampler: Sampler = "tpe",
    pruner: Pruner = None,
    name: Name = None,
    storage: Storage = None,
    seed: Seed = 0,
    batch: Batch = 8,
    threads: Threads = 1,
    asynchronous: Asynchronous = False,
    lease: LeaseSeconds = 60.0,
    fuse: Fuse = "none",
    confirm: Confirm = 0,
    seeds: Seeds = 5,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Search for better settings of a recipe: pruned, in parallel, reproducible. The same command goes on.

    Overrides hold for all trials, and what they set isn't searched. The first trial is the recipe itself, unless the
    sampler is `grid`, and its own values are searched too.

    Example: labwright tune vision/digits-mlp task.data.valid=0.2 --trials 20 --workers 2
    """
    join_or_start(processes)
    experiment = ctx.obj.experiment(recipe, overrides)
    from labwright_study.tuning import study_of

    how: dict[str, Any] = {"workers": workers, "threads": threads, "batch": batch, "seed": seed, "lease": lease}
    how |= {"asynchronous": asynchronous, "fuse": fuse, **_methods(sampler=sampler, pruner=pruner, on=on)}
    study = study_of(
        experiment,
        overrides or (),
        trials,
        name=name,
        storage=storage,
        search=assignments(search or ()),
        only=only,
        fixed=fix,
        goals=goal or (),
        **how,
    )
    _run(study, confirm, seeds, as_json)


def _methods(**texts: str | None) -> dict[str, Any]:
    """Components as a recipe would have them: a name, or a table with settings."""
    from labwright.engine import parsed

    return {kind: None if text is None else parsed(text) for kind, text in texts.items()}


def _run(study: Study, confirm: int, seeds: int, as_json: bool) -> None:
    """Run a study, and its `confirm` best trials again over so many seeds; and tell what came of it."""
    if min(confirm, seeds) < 0 or (confirm and not seeds):
        raise LabwrightError(f"given --confirm {confirm} and --seeds {seeds}; they are numbers of trials and of seeds.")
    findings = study.run()
    again = study.confirm(confirm, seeds) if confirm and not findings.interrupted else None
    tell(findings, as_json, again)


def assignments(texts: Iterable[str]) -> dict[str, Any]:
    """`path=value` texts as a table. Raises LabwrightError for one that is no assignment."""
    from labwright.engine import parsed

    table = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not value:
            raise LabwrightError(
                f"--search {text!r}: write PATH=RANGE, such as optimizer.lr='{{low=1e-4,high=1e-1,log=true}}'."
            )
        table[path.strip()] = parsed(value.strip())
    return table


def tell(findings: Findings, as_json: bool, again: Confirmation | None = None) -> None:
    """Print what a study has come to; where it was interrupted, end with the exit code that says so."""
    if as_json:
        print_json(findings.json() | ({} if again is None else {"confirmed": again.json()}))
    else:
        _print(findings, again)
    if findings.interrupted or (again is not None and again.interrupted):
        say("interrupted; the same command goes on.")
        raise typer.Exit(130)


def _print(findings: Findings, again: Confirmation | None) -> None:
    from labwright_study.report.rows import number

    echo(f"{findings.trials} trials: {findings.counts()}; in {findings.folder}")
    for trial in findings.best:
        values = "  ".join(f"{metric} {number(value, 5)}" for metric, value in trial["values"].items())
        echo(f"best: trial {trial['number']}  {values}")
    if findings.shown:
        print_table(_differing(findings.shown), indent="  ")
    if len(findings.best) > 1:
        echo(f"their recipes: {findings.folder}/front")
    if again is not None:
        echo("\n".join(again.lines()))
    if (findings.folder / "report.html").is_file():
        echo(f"report: {findings.folder / 'report.html'}")
    front = [findings.folder / f"front/{trial['number']:04d}.toml" for trial in findings.best[:1]]
    confirmed = [findings.folder / "confirmed.toml"] if again is not None else []
    for file in [file for file in (*confirmed, findings.folder / "best.toml", *front) if file.is_file()][:1]:
        say(f"Next: labwright run {shlex.quote(str(file))}")


def _differing(trials: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """A table of trials: the values of their goals, and the settings in which they differ from the recipe.

    Where the recipe itself is no trial, those that aren't the same in all of them.
    """
    from labwright_study.progress import short, short_names
    from labwright_study.report.rows import number

    names = short_names(dict.fromkeys(path for trial in trials for path in trial["settings"]))
    recipe = [trial["settings"] for trial in trials if trial["recipe"]]
    against = recipe or [trial["settings"] for trial in trials]
    rows: list[tuple[str, ...]] = [("trial", *trials[0]["values"], f"differs {'from the recipe ' * bool(recipe)}in")]
    for trial in trials:
        told = [
            f"{names[path]} {short(value)}"
            for path, value in trial["settings"].items()
            if any(path not in other or other[path] != value for other in against)
        ]
        values = (number(value, 5) for value in trial["values"].values())
        text = "it is the recipe" if trial["recipe"] else ", ".join(told) or "nothing"
        rows.append((str(trial["number"]), *values, text))
    return rows
