"""The trackers, each with its own package: what they wrote is read back by it, and is what metrics.jsonl has."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from parts import Blobs, Sorting, duel, sorting
from wandb_file import read

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of what they import
TRAIN = {"epochs": 2, "batch_size": 15, "log_every": 2}  # 12 steps


class Showing(Sorting):
    """A task whose report has a section of each kind."""

    def report(self, model: Any, split: str, device: Any) -> list[lw.Section]:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(3, 2))
        figure.subplots().plot([0, 1])
        pictures = [torch.zeros(1, 4, 5), torch.ones(1, 4, 5)]
        return [
            lw.Figure("A drawing", figure, "a line"),
            lw.Pictures("Mistakes", pictures, ["7 for 1", "3 for 8"]),
            lw.Text("Written", ["# no heading\n<b>none</b>"], ["first"]),
            lw.Table("Classes", ("class", "samples"), [("a", 120)]),
            lw.Film("An episode", b"GIF89a"),
        ]


@dataclass
class Tracked:
    """A run that was interrupted after step 5, gone on with, killed after step 9 and gone on with from step 7."""

    folder: Path
    database: str
    recipe: dict[str, Any]

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]

    def logged(self) -> dict[str, list[tuple[int, float]]]:
        """The points of every figure of metrics.jsonl, by SPLIT/NAME."""
        points: dict[str, list[tuple[int, float]]] = {}
        for record in self.log:
            train = record["event"] == "train"
            values = {key: record[key] for key in ("loss", "lr")} if train else record["metrics"]
            for name, value in values.items():
                points.setdefault(f"{'train' if train else record['split']}/{name}", []).append((record["step"], value))
        return points


def interrupted_and_killed(experiment: lw.Experiment, folder: Path) -> None:
    experiment.trainer(folder).fit(until=5)
    experiment.resumed(folder)[0].fit(until=9)
    for step in (8, 9):  # as if it had been killed after step 9, and saved last after step 7
        shutil.rmtree(folder / "checkpoints" / f"step-{step:08d}")
    experiment.resumed(folder)[0].fit()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs.db"


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Tracked]:
    folder = tmp_path_factory.mktemp("tracked") / "run"
    train = TRAIN | {"log_every": 1, "evaluate_every": "2 steps", "save_every": "1 step", "keep": 20}
    loggers = [
        "csv",
        {"name": "mlflow", "tracking_uri": database, "experiment": "blobs", "tags": {"why": "a test"}},
        {"name": "tensorboard", "histograms": "1 epoch"},
        {"name": "wandb", "project": "blobs", "group": "tests", "tags": ["short"]},
        "report",
    ]
    experiment = sorting(task=Showing(Blobs()), train=train, log=loggers)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)  # where MLflow puts files
        interrupted_and_killed(experiment, folder)
        yield Tracked(folder, database, experiment.table())


def test_the_run_itself_is_whole(tracked):
    assert [record["step"] for record in tracked.log if record["event"] == "train"] == list(range(1, 13))
    assert json.loads((tracked.folder / "outcome.json").read_text())["status"] == "finished"


# -------------------------------------------------------------------------------------------------------------- csv


def rows_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_each_line_of_the_log_once(tracked):
    rows = rows_in(tracked.folder)
    assert len(rows) == len(tracked.log)
    for row, record in zip(rows, tracked.log, strict=True):
        about = (int(row["step"]), float(row["epoch"]), row["event"])
        assert about == (record["step"], record["epoch"], record["event"])
        figures = record.get("metrics") or {key: record[key] for key in ("loss", "lr")}
        cells = {name: float(cell) for name, cell in list(row.items())[4:] if cell and name != "steps_per_second"}
        assert cells == figures  # to the last bit
        assert bool(row["steps_per_second"]) == (record["event"] == "train")  # those from before it was resumed as well


def test_pandas_reads_the_table(tracked):
    import pandas

    table = pandas.read_csv(tracked.folder / "metrics.csv")
    (accuracy,) = table[(table.split == "valid") & (table.step == 4)].accuracy
    assert accuracy == dict(tracked.logged()["valid/accuracy"])[4]
    assert table.dtypes["loss"] == "float64"


def test_a_figure_that_appears_later_gets_a_column_and_none_is_lost(tmp_path):
    run = duel(train={"steps": 6, "batch_size": 15, "log_every": 1}, log=["csv"]).run(tmp_path / "run")
    rows = rows_in(run.folder)
    # the generator's loss is there from the third step on, when it is due first
    assert [row["step"] for row in rows if row["loss/generator"]] == ["3", "6"]
    assert [row["step"] for row in rows if row["loss/critic"]] == list("123456")
    assert list(rows[0])[:4] == ["step", "epoch", "event", "split"]
    assert not list(run.folder.glob(".metrics.csv*"))


def test_numbers_that_are_not_finite_and_names_of_first_columns_are_written_as_they_are(tmp_path):
    from labwright_instruments.tables import CSV

    run = sorting(train=TRAIN).run(tmp_path / "run")
    (run.folder / "metrics.jsonl").unlink()
    logger = CSV()
    logger.labwright_run_started(run)
    logger.labwright_evaluated(3, "valid", {"step": 0.5, "worst": math.inf, "mean": math.nan})
    logger.labwright_run_ended(run.outcome)
    (row,) = rows_in(run.folder)
    assert (row["step"], row["valid/step"], row["worst"], row["mean"]) == ("3", "0.5", "inf", "nan")


def test_a_table_of_somebody_else_is_left_alone(tmp_path):
    folder = tmp_path / "run"
    sorting(train=TRAIN).trainer(folder).fit(until=4)
    (folder / "metrics.csv").write_text("mine,yours\n1,2\n")
    with pytest.raises(lw.LabwrightError, match=r"metrics.csv isn't a table that it wrote: move it elsewhere"):
        sorting(train=TRAIN, log=["csv"]).resumed(folder)[0].fit()
    assert (folder / "metrics.csv").read_text() == "mine,yours\n1,2\n"


# ------------------------------------------------------------------------------------------------------------ mlflow


def client(uri: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(tracking_uri=uri)


def history(uri: str, number: str) -> dict[str, list[tuple[int, float]]]:
    found = client(uri)
    return {
        key: [(one.step, one.value) for one in found.get_metric_history(number, key)]
        for key in found.get_run(number).data.metrics
    }


@pytest.mark.slow
def test_mlflow_has_one_run_with_the_figures_of_the_log(tracked):
    found = client(tracked.database)
    (run,) = found.search_runs([found.get_experiment_by_name("blobs").experiment_id])
    figures = history(tracked.database, run.info.run_id)
    speeds = figures.pop("train/steps_per_second")
    assert [step for step, _ in speeds] == list(range(1, 13))
    assert figures == tracked.logged()  # to the last bit, each step once
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.tags.items() >= {"why": "a test", "outcome": "finished"}.items()
    assert run.data.params["optimizer.lr"] == "0.01"
    assert run.data.params["train.epochs"] == "2"
    assert not any(name.startswith("log") for name in run.data.params)
    files = {file.path for file in found.list_artifacts(run.info.run_id)}
    assert files == {"recipe.toml", "report.html"}


@pytest.mark.slow
def test_mlflow_is_told_what_a_resumption_changed_and_how_a_run_ended(tmp_path, database, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = TRAIN | {"log_every": 1, "save_every": "1 step", "keep": 20}
    experiment = sorting(train=train, log=[{"name": "mlflow", "tracking_uri": database, "experiment": "changed"}])
    folder = tmp_path / "run"
    experiment.trainer(folder).fit(until=3)
    number = json.loads((folder / "mlflow.json").read_text())["id"]
    assert client(database).get_run(number).info.status == "KILLED"
    shutil.rmtree(folder / "checkpoints" / "step-00000003")
    experiment.varied({"optimizer.lr": 0.02}).resumed(folder)[0].fit()
    run = client(database).get_run(number)
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.lr"] == "0.01"
    assert run.data.tags["changed.optimizer.lr"] == "0.01 to 0.02"
    lrs = history(database, number)["train/lr"]
    assert lrs[:4] == [(1, 0.01), (2, 0.01), (3, 0.01), (3, 0.02)]  # a step that was done again otherwise has both
    assert [step for step, _ in history(database, number)["train/loss"]].count(2) == 1


@pytest.mark.slow
def test_a_run_that_mlflow_does_not_have_is_refused(tmp_path, database, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    sorting(train=TRAIN).trainer(folder).fit(until=4)
    (folder / "mlflow.json").write_text('{"id": "0123456789abcdef0123456789abcdef"}')
    log = [{"name": "mlflow", "tracking_uri": database}]
    with pytest.raises(
        lw.LabwrightError, match=r"names run 0123\w+, which isn't in sqlite:.* Give `tracking_uri` where"
    ):
        sorting(train=TRAIN, log=log).resumed(folder)[0].fit()


@pytest.mark.slow
def test_a_server_that_goes_away_ends_no_run_and_what_it_missed_is_written_at_the_end(
    tmp_path, database, monkeypatch, caplog
):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    monkeypatch.chdir(tmp_path)
    written, away = SqlAlchemyStore.log_batch, []

    def sometimes(self: Any, run_id: str, metrics: Any, params: Any, tags: Any) -> Any:
        if any(metric.step == 4 for metric in metrics) and not away:
            away.append(True)
            raise RuntimeError("the server doesn't answer")
        return written(self, run_id, metrics, params, tags)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", sometimes)
    log = [{"name": "mlflow", "tracking_uri": database, "experiment": "away"}]
    run = sorting(train=TRAIN, log=log).run(tmp_path / "run")
    assert run.outcome.status == "finished"
    assert "labwright_logged of MLflow isn't called any more: " in caplog.text
    assert "the server doesn't answer" in caplog.text
    figures = history(database, json.loads((run.folder / "mlflow.json").read_text())["id"])
    assert [step for step, _ in figures["train/loss"]] == [2, 4, 6, 8, 10, 12]


# ------------------------------------------------------------------------------------------------------------- wandb


def offline_file(folder: Path) -> Path:
    (file,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    return file


def rows_of(found: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    points: dict[str, list[tuple[int, float]]] = {}
    for row in found["history"]:
        for name, value in row.items():
            if "/" in name and name != "train/steps_per_second":
                points.setdefault(name, []).append((row["step"], value))
    return points


def test_the_newest_offline_file_of_wandb_is_the_whole_run(tracked):
    found = read(offline_file(tracked.folder))
    assert rows_of(found) == tracked.logged()
    number = json.loads((tracked.folder / "wandb.json").read_text())["id"]
    assert (found["run"].run_id, found["run"].project, found["run"].run_group) == (number, "blobs", "tests")
    assert (found["run"].display_name, list(found["run"].tags)) == ("run", ["short"])
    assert found["config"]["optimizer"]["lr"] == 0.01
    assert found["config"]["train"]["epochs"] == 2
    assert found["exit"] == 0
    replaced = list((tracked.folder / "wandb" / "replaced").glob(f"offline-run-*-{number}.*"))
    assert len(replaced) == 2  # one for each time it was begun before


def test_wandb_leaves_no_link_in_the_folder(tracked):
    assert not [path for path in (tracked.folder / "wandb").rglob("*") if path.is_symlink()]


def test_online_without_a_key_is_refused_without_asking(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    with pytest.raises(lw.LabwrightError, match=r"mode='online' needs an API key, .* mode='offline' writes all"):
        sorting(train=TRAIN, log=[{"name": "wandb", "mode": "online"}]).run(tmp_path / "run")


def test_a_run_of_wandb_that_the_program_has_begun_stays_as_it_is(tmp_path):
    import wandb

    own = wandb.init(project="mine", mode="offline", dir=tmp_path, settings=wandb.Settings(console="off", silent=True))
    sorting(train=TRAIN, log=["wandb"]).run(tmp_path / "run")
    assert wandb.run is own
    own.log({"mine": 1})
    own.finish()
    assert rows_of(read(offline_file(tmp_path / "run")))["train/loss"]


# ------------------------------------------------------------------------------------------------------- tensorboard


def events_of(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(
        str(folder / "tensorboard"), size_guidance=dict.fromkeys(["tensors", "scalars", "histograms"], 0)
    )
    events.Reload()
    return events


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads: the points of every tag."""
    events = events_of(folder)
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def close(points: list[tuple[int, float]]) -> Any:
    """Event files hold float32."""
    return [(step, pytest.approx(value, rel=1e-6)) for step, value in points]


def test_tensorboard_reads_the_numbers_of_the_log_each_step_once(tracked):
    seen = scalars(tracked.folder)
    assert [step for step, _ in seen.pop("train/steps_per_second")] == list(range(1, 13))
    assert seen == {tag: close(points) for tag, points in tracked.logged().items()}
    assert len(list((tracked.folder / "tensorboard").iterdir())) == 3


def test_tensorboard_has_the_recipe_and_its_settings(tracked):
    from tensorboard.plugins.hparams import metadata

    events = events_of(tracked.folder)
    (text,) = events.Tensors("recipe")[-1].tensor_proto.string_val
    recipe = (tracked.folder / "recipe.toml").read_text()
    assert [line[4:] for line in text.decode().splitlines()] == recipe.splitlines()
    data = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    told = metadata.parse_session_start_info_plugin_data(data).hparams
    assert told["optimizer.lr"].number_value == 0.01
    assert told["model.object" if "model.object" in told else "model.name"].string_value
    data = events.SummaryMetadata("_hparams_/session_end_info").plugin_data.content
    assert metadata.parse_session_end_info_plugin_data(data).status == 1  # Status.STATUS_SUCCESS


def test_tensorboard_shows_the_sections_of_the_report(tracked):
    import matplotlib.image

    events = events_of(tracked.folder)

    def strings(title: str) -> list[bytes]:
        (event,) = events.Tensors(f"report/{title}")
        assert event.step == 12
        return list(event.tensor_proto.string_val)

    width, height, *images = strings("Mistakes")
    assert (width, height, len(images)) == (b"5", b"4", 2)
    file = tracked.folder.parent / "picture.png"
    for image, value in zip(images, (0.0, 1.0), strict=True):
        file.write_bytes(image)
        assert (matplotlib.image.imread(file)[..., :3] == value).all()
    assert "2. 3 for 8" in events.SummaryMetadata("report/Mistakes").summary_description
    width, height, drawing = strings("A drawing")
    file.write_bytes(drawing)
    assert matplotlib.image.imread(file).shape[:2] == (int(height), int(width))
    assert strings("Written") == [b"first\n\n    # no heading\n    <b>none</b>"]
    assert strings("Classes") == [b"    class  samples\n    a      120"]
    assert b"report.html alone" in strings("An episode")[0]


def test_tensorboard_has_histograms_of_the_weights_when_they_are_asked_for(tracked):
    events = events_of(tracked.folder)
    drawn = {tag: events.Histograms(tag) for tag in events.Tags()["histograms"]}
    assert "weights/head.weight" in drawn
    assert [one.step for one in drawn["weights/head.weight"]] == [0, 6, 12]  # an epoch has 6 steps


def test_a_histogram_counts_every_finite_weight_once():
    from labwright_instruments.summaries import histogram

    weights = torch.linspace(-1, 3, 1001)
    weights[10], weights[20] = math.nan, math.inf
    finite = weights[weights.isfinite()].double()
    shown = histogram("w", weights).histo
    assert (shown.num, sum(shown.bucket)) == (999, 999)
    assert (shown.sum, shown.sum_squares) == pytest.approx((float(finite.sum()), float((finite**2).sum())))
    edges = [shown.min, *shown.bucket_limit]
    # numpy's own count between the same edges
    import numpy as np

    counts, _ = np.histogram(finite.numpy(), edges)
    assert np.abs(counts - np.array(shown.bucket)).max() <= 1  # a number on an edge, in single precision
    assert list(histogram("w", torch.full((4,), 2.0)).histo.bucket) == [4]
    assert histogram("w", torch.full((4,), math.nan)) is None


def test_an_interval_is_spelt_as_in_a_recipe(tmp_path):
    with pytest.raises(lw.LabwrightError, match=r'log.*histograms: .*such as "500 steps" or "2 epochs"'):
        sorting(log=[{"name": "tensorboard", "histograms": "often"}])


# -------------------------------------------------------------------------------------------------------- all of them


def test_the_adversarial_task_runs_with_every_logger_at_once(tmp_path, database, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mlflow = {"name": "mlflow", "tracking_uri": database, "experiment": "duel"}
    log = ["progress", "report", "csv", mlflow, "tensorboard", "wandb"]
    run = duel(train={"steps": 12, "batch_size": 15, "log_every": 3}, log=log).run(tmp_path / "run")
    assert run.outcome.status == "finished"
    assert (run.folder / "report.html").is_file()
    found = Tracked(run.folder, database, {})
    critic = [(record["step"], record["loss/critic"]) for record in found.log if record["event"] == "train"]
    assert [step for step, _ in critic] == [3, 6, 9, 12]
    assert scalars(run.folder)["train/loss/critic"] == close(critic)
    number = json.loads((run.folder / "mlflow.json").read_text())["id"]
    assert history(database, number)["train/loss/critic"] == critic
    assert rows_of(read(offline_file(run.folder)))["train/loss/critic"] == critic
    assert [float(row["loss/critic"]) for row in rows_in(run.folder) if row["loss/critic"]] == [
        one for _, one in critic
    ]
    assert capsys.readouterr().err.count("\n") >= 4


IN_A_FRESH_PROCESS = """
import sys
from importlib.abc import MetaPathFinder

class Watching(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "matplotlib.pyplot", "torch._dynamo", "torch.utils.tensorboard", "mlflow", "wandb"):
            print("asked for", name)

sys.meta_path.insert(0, Watching())
import matplotlib
from parts import sorting

before = str(matplotlib.rcParams.copy())
log = ["report", "csv", {"name": "tensorboard", "histograms": "1 epoch"}]
sorting(train={"steps": 2, "batch_size": 15}, log=log).run(sys.argv[1])
print("settings of matplotlib as before:", str(matplotlib.rcParams.copy()) == before)
"""


@pytest.mark.long
def test_tables_and_event_files_import_nothing_heavy_and_change_no_global_setting(tmp_path):
    import parts

    paths = [str(Path(parts.__file__).parent), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    words = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path / "run")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "settings of matplotlib as before: True\n", done.stderr


@pytest.mark.parametrize("logger", ["mlflow", "tensorboard", "wandb"])
def test_without_its_package_a_logger_says_what_to_install(tmp_path, monkeypatch, logger):
    for name in [name for name in sys.modules if name.partition(".")[0] == logger]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, logger, None)  # what import takes for "not there"
    message = rf"^logger '{logger}' can't be used .*: pip install 'labwright\[{logger}\]'\.$"
    with pytest.raises(lw.LabwrightError, match=message):
        sorting(train=TRAIN, log=[logger]).run(tmp_path / "run")
    assert not list((tmp_path / "run").glob(f"{logger}*"))
