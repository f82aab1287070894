"""`lw.load` takes up what a run folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from conftest import toys


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
