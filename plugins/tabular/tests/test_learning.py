"""The recipes learn: each beats a floor that is stated beside it, and answers rows without its data."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest

# logistic regression by five folds: breast cancer 0.979, wine 0.983; ridge: R2 0.49 (benchmarks/TABLES.md)
BARS = {"breast-cancer": ("accuracy", 0.95), "wine": ("accuracy", 0.94), "diabetes": ("r2", 0.35)}


@pytest.mark.parametrize("name", BARS)
def test_an_embedded_table_is_learned_about_as_well_as_by_a_linear_model(name: str, tmp_path: Path) -> None:
    run = lw.Experiment.from_recipe(f"tabular/{name}").run(tmp_path / "run")
    metric, bar = BARS[name]
    assert run.metrics["test"][metric] >= bar


def test_quantiles_hold_between_them_about_as_many_as_they_say(tmp_path: Path) -> None:
    run = lw.Experiment.from_recipe("tabular/diabetes-quantiles").run(tmp_path / "run")
    test = run.metrics["test"]
    assert abs(test["coverage"] - 0.8) < 0.15  # 88 patients: the standard error is 0.04
    assert test["crossed"] == 0
    assert test["pinball"] < 17.5  # the training quantiles, the same for everyone: 20.4


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet", "wide-and-deep", "ft-transformer"])
def test_every_model_learns_a_table_with_categories(model: str, people: Path, tmp_path: Path) -> None:
    overrides = [f"task.data.path={people}", "task.data.target=stays", f"model=tabular/{model}", "device=cpu"]
    run = lw.Experiment.from_recipe("tabular/table", [*overrides, "train.batch_size=32"]).run(tmp_path / "run")
    assert run.metrics["test"]["accuracy"] > 0.95


@pytest.fixture
def people(write: Callable[[str, Sequence[str]], Path]) -> Path:
    """Whoever is above 40 with a degree stays, and nobody else: neither column alone says it."""
    lines = ["age,school,stays"]
    for number in range(600):
        age, school = 20 + number * 7 % 41, ("none", "degree", "?")[number * 5 % 3]
        lines.append(f"{age},{school},{'yes' if age > 40 and school == 'degree' else 'no'}")
    return write("people.csv", lines)


def test_rows_are_answered_without_the_data(people: Path, tmp_path: Path, labwright: Callable[..., Any]) -> None:
    overrides = [f"task.data.path={people}", "task.data.target=stays", "train.batch_size=32", "device=cpu"]
    lw.Experiment.from_recipe("tabular/table", overrides).run(tmp_path / "run")
    people.unlink()
    rows = ["--row", '{"age": 55, "school": "degree"}', "--row", "55,none", "--row", '{"school": "degree"}']
    answered = labwright("predict", "run", *rows, "--json")
    assert answered.code == 0, answered.errors
    answers = [json.loads(line) for line in answered.out.splitlines()]
    assert [answer["label"] for answer in answers[:2]] == ["yes", "no"]
    assert set(answers[2]["probabilities"]) == {"yes", "no"}
    wrong = labwright("predict", "run", "--row", '{"age": "old"}')
    assert wrong.code == 2 and "'age' is 'old', where a finite number is meant" in wrong.errors


@pytest.mark.long
def test_adult_is_learned_better_than_by_logistic_regression(shared: Callable[[str], Path], tmp_path: Path) -> None:
    overrides = [f"task.data.path={shared('adult/adult.csv.gz')}"]
    run = lw.Experiment.from_recipe("tabular/adult", overrides).run(tmp_path / "run")
    assert run.metrics["test"]["auroc"] >= 0.920  # logistic regression: 0.905


@pytest.mark.long
def test_california_is_learned_better_than_by_ridge(shared: Callable[[str], Path], tmp_path: Path) -> None:
    overrides = [f"task.data.path={shared('california_housing/california.csv.gz')}"]
    run = lw.Experiment.from_recipe("tabular/california", overrides).run(tmp_path / "run")
    assert run.metrics["test"]["rmse"] <= 0.50  # ridge: 0.728


def test_a_run_says_what_linear_models_and_boosting_reach_beside_it(people: Path, tmp_path: Path) -> None:
    overrides = [f"task.data.path={people}", "task.data.target=stays", "train.epochs=1", "device=cpu"]
    run = lw.Experiment.from_recipe("tabular/table", overrides).run(tmp_path / "run")
    accuracy = {rule: floor["accuracy"] for rule, floor in run.floors.items()}
    assert list(accuracy) == ["most frequent class", "logistic regression on columns", "gradient boosting"]
    assert accuracy["gradient boosting"] > 0.95 > accuracy["most frequent class"]
    assert any("accuracy" in note and "is no better than" in note for note in run.notes)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "gradient boosting" in page
