"""`labwright cross-validate` on a small recipe: each fold a whole run, their mean, going on, and slips."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from labwright_tasks.cross_validation.interval import corrected_interval

RECIPE = ("vision/digits-mlp", "train.epochs=2", "model.width=16")


@pytest.fixture
def folds(command, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    code, out, err = command("cross-validate", *RECIPE, "--folds", "3", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told == json.loads(Path(told["folder"], "folds.json").read_text())
    return tmp_path / told["folder"]


@pytest.mark.long
def test_folds_are_whole_runs_and_are_gone_on_with(folds, command):
    told = json.loads((folds / "folds.json").read_text())
    accuracy = told["scores"]["accuracy"]
    outcomes = [json.loads((folds / f"fold-{number}" / "outcome.json").read_text()) for number in (1, 2, 3)]
    assert accuracy["values"] == [outcome["metrics"]["test"]["accuracy"] for outcome in outcomes]
    assert accuracy["mean"] == pytest.approx(sum(accuracy["values"]) / 3)
    frequent = told["floors"]["most frequent class"]
    assert frequent["values"] == [outcome["floors"]["most frequent class"]["accuracy"] for outcome in outcomes]
    assert frequent["mean"] == pytest.approx(0.1, abs=0.02) and frequent["interval"]
    # 1,437 samples without the data's own 360 for testing
    assert sum(outcome["samples"]["test"] for outcome in outcomes) == 1437
    assert told["held_out"] == pytest.approx(1 / 2, rel=1e-2)
    assert accuracy["interval"] == pytest.approx(corrected_interval(accuracy["values"], told["held_out"]))
    recipe = tomllib.loads((folds / "fold-2" / "recipe.toml").read_text())
    assert recipe["task"]["data"]["number"] == 2 and recipe["task"]["data"]["data"]["valid"] == 0

    # a fold's run is evaluated and resumed like any other
    code, out, _ = command("evaluate", str(folds / "fold-2"), "--json")
    assert code == 0 and json.loads(out)["metrics"]["accuracy"] == accuracy["values"][1]
    code, _, err = command("resume", str(folds / "fold-2"), "train.epochs=3")
    assert code == 0, err

    # the folds judge the labels that they held out: all that there is to learn from
    code, out, err = command("check-data", "vision/digits", "--run", str(folds), "--json")
    assert code in (0, 1), err
    (doubt,) = [finding for finding in json.loads(out)["findings"] if finding["check"] == "labels"]
    assert "of 1,437 labels are doubtful" in doubt["sentence"] and "by the run" in doubt["sentence"]
    code, _, err = command("check-data", "nlp/languages", "--run", str(folds))
    assert code == 2 and "tells other classes apart" in err

    # what is there is taken as it is, what isn't is trained: to the same bits
    shutil.rmtree(folds / "fold-2")
    code, out, err = command("cross-validate", *RECIPE, "--folds", "3", "--json", "--folder", str(folds))
    assert code == 0, err
    assert json.loads(out)["scores"] == told["scores"]

    # `run` has it as an option
    code, out, err = command("run", *RECIPE, "--folds", "3", "--json", "--folder", str(folds))
    assert code == 0, err
    assert json.loads(out)["scores"] == told["scores"]

    code, _, err = command("cross-validate", *RECIPE, "--folds", "4", "--folder", str(folds))
    assert code == 2 and "holds a run of another recipe or other folds: its task differ" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recsys/synthetic"], "depend on one another"),
        (["vision/digits", "--folds", "1"], "--folds"),
        (["vision/digits", "--by", "time"], "doesn't tell of its samples"),
        (["vision/digts"], "did you mean 'vision/digits'?"),
    ],
)
def test_a_slip_is_answered_in_one_message(command, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = command("cross-validate", *arguments)
    assert code == 2 and message in err and "Traceback" not in err
