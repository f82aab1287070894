"""`lw.load` takes up what a run folder holds; predictions, figures and curves are asked of it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from conftest import toys
from parts import Blobs, Sorting, sorting
from torch import Tensor, nn


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lw.Run:
    settings: dict[str, Any] = {"train": {"epochs": 4, "batch_size": 15, "evaluate_every": "3 steps"}, "log": ()}
    task = {"name": "sorting", "data": "toys/blobs"}
    experiment = lw.Experiment(
        task=task, model="toys/net", loss="cross-entropy", optimizer="adamw", plugins=toys(), **settings
    )
    return experiment.run(tmp_path_factory.mktemp("runs") / "toys")


def test_model_and_task_are_as_the_run_left_them(run: lw.Run) -> None:
    loaded = lw.load(run.folder, plugins=toys())
    assert not loaded.model.training
    assert loaded.notes == ()
    assert loaded.task.ports() == run.task.ports()
    assert loaded.experiment.train.epochs == 4
    weights = loaded.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in run.model.state_dict().items())


def test_another_checkpoint_may_be_asked_for(run: lw.Run) -> None:
    best = lw.load(str(run.folder), checkpoint="best", plugins=toys())
    best.task.prepare()
    found = lw.evaluate(best.task, best.model, "valid", device=torch.device("cpu"), size=15, seed=0)
    assert found is not None
    assert found.metrics["accuracy"] == run.best


def test_what_cannot_be_loaded_is_said_in_a_sentence(run: lw.Run, tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match=r"is no run folder: it has no recipe\.toml"):
        lw.load(tmp_path / "nothing", plugins=toys())
    with pytest.raises(lw.LabwrightError, match="there is no checkpoint 'bset'; did you mean 'best'"):
        lw.load(run.folder, checkpoint="bset", plugins=toys())  # type: ignore[arg-type]  # as a notebook would
    with pytest.raises(lw.LabwrightError, match="no task is called 'sorting'"):
        lw.load(run.folder)


# ------------------------------------------------------------------------------------------- what one does with a run


class Answering(Sorting):
    """Says which class a point is of, and what it was read from."""

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        labels = model(*inputs).argmax(1).tolist()
        return [{"label": label, "origin": origin} for label, origin in zip(labels, origins, strict=True)]


class Written(Blobs):
    """Points in files of four numbers, or in lines of them."""

    suffixes = (".txt",)
    line = "point"

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return lw.Input(self.parse(path.read_text(encoding="utf-8")), origin=path.name)

    def parse(self, line: str) -> tuple[Tensor, ...]:
        return (torch.tensor([[float(word) for word in line.split()]]),)


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> tuple[lw.Experiment, lw.Run]:
    """An experiment of classes from Python, whose recipe can't name them, and its run."""
    experiment = sorting(task=Answering(Written()), train={"epochs": 4, "batch_size": 15, "log_every": 6})
    return experiment, experiment.run(tmp_path_factory.mktemp("runs") / "answering")


@pytest.fixture
def loaded(answering: tuple[lw.Experiment, lw.Run]) -> lw.Loaded:
    experiment, run = answering
    return lw.load(run, experiment=experiment)


POINTS = [f"{4 * (n == 0)} {4 * (n == 1)} {4 * (n == 2)} 0" for n in (2, 0, 1)]  # the centres of the blobs


def test_files_lines_and_tensors_are_answered_alike(loaded: lw.Loaded, tmp_path: Path) -> None:
    for number, point in enumerate(POINTS):
        (tmp_path / f"{number}.txt").write_text(point)
    files = sorted(tmp_path.iterdir())
    by_path = loaded.predict(files)
    assert [answer["label"] for answer in by_path] == [2, 0, 1]
    assert by_path[0] == {"input": str(files[0]), "label": 2, "origin": "0.txt"}
    assert loaded.predict(str(tmp_path)) == loaded.predict(tmp_path) == loaded.predict(map(str, files)) == by_path
    assert loaded.predict(str(files[1])) == [by_path[1]]
    lines = loaded.predict(point=POINTS)
    assert [(answer["input"], answer["label"]) for answer in lines] == list(zip(POINTS, [2, 0, 1], strict=True))
    x_BD = torch.tensor([[float(word) for word in point.split()] for point in POINTS])
    for given in (x_BD, (x_BD,), x_BD.numpy()):
        answers = loaded.predict(given)
        assert [(answer["input"], answer["label"]) for answer in answers] == [("0", 2), ("1", 0), ("2", 1)]


def test_what_is_left_out_is_a_warning_and_what_cannot_be_read_an_answer_where_that_is_asked_for(
    loaded: lw.Loaded, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text(POINTS[0])
    (tmp_path / "b.txt").write_text("one two")
    (tmp_path / "c.png").write_text("")
    with pytest.warns(UserWarning, match=r"2 files read; left out: 1 \.png"):
        good, bad = loaded.predict(tmp_path, strict=False)
    assert good["label"] == 2
    assert bad == {"input": str(tmp_path / "b.txt"), "error": "ValueError: could not convert string to float: 'one'"}
    with pytest.raises(lw.LabwrightError, match=r"b\.txt: ValueError: could not convert"):
        loaded.predict(tmp_path / "b.txt")


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda run: run.predict("ponit.txt"),
            r"no file or folder 'ponit\.txt'.* did you mean 'point\.txt'\? .*point=",
        ),
        (lambda run: run.predict(piont="1 0 0 0"), r"predict takes no 'piont'; did you mean 'point'\?"),
        (
            lambda run: run.predict(torch.zeros(5, 3)),
            r"given torch\.float32 \(5, 3\); .* takes torch\.float32 \(5, 4\)",
        ),
        (lambda run: run.predict(torch.zeros(4)), r"given torch\.float32 \(4,\); .* takes torch\.float32 \(4, 4\)"),
        (lambda run: run.predict(torch.zeros(5, 4).double()), r"given torch\.float64 .* takes torch\.float32"),
        (lambda run: run.evaluate("tset"), r"no split 'tset'; did you mean 'test'\? It has test, train, valid"),
        (lambda run: run.evaluate(on="gone.txt"), r"there is no file or folder 'gone\.txt'"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_near(
    loaded: lw.Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[lw.Loaded], Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("point.txt").write_text(POINTS[0])
    with pytest.raises(lw.LabwrightError, match=said):
        ask(loaded)


def test_the_model_is_measured_as_it_is_now(answering: tuple[lw.Experiment, lw.Run], loaded: lw.Loaded) -> None:
    _, run = answering
    measured = loaded.evaluate("test")
    assert (measured.metrics, measured.samples) == (run.metrics["test"], run.samples["test"])
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.zero_()
    assert loaded.evaluate("test").metrics["cross_entropy"] == pytest.approx(math.log(3))  # all classes alike


def test_the_history_is_what_was_logged(answering: tuple[lw.Experiment, lw.Run], loaded: lw.Loaded) -> None:
    _, run = answering
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    history = loaded.history()
    assert [(row["step"], row["epoch"]) for row in history] == [(one["step"], one["epoch"]) for one in records]
    assert [row["loss"] for row in history if row["split"] == "train"] == [
        one["loss"] for one in records if "loss" in one
    ]
    assert history[-1]["split"] == "test" and history[-1]["accuracy"] == run.metrics["test"]["accuracy"]


def test_torn_lines_of_a_log_are_said(
    answering: tuple[lw.Experiment, lw.Run], loaded: lw.Loaded, tmp_path: Path
) -> None:
    experiment, run = answering
    shutil.copytree(run.folder, tmp_path / "copy")
    log = tmp_path / "copy" / "metrics.jsonl"
    log.write_text("{torn\n" + log.read_text())
    with pytest.warns(UserWarning, match="1 torn lines are left out"):
        assert lw.load(tmp_path / "copy", experiment=experiment).history() == loaded.history()


# --------------------------------------------------------------------------------------------------------------- paths

IMPLEMENTED = (lw.Data, lw.Task)  # their methods are called with a Path, by who is given a text


def test_whoever_takes_a_path_takes_a_text() -> None:
    """By the annotations, which `mypy --strict` holds the code to."""
    found = 0
    for name in lw.__all__:
        thing = getattr(lw, name)
        calls = [thing] if inspect.isfunction(thing) and name != "free_memory" else []
        if inspect.isclass(thing) and not issubclass(thing, IMPLEMENTED):
            public = [key for key in vars(thing) if not key.startswith("_")]
            calls = [
                getattr(thing, key) for key in (*public, *([] if dataclasses.is_dataclass(thing) else ["__init__"]))
            ]
        for function in filter(inspect.isroutine, calls):
            for key, parameter in inspect.signature(function).parameters.items():
                if written := re.search(r"\b(Path|File)\b.*", str(parameter.annotation)):
                    found += 1
                    assert written[1] == "File" or "str" in str(parameter.annotation), f"{name}: {function} {key}"
    assert found >= 10


def test_texts_lead_where_paths_do(answering: tuple[lw.Experiment, lw.Run], tmp_path: Path) -> None:
    experiment, run = answering
    assert lw.Outcome.read(str(run.folder)) == lw.Outcome.read(run.folder)
    again = experiment.build(str(run.folder / "task"), begun=str(run.folder / "task"))
    assert again.task.ports() == run.task.ports()
    trainer = experiment.trainer(str(tmp_path / "begun"))
    trainer.fit(until=6)
    trainer.lock.release()
    resumed, _ = experiment.resumed(str(tmp_path / "begun"))
    assert (resumed.run.folder, resumed.run.step) == (tmp_path / "begun", 6)
    resumed.lock.release()
    assert experiment.trial(str(tmp_path / "trial"), run.task).run.folder == tmp_path / "trial"
    file = tmp_path / "local.py"
    file.write_text("import labwright as lw\n@lw.hookimpl\ndef labwright_evaluated(step): ...\n")
    assert [plugin.name for plugin in lw.Plugins.discover(local=[str(file)]).plugins] == [
        plugin.name for plugin in lw.Plugins.discover(local=[file]).plugins
    ]
    assert lw.located("a") == lw.located(Path("a"))
