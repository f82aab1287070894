"""What groups of parameters share, and how an optimizer comes to its rate: by the schedule that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import labwright as lw
import pytest
from labwright import AdamW, Group, LabwrightError, LRSchedule
from labwright.interfaces.optimizer import grouped
from parts import sorting

NAMES = ["body.weight", "body.bias", "head.weight", "head.bias"]


def test_without_groups_all_parameters_are_one():
    assert grouped(NAMES, {}, 0.1) == [(NAMES, 1.0, 0.1)]


def test_the_first_pattern_that_matches_a_name_counts():
    groups = {"*.bias": Group(weight_decay=0.0), "head.*": Group(lr_factor=10.0)}
    assert grouped(NAMES, groups, 0.1) == [
        (["body.weight"], 1.0, 0.1),
        (["body.bias", "head.bias"], 1.0, 0.0),
        (["head.weight"], 10.0, 0.1),
    ]


def test_patterns_that_say_the_same_share_a_group():
    groups = {"head.*": Group(weight_decay=0.0), "*.bias": Group(weight_decay=0.0)}
    assert grouped(NAMES, groups, 0.1) == [
        (["body.weight"], 1.0, 0.1),
        (["body.bias", "head.weight", "head.bias"], 1.0, 0.0),
    ]


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_name():
    with pytest.raises(LabwrightError, match=r"no parameter matches 'hed\.weight'; did you mean 'head\.weight'\?"):
        grouped(NAMES, {"hed.weight": Group()}, 0.1)


# ------------------------------------------------------------------------------------------------------- the schedule


class Halving(LRSchedule):
    """Half after the first half, a tenth of it at the end."""

    def shape(self, share: float, end: float) -> float:
        return 1.0 if share < 0.5 else 0.5 * end if share == 1.0 else 0.5


class Watching(LRSchedule):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def begin(self, per_epoch: int, goal: lw.Goal) -> None:
        self.heard = [[per_epoch, goal.metric]]

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        self.heard.append([step, sorted(metrics)])

    def state(self) -> Mapping[str, Any]:
        return {"heard": self.heard}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.heard = list(state["heard"])


def test_an_optimizers_rate_is_its_lr_times_the_share_that_a_schedule_of_ones_own_gives():
    optimizer = AdamW({}, lr=0.5, schedule=Halving(), end=0.1)
    assert [optimizer.lr_at(step, 5) for step in range(5)] == [0.5, 0.5, 0.25, 0.25, 0.5 * 0.05]
    assert [AdamW({}, lr=0.5, end=0.1).lr_at(step, 5) for step in range(5)] == [0.5] * 5


def test_a_warm_up_goes_before_a_schedule_of_ones_own():
    optimizer = AdamW({}, lr=1.0, schedule=Halving(), warmup=0.5, end=0.1)
    assert [optimizer.lr_at(step, 6) for step in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.5, 0.05])


def test_a_recipe_names_a_schedule_in_a_word_or_with_its_settings_and_is_written_back_so():
    short = sorting(optimizer={"name": "adamw", "schedule": "cosine"}).table()["optimizer"]
    assert short["schedule"] == "cosine"  # as before there were settings
    assert sorting(optimizer="adamw").table()["optimizer"]["schedule"] == "constant"
    given = {"name": "step", "at": [0.5, "2 epochs"], "factor": 0.5}
    assert sorting(optimizer={"name": "adamw", "schedule": given}).table()["optimizer"]["schedule"] == given


def test_optimizers_of_one_object_keep_schedules_of_their_own():
    given = Watching()
    one, other = AdamW({}, schedule=given).lr_schedule, AdamW({}, schedule=given).lr_schedule
    one.begin(3, lw.Goal("loss", "minimize"))
    assert isinstance(one, Watching) and one.heard and isinstance(other, Watching) and not other.heard


def test_a_schedule_hears_of_the_run_and_of_valid_and_its_state_is_in_the_checkpoint_of_the_best_weights(tmp_path):
    spec = sorting(optimizer={"name": "sgd", "schedule": Watching}, train={"epochs": 2, "batch_size": 45})
    trainer = spec.trainer(tmp_path / "run")
    trainer.fit(until=2, interruptible=False)
    schedule = trainer.phase_steps[0].optimizer.lr_schedule
    assert isinstance(schedule, Watching) and trainer.best_step == 2  # whose checkpoint is the newest
    resumed, _ = spec.resumed(tmp_path / "run")
    again = resumed.phase_steps[0].optimizer.lr_schedule
    assert isinstance(again, Watching)
    assert again.heard == schedule.heard == [[2, "accuracy"], [2, sorted(trainer.run.metrics["valid"])]]
