"""`train.evaluate_train`: the training part measured as `valid` is, by formulas written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.base.seeding import epoch_order
from labwright.report.curves import curves
from parts import Blobs, Sorting, sorting
from torch import Tensor
from torch.nn import functional


def evaluations(folder: Path, split: str) -> list[dict[str, Any]]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["event"] == "evaluation" and record["split"] == split]


def by_hand(run: lw.Run, indices: Tensor) -> dict[str, float]:
    """Accuracy and mean negative log likelihood of training samples, by a model without dropout."""
    split: Any = run.task.data.split("train")
    run.model.eval()
    with torch.no_grad():
        logits = run.model(split.x_ND[indices])
    targets = split.y_N[indices]
    right = (logits.argmax(1) == targets).double().mean().item()
    return {"accuracy": right, "cross_entropy": functional.cross_entropy(logits, targets).item()}


def test_the_training_part_is_measured_beside_valid_and_changes_nothing(tmp_path: Path):
    train = {"epochs": 3, "batch_size": 16}
    alone = sorting(train=train).run(tmp_path / "alone")
    run = sorting(train={**train, "evaluate_train": "all"}).run(tmp_path / "run")
    assert run.outcome is not None and alone.outcome is not None
    log = evaluations(tmp_path / "run", "train")
    valid = evaluations(tmp_path / "run", "valid")
    assert [record["step"] for record in log] == [record["step"] for record in valid] == [6, 12, 18]
    assert {record["samples"] for record in log} == {90} == {run.outcome.samples["train"]}
    measured = run.outcome.metrics.pop("train")
    assert measured == log[-1]["metrics"] == pytest.approx(by_hand(run, torch.arange(90)))
    assert run.outcome.metrics == alone.outcome.metrics  # the training is the one it would have been
    # it isn't the mean of the batches' losses under dropout, which goes on being called loss
    rows = [row for row in lw.load(tmp_path / "run", experiment=sorting(train=train)).history() if row["step"] == 18]
    of_train = [row for row in rows if row["split"] == "train"]
    assert [set(row) & {"loss", "cross_entropy"} for row in of_train] == [{"loss"}, {"cross_entropy"}]
    assert of_train[0]["loss"] > of_train[1]["cross_entropy"] + 0.01
    records = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    accuracy = [card for card in curves(records, Sorting.goal, 6) if "accuracy" in card]
    assert len(accuracy) == 1 and ">train<" in accuracy[0] and ">valid<" in accuracy[0]


def test_a_share_of_it_is_drawn_once_by_the_seed(tmp_path: Path):
    experiment = sorting(train={"epochs": 2, "batch_size": 16, "seed": 5, "evaluate_train": 40, "final": "best"})
    run = experiment.run(tmp_path / "run")
    assert run.outcome is not None and run.best is not None
    assert {record["samples"] for record in evaluations(tmp_path / "run", "train")} == {40}
    # the figures are of the best weights, as the run's weights are
    chosen = epoch_order(90, seed=5, epoch=0)[:40]
    assert run.outcome.metrics["train"] == pytest.approx(by_hand(run, chosen))
    with pytest.raises(lw.LabwrightError, match=r"train\.evaluate_train"):
        sorting(train={"epochs": 2, "evaluate_train": 0})


def test_without_valid_it_is_measured_once_a_stretch_also_by_a_resumed_run(tmp_path: Path):
    experiment = sorting(data=Blobs(held_out=0), train={"epochs": 3, "batch_size": 15, "evaluate_train": 1000})
    experiment.trainer(tmp_path / "run").fit(until=6)
    trainer, _ = experiment.resumed(tmp_path / "run")
    trainer.fit()
    log = evaluations(tmp_path / "run", "train")
    assert [(record["step"], record["samples"]) for record in log] == [(6, 90), (12, 90), (18, 90)]


def test_trials_leave_it_out(tmp_path: Path):
    experiment = sorting(train={"epochs": 2, "batch_size": 15, "evaluate_train": "all"})
    experiment.trial(tmp_path / "trial", experiment.prepared()).fit()
    assert evaluations(tmp_path / "trial", "train") == []
    assert len(evaluations(tmp_path / "trial", "valid")) == 2


class HeldOutOnly(Sorting):
    def evaluate(self, model: Any, batch: lw.Batch) -> tuple[Tensor, Tensor]:
        if len(batch.targets) == 7:
            raise lw.LabwrightError("this is measured on what was held out.")
        return super().evaluate(model, batch)


def test_a_task_that_cannot_measure_what_it_learns_from_is_refused_before_a_folder_is_made(tmp_path: Path):
    settings = {"task": HeldOutOnly(Blobs(size=7)), "train": {"epochs": 1, "batch_size": 15}}
    sorting(**settings).run(tmp_path / "fine")
    settings["train"] = {"epochs": 1, "batch_size": 15, "evaluate_train": "all"}
    with pytest.raises(lw.LabwrightError, match="held out"):
        sorting(**settings).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
