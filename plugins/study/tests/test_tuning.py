"""`lw.tune`: a search from one call, as the verb makes it; and what a notebook shows of studies and comparisons."""

from __future__ import annotations

import json
import statistics
import sys
import tomllib
from pathlib import Path
from typing import Any

import labwright as lw
import optuna
import pytest
from labwright.cli import main
from labwright_study.samplers import CMAES

RECIPE = "vision/digits-mlp"
OVERRIDES = ["task.data.valid=0.2", "train.epochs=1", "model.depth=1"]
ONLY = ["optimizer.lr", "model.*"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("studies") / "python"
    how: dict[str, Any] = {"folder": str(folder), "confirm": 1, "seeds": 2, "quiet": True}
    return lw.tune(RECIPE, OVERRIDES, 3, only=ONLY, **how)


def test_it_searches_as_the_verb_does(
    found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    only = [word for path in ONLY for word in ("--only", path)]
    monkeypatch.setattr(sys, "argv", ["labwright", "tune", RECIPE, *OVERRIDES, *only, "--trials", "3", "--json"])
    with pytest.raises(SystemExit):
        main()
    said = json.loads(capsys.readouterr().out)
    assert said["best"] == found.best
    assert (found.trials, found.complete) == (3, 3)
    assert set(found.best[0]["settings"]) == {
        "optimizer.lr",
        "model.width",
        "model.dropout",
    }  # not the depth, as it is given
    assert tomllib.loads((found.folder / "best.toml").read_text())["model"]["depth"] == 1


def test_the_same_call_goes_on_and_an_experiment_is_searched_alike(found: Any) -> None:
    experiment = lw.Experiment.from_recipe(RECIPE, OVERRIDES)
    again = lw.tune(experiment, trials=3, only=ONLY, fixed=["model.depth"], folder=found.folder, quiet=True)
    assert again.best == found.best
    assert (again.trials, again.confirmed) == (3, None)


def test_the_best_are_run_again_over_fresh_seeds(found: Any) -> None:
    assert len(found.confirmed.seeds) == 2
    written = json.loads((found.folder / "confirmed.json").read_text())
    assert json.loads(json.dumps(found.json()["confirmed"])) == written


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipe": "vision/digist-mlp"}, r"no recipe is called 'vision/digist-mlp'; did you mean 'vision/digits-mlp'"),
        ({"confirm": -1}, r"given confirm=-1 and seeds=5"),
        ({"trials": 0}, r"trials: given 0; it should be a whole number from 1 on"),
        ({"recipe": lw.Experiment.from_recipe(RECIPE)}, r"overrides are of a recipe; .* `experiment\.varied"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(lw.LabwrightError, match=said):
        lw.tune(**({"recipe": RECIPE, "overrides": OVERRIDES} | given))


def test_studies_and_comparisons_show_themselves_in_a_line_and_as_a_table(found: Any, tmp_path: Path) -> None:
    study = lw.Study(lw.Experiment.from_recipe(RECIPE, OVERRIDES), 4, folder=tmp_path / "s", search={"only": ONLY})
    candidates = {name: f"{RECIPE} model.width={width}" for name, width in (("wide", 64), ("narrow", 4))}
    compared = lw.compare(candidates, 2, overrides=["train.epochs=1"], folder=tmp_path / "c", quiet=True)
    accuracy = found.best[0]["values"]["accuracy"]
    for thing, words in [
        (found, [f"{accuracy:.5g}", "over fresh seeds", "model.width"]),
        (study, ["1e-05 to 0.1, log", "optimizer.lr", "tpe and median"]),
        (compared, ["No verdict on wide and narrow from 2 seeds", "range of 2 seeds"]),
    ]:
        assert "\n" not in repr(thing) and len(repr(thing)) < 200
        html = thing._repr_html_()
        assert [word for word in words if word not in html] == []
    assert f"3 trials: 3 complete, 0 pruned, 0 failed; best: accuracy {accuracy:.4g}" in repr(found)
    assert "4 trials over 4 settings of vision/digits-mlp, maximize accuracy" in repr(study)
    assert "test accuracy of 2 seeds: wide 0." in repr(compared)


def test_the_first_generation_of_cma_es_is_as_wide_as_it_is_told() -> None:
    def spread(sigma: float) -> float:
        study = optuna.create_study(sampler=CMAES(sigma=sigma, population=20).make(0, None))  # type: ignore[arg-type]
        study.optimize(lambda trial: abs(trial.suggest_float("x", 0, 1) - 0.5), n_trials=21)
        return statistics.stdev(trial.params["x"] for trial in study.trials[1:])

    assert spread(0.01) == pytest.approx(0.01, rel=0.5)
    assert spread(0.1) == pytest.approx(0.1, rel=0.5)
