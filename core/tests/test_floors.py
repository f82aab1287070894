"""Floors in a run: what simple rules reach is kept and shown beside the result, and one below it is said first."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import labwright as lw
import pytest
from parts import Blobs, Sorting, sorting

FLOORS = {"always a": {"accuracy": 1 / 3, "cross_entropy": math.nan}, "an oracle": {"accuracy": 1.5}}
SAID = "is no better than an oracle (1.5)."


class Floored(Sorting):
    """Sorting beside one rule that is bad and one better than can be."""

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        assert split == "test"
        return FLOORS


class Remarked(Floored):
    """One that says itself what a floor will say, of each split."""

    def remark(self, split: str, metrics: Mapping[str, float]) -> str | None:
        return f"accuracy {metrics['accuracy']:.4g} on {split} is no better than always answering 'a'."


class Broken(Sorting):
    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        raise ValueError(f"nothing is known of {split}")


def ended(task: type[Sorting], folder: Path, log: tuple[str, ...] = ("progress", "report")) -> lw.Outcome:
    experiment = sorting(task=task(Blobs()), log=log, train={"epochs": 2, "batch_size": 15})
    outcome = experiment.run(folder).outcome
    assert outcome is not None and outcome.status == "finished"
    return outcome


def test_a_result_that_is_no_better_than_a_floor_is_said_before_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = ended(Floored, tmp_path / "run")
    said = f"accuracy {outcome.metrics['test']['accuracy']:.4g} on test {SAID}"
    assert outcome.notes[-1] == said and "always a" not in said
    told = capsys.readouterr().err
    assert told.index(f"note: {said}") < told.index("finished after")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.index(said) < page.index('class="number"')


def test_what_a_task_says_of_one_floor_itself_is_not_said_twice(tmp_path: Path) -> None:
    outcome = ended(Remarked, tmp_path / "run")
    of_valid, of_test = [note for note in outcome.notes if "is no better than" in note]
    assert "on valid is no better than always" in of_valid and of_test.endswith(f"on test {SAID}")


def test_floors_stand_beside_the_result_and_in_the_run_folder(tmp_path: Path) -> None:
    ended(Floored, tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Beside what simple rules reach on test" in page
    assert page.index(">this run<") < page.index(">always a<") < page.index(">an oracle<")
    kept = lw.Outcome.read(tmp_path / "run").floors
    assert kept["an oracle"] == {"accuracy": 1.5}
    assert kept["always a"]["accuracy"] == 1 / 3 and math.isnan(kept["always a"]["cross_entropy"])
    # a run of before there were floors
    told = json.loads((tmp_path / "run" / "outcome.json").read_text(encoding="utf-8"))
    del told["floors"]
    (tmp_path / "run" / "outcome.json").write_text(json.dumps(told), encoding="utf-8")
    assert lw.Outcome.read(tmp_path / "run").floors == {}


def test_a_run_is_not_lost_for_its_floors(tmp_path: Path) -> None:
    outcome = ended(Broken, tmp_path / "run")
    assert outcome.floors == {}
    assert (
        outcome.notes[-1]
        == "What simple rules reach on test couldn't be found out: ValueError: nothing is known of test."
    )


def test_floors_are_not_asked_for_where_nobody_is_told_of_the_end(tmp_path: Path) -> None:
    outcome = ended(Broken, tmp_path / "run", log=())
    assert outcome.floors == {} and outcome.notes == ()
