"""`labwright submit`: a run, or workers of a study, as jobs of Slurm."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from labwright import LabwrightError
from labwright.cli.shared import Context, Json, Overrides, echo, print_json, print_table, say

if TYPE_CHECKING:
    from labwright import Experiment

What = Annotated[
    Literal["run", "worker"], typer.Argument(metavar="run|worker", help="A recipe's run, or workers of a study.")
]
Name = Annotated[str, typer.Argument(metavar="RECIPE|STUDY", help="As `labwright run` or `labwright worker` takes it.")]
Nodes = Annotated[int, typer.Option(min=1, help="Machines that train together.")]
Tasks = Annotated[int, typer.Option(min=1, help="Processes on each of them.")]
Time = Annotated[int, typer.Option(min=1, help="Minutes; then the job saves and is put into the queue again.")]
Partition = Annotated[str | None, typer.Option(help="Slurm's partition.")]
Array = Annotated[int, typer.Option(min=1, help="How many workers, each a job.")]
Folder = Annotated[Path | None, typer.Option(help="The run folder: by default runs/RECIPE-JOB.")]
Storage = Annotated[str, typer.Option(help="The study's storage, as `tune` was given it; a journal by default.")]
Logs = Annotated[Path, typer.Option(help="The folder of logs and scripts.")]
Sbatch = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Another option of sbatch: account=me.")]
Preflight = Annotated[
    bool, typer.Option(help="Try the recipe here first, on the CPU where its device isn't here; not for workers.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the script, submit nothing.")]


def verb(
    ctx: typer.Context,
    what: What,
    name: Name,
    overrides: Overrides = None,
    nodes: Nodes = 1,
    tasks: Tasks = 1,
    time: Time = 60,
    partition: Partition = None,
    array: Array = 1,
    folder: Folder = None,
    storage: Storage = "",
    logs: Logs = Path("slurm"),
    sbatch: Sbatch = None,
    preflight: Preflight = True,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give a run, or workers of a study, to Slurm. A job whose time is up saves, is queued again and goes on.

    Example: labwright submit run vision/digits train.epochs=50 --time 120 --sbatch gpus-per-task=1
    """
    if what == "run":
        _refuse(what, {"--array": array > 1, "--storage": storage})
        experiment = ctx.obj.experiment(name, overrides)
        run = experiment.name.replace("/", "-")
        if preflight and not dry_run:
            _try_out(experiment, folder or Path("runs"))
        where = shlex.quote(str(folder)) if folder else f'runs/{shlex.quote(run)}-"$SLURM_JOB_ID"'
    else:
        _refuse(what, {"FIELD=VALUE": overrides, "--folder": folder, "--nodes": nodes > 1, "--tasks": tasks > 1})
        _refuse_sqlite(storage)
        run = name
    from labwright_cluster.slurm import Job, run_command, worker_command

    options = _options(ctx.obj)
    job = Job(
        logs.resolve(),
        f"labwright-{run}",
        run_command(options, name, overrides or (), where) if what == "run" else worker_command(options, name, storage),
        nodes=nodes,
        tasks=tasks,
        time=time,
        partition=partition,
        array=array if what == "worker" else None,
        sbatch=_assignments(sbatch or ()),
    )
    if dry_run:
        print_json({"script": job.script()}) if as_json else echo(job.script())
        return
    number = job.submitted()
    facts = {"job": number, "jobs": array, "logs": str(logs), "cancel": f"scancel {number}"}
    if what == "run":
        facts["folder"] = str(folder or f"runs/{run}-{number}")
    print_json(facts) if as_json else print_table([(key, str(value)) for key, value in facts.items()])


def _try_out(experiment: Experiment, folder: Path) -> None:
    """Build and try what is to be submitted, so that a slip is told now and not when the job begins."""
    settings = experiment.device.build()
    try:
        settings.find()
    except LabwrightError as error:
        say(f"note: the recipe is tried on the CPU, as here is no other device: {error}")
        experiment = experiment.varied({"device": {"name": "cpu", "accumulate": settings.accumulate}})
    experiment.preflight(folder)


def _refuse(what: str, given: dict[str, object]) -> None:
    """Raises LabwrightError if something was given that isn't for a run, or not for a worker."""
    other = {"run": "worker", "worker": "run"}[what]
    for option, value in given.items():
        if value:
            raise LabwrightError(
                f"{option} is for `labwright submit {other}`; `labwright submit --help` shows which is whose."
            )


def _refuse_sqlite(storage: str) -> None:
    """Raises LabwrightError for a storage that processes of several machines would damage."""
    if storage.startswith("sqlite"):
        raise LabwrightError(
            "--storage: workers run on several machines, and SQLite's locks don't hold between them. Take PostgreSQL "
            "(postgresql+psycopg://...), Optuna's gRPC proxy (grpc://HOST:PORT), or a journal (journal:FILE) on a file "
            "system whose flock() holds between machines, such as NFS 4."
        )


def _options(given: Context) -> list[str]:
    """The options before the verb, for the job's own command."""
    options = [word for name in given.blocked for word in ("--no-plugin", name)]
    options += [word for file in given.local for word in ("--plugin", str(file))]
    return [*options, "--locked"] if given.locked else options


def _assignments(texts: Iterable[str]) -> dict[str, object]:
    """Options of sbatch as a table; one without a value is a switch."""
    pairs = (text.lstrip("-").partition("=") for text in texts)
    return {name: value if equals else True for name, equals, value in pairs}
