"""The rules that end a run early."""

from __future__ import annotations

import math
from pathlib import Path

import labwright as lw
import pytest
import torch
from labwright.base.errors import LabwrightError, StopRun
from labwright.interfaces.run import Run
from labwright.plugin.registry import Plugins
from labwright.plugin.relay import Relay, check_listener
from labwright.train.log import Log, read_log
from labwright_tasks.stopping import Early, Seconds
from parts import Blobs, Sorting, sorting
from torch import nn


class Scoring(Sorting):
    goal = lw.Goal("score", "maximize")


def new_run(folder: Path, data: lw.Data | None = None) -> Run:
    task = Scoring(data or Blobs())
    task.prepare()
    return Run(folder, {}, task, nn.Linear(1, 1), torch.device("cpu"), total_steps=100, steps_per_epoch=10)


class Session:
    """A run's evaluations as the trainer makes them: into the run, into the log, to the listeners."""

    def __init__(self, folder: Path, rule: object, *, step: int = 0, data: lw.Data | None = None) -> None:
        self.run = new_run(folder, data)
        self.run.step = step
        self.log = Log(folder / "metrics.jsonl")
        check_listener(rule)
        self.relay = Relay(Plugins([]), [rule])
        for call in self.relay.run_started:
            call(run=self.run)

    def evaluate(self, value: float, split: str = "valid", **others: float) -> None:
        metrics = {"score": value, **others}
        self.run.step += 1
        self.run.metrics[split] = metrics
        self.log.write({"event": "evaluation", "step": self.run.step, "split": split, "metrics": metrics})
        for call in self.relay.evaluated:
            call(run=self.run, step=self.run.step, split=split, metrics=metrics)


def stopped_after(folder: Path, rule: object, values: list[float]) -> int | None:
    """The number of evaluations after which the rule ends the run; None if it doesn't."""
    session = Session(folder, rule)
    for number, value in enumerate(values, 1):
        try:
            session.evaluate(value)
        except StopRun:
            return number
    return None


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], 1, 0.0, None),
        ([0.5, 0.5], 1, 0.0, 2),  # as good as before is not better
        ([0.5, 0.4, 0.3, 0.2], 3, 0.0, 4),
        ([0.5, 0.4, 0.6, 0.5, 0.4], 2, 0.0, 5),  # an improvement starts the count again
        ([0.50, 0.54, 0.58], 2, 0.05, None),  # 0.58 is more than 0.05 above 0.50, the best that counted
        ([0.50, 0.54, 0.55], 2, 0.05, 3),
        ([0.5, math.nan, math.nan], 2, 0.0, 3),
        ([math.nan, math.nan], 2, 0.0, 2),
        ([math.nan, 0.1, 0.2], 2, 0.0, None),
    ],
)
def test_a_run_ends_when_the_goal_has_not_improved_for_as_long_as_patience_lasts(
    tmp_path, values, patience, min_delta, expected
):
    assert stopped_after(tmp_path, Early(patience=patience, min_delta=min_delta), values) == expected


def test_a_metric_to_minimize_improves_downwards(tmp_path):
    session = Session(tmp_path, Early(metric="nats", direction="minimize", patience=2))
    for nats in (3.0, 2.0, 1.0, 1.5):
        session.evaluate(0.1, nats=nats)
    with pytest.raises(StopRun, match="nats has not improved on 1 in 2 evaluations"):
        session.evaluate(0.9, nats=1.0)


def test_the_test_split_ends_nothing(tmp_path):
    session = Session(tmp_path, Early(patience=1))
    session.evaluate(0.9)
    session.evaluate(0.1, split="test")
    session.evaluate(0.95)


def test_a_metric_that_does_not_exist_is_answered_with_the_nearest(tmp_path):
    session = Session(tmp_path, Early(metric="scoer", direction="maximize"))
    with pytest.raises(LabwrightError, match=r"nats, score, none is called 'scoer'; did you mean 'score'\?$"):
        session.evaluate(0.1, nats=1.0)


def test_the_direction_of_another_metric_than_the_goal_has_to_be_said(tmp_path):
    session = Session(tmp_path, Early(metric="nats"))
    with pytest.raises(LabwrightError, match=r"'nats' is not the task's goal \('score'\); say whether to"):
        session.evaluate(0.1, nats=1.0)


def test_a_rule_with_nothing_to_watch_is_an_error(tmp_path):
    with pytest.raises(LabwrightError, match="the data has no `valid` split"):
        Session(tmp_path, Early(), data=Blobs(held_out=0))


VALUES = [0.1, 0.4, 0.3, 0.5, math.nan, 0.5, 0.49, 0.2, 0.9]


@pytest.mark.parametrize("at", range(1, 7))
def test_a_resumed_run_ends_where_the_uninterrupted_one_ends(tmp_path, at):
    whole = stopped_after(tmp_path, Early(patience=3), VALUES)
    assert whole == 7
    folder = tmp_path / "resumed"
    folder.mkdir()
    first = Session(folder, Early(patience=3))
    for value in VALUES[:at]:
        first.evaluate(value)
    second = Session(folder, Early(patience=3), step=at)
    for value in VALUES[at : whole - 1]:
        second.evaluate(value)
    with pytest.raises(StopRun, match=r"score has not improved on 0\.5 in 3 evaluations"):
        second.evaluate(VALUES[whole - 1])


def test_evaluations_after_the_checkpoint_and_of_other_splits_do_not_count_on_resuming(tmp_path):
    first = Session(tmp_path, Early(patience=2))
    first.evaluate(0.5)
    first.evaluate(0.4, split="test")
    first.evaluate(0.1)
    second = Session(tmp_path, Early(patience=2), step=2)
    second.evaluate(0.1)
    with pytest.raises(StopRun):
        second.evaluate(0.1)


def test_a_run_whose_patience_is_used_up_ends_at_once_when_resumed_and_goes_on_with_more_patience(tmp_path):
    assert stopped_after(tmp_path, Early(patience=2), [0.5, 0.4, 0.3]) == 3
    with pytest.raises(StopRun, match="in 2 evaluations"):
        Session(tmp_path, Early(patience=2), step=3)
    Session(tmp_path, Early(patience=3), step=3)


@pytest.mark.timing
def test_a_run_ends_at_the_first_step_after_its_time_is_over(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("labwright_tasks.stopping.time.monotonic", lambda: now)
    session = Session(tmp_path, Seconds(limit=60))

    def step() -> None:
        for call in session.relay.step_ended:
            call(run=session.run, step=1, losses={})

    step()
    now = 1059.9
    step()
    now = 1060.0
    with pytest.raises(StopRun, match=r"^60 seconds are over$"):
        step()


def test_a_real_run_that_was_killed_ends_at_the_step_where_the_whole_one_ended(tmp_path):
    experiment = sorting(
        train={"steps": 60, "batch_size": 15, "evaluate_every": "2 steps", "save_every": "1 step", "keep": 60},
        stop=[{"name": "early", "metric": "cross_entropy", "direction": "minimize", "patience": 2, "min_delta": 0.02}],
    )
    whole = experiment.run(tmp_path / "whole").outcome
    assert whole is not None
    assert (whole.status, 4 < whole.step < 60) == ("stopped", True)
    folder = tmp_path / "killed"
    experiment.trainer(folder).fit(until=whole.step - 1)
    resumed = experiment.resumed(folder)[0].fit()
    assert (resumed.status, resumed.step, resumed.reason) == (whole.status, whole.step, whole.reason)
    again = experiment.resumed(folder)[0].fit()
    assert (again.status, again.step, again.reason) == (whole.status, whole.step, whole.reason)
    evaluated = [
        [(one["step"], one["metrics"]) for one in read_log(path / "metrics.jsonl") if one.get("split") == "valid"]
        for path in (tmp_path / "whole", folder)
    ]
    assert evaluated[0] == evaluated[1]
