"""How a run ends: evaluate, save, choose, test and report, in that order, and each of them can be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.train.log import read_log
from labwright.train.trainer import Trainer
from parts import Blobs, sorting

# 4 epochs of 6 steps, saved each epoch, evaluated after the third and at the end
TRAIN = {"epochs": 4, "batch_size": 15, "evaluate_every": "3 epochs", "save_every": "1 epoch"}


def experiment(**train: Any) -> lw.Experiment:
    return sorting(Blobs(noise=0.3), optimizer={"name": "adamw", "lr": 0.003}, train=TRAIN | train)


def kept(folder: Path, step: int) -> dict[str, Any]:
    state = json.loads((folder / f"checkpoints/step-{step:08d}/state.json").read_text())
    return {key: state[key] for key in ("best", "best_step", "metrics")}


def told(folder: Path) -> list[dict[str, Any]]:
    """The log without what a clock says."""
    clocks = ("seconds", "steps_per_second")
    return [
        {key: one for key, one in record.items() if key not in clocks} for record in read_log(folder / "metrics.jsonl")
    ]


def same(left: Trainer, right: Trainer) -> None:
    assert left.run.metrics == right.run.metrics
    assert left.run.best == right.run.best
    assert told(left.run.folder) == told(right.run.folder)
    for name, tensor in left.model.state_dict().items():
        assert torch.equal(tensor, right.model.state_dict()[name]), name


class Interrupts:
    """Breaks off, as a second Ctrl-C does, once a split is evaluated at a step."""

    def __init__(self, split: str, step: int) -> None:
        self.split, self.step = split, step

    @lw.hookimpl
    def labwright_evaluated(self, step: int, split: str) -> None:
        if (split, step) == (self.split, self.step):
            raise KeyboardInterrupt


@pytest.mark.parametrize("final", ["last", "best"])
def test_the_best_model_may_be_found_by_the_last_evaluation_of_a_step_that_was_saved(
    tmp_path: Path, final: str
) -> None:
    run = experiment(final=final).run(tmp_path / "run")
    evaluations = [one for one in told(tmp_path / "run") if one["event"] == "evaluation" and one["split"] == "valid"]
    assert [one["step"] for one in evaluations] == [18, 24]
    first, last = (one["metrics"]["accuracy"] for one in evaluations)
    assert last > first, "the case this test is about"
    assert kept(tmp_path / "run", 24) == {
        "best": last,
        "best_step": 24,
        "metrics": {"valid": evaluations[-1]["metrics"]},
    }
    assert run.best == run.metrics["valid"]["accuracy"] == last


@pytest.mark.parametrize("final", ["last", "best"])
def test_a_run_interrupted_after_its_last_step_is_finished_by_resuming(tmp_path: Path, final: str) -> None:
    whole = experiment(final=final).trainer(tmp_path / "whole")
    assert whole.fit().status == "finished"
    cut = experiment(final=final).trainer(tmp_path / "cut").fit(until=24)
    assert (cut.status, cut.step) == ("interrupted", 24)
    resumed, _ = experiment(final=final).resumed(tmp_path / "cut")
    assert resumed.fit().status == "finished"
    same(whole, resumed)


@pytest.mark.parametrize("final", ["last", "best"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_run_broken_off_in_its_final_evaluation_is_finished_by_resuming(
    tmp_path: Path, final: str, split: str
) -> None:
    whole = experiment(final=final, ema=0.9).trainer(tmp_path / "whole")
    whole.fit()
    cut = experiment(final=final, ema=0.9).trainer(tmp_path / "cut", listeners=[Interrupts(split, 24)])
    with pytest.raises(KeyboardInterrupt):
        cut.fit()
    assert json.loads((tmp_path / "cut/outcome.json").read_text())["status"] == "interrupted"
    resumed, _ = experiment(final=final, ema=0.9).resumed(tmp_path / "cut")
    assert resumed.fit().status == "finished"
    same(whole, resumed)


def test_a_trial_ends_as_a_run_does(tmp_path: Path) -> None:
    run = experiment(final="best").run(tmp_path / "run")
    own = experiment(final="best")
    trial = own.trial(tmp_path / "trial", own.prepared())
    trial.fit()
    assert trial.run.metrics == {"valid": run.metrics["valid"]}  # a trial doesn't look at the test part
    assert trial.run.best == run.best
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, trial.model.state_dict()[name])


def test_metrics_come_with_the_number_of_samples_they_are_of(tmp_path: Path) -> None:
    run = experiment().run(tmp_path / "run")
    assert run.samples == {"valid": 300, "test": 300}
    outcome: Mapping[str, Any] = json.loads((tmp_path / "run/outcome.json").read_text())
    assert outcome["samples"] == {"valid": 300, "test": 300}
    assert outcome["data"]["samples"] == {"train": 90, "valid": 300, "test": 300}


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"train.ema": 0.9}, "The checkpoint has no averaged weights: they begin at its weights."),
        ({"device.precision": "fp16"}, "The checkpoint has no loss scale: it begins at its default."),
    ],
)
def test_state_that_a_checkpoint_lacks_begins_anew_and_is_said(
    tmp_path: Path, change: dict[str, Any], note: str
) -> None:
    experiment().trainer(tmp_path / "run").fit(until=20)
    resumed, _ = experiment().varied(change).resumed(tmp_path / "run")
    assert resumed.run.notes == [note]
    assert resumed.fit().status == "finished"
