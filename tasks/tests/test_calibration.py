"""Temperature scaling: a planted temperature is found, as a grid finds it, and a run's answers are scaled by it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import labwright as lw
import pytest
import torch
from labwright import LabwrightError
from labwright_tasks.calibration.fitting import fitted, measured
from labwright_tasks.calibration.recipe import calibrating
from labwright_tasks.model_output import together
from torch import Tensor


def drawn(count: int, seed: int = 0, views: int = 1, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Logits (V, N, C), and labels drawn by their probabilities: they mean what they say."""
    draws = torch.Generator().manual_seed(seed)
    logits_NC = 2 * torch.randn(count, classes, generator=draws, dtype=torch.float64)
    noise_VNC = 0.5 * torch.randn(views, count, classes, generator=draws, dtype=torch.float64)
    labels_N = torch.multinomial(logits_NC.softmax(1), 1, generator=draws).squeeze(1)
    return logits_NC + noise_VNC * (views > 1), labels_N


@pytest.mark.parametrize("planted", [0.4, 1.0, 3.0])
def test_a_planted_temperature_is_found_and_the_answers_stay(planted: float) -> None:
    logits, labels = drawn(20_000)
    fit = fitted(logits * planted, labels)
    assert fit.low < planted < fit.high and fit.high < 1.1 * fit.low
    before, after = logits * planted, logits * planted / fit.temperature
    assert torch.equal(before.argmax(-1), after.argmax(-1))
    (nats, error), (nats_after, error_after) = measured(before, labels, 1.0), measured(before, labels, fit.temperature)
    assert nats_after <= nats and error_after < 0.012
    assert planted == 1.0 or error > 5 * error_after


@pytest.mark.parametrize("views", [1, 2])
def test_it_is_where_a_grid_finds_the_least_cross_entropy(views: int) -> None:
    logits, labels = drawn(500, seed=1, views=views)
    logits = logits * 2
    temperature = fitted(logits, labels).temperature
    grid = [temperature * 1.0001**power for power in range(-2000, 2001)]  # 0.82 to 1.22 times as much

    def nats(one: float) -> float:  # from the definition
        return -float((logits / one).softmax(-1).mean(0)[torch.arange(500), labels].log().mean())

    best = min(grid[::20], key=nats)
    assert temperature == pytest.approx(best, rel=2.1e-3)
    assert nats(temperature) <= min(map(nats, grid[1990:2011])) + 1e-12
    assert measured(logits, labels, temperature)[0] == pytest.approx(nats(temperature), rel=1e-9)


def test_its_interval_is_as_wide_as_the_estimate_is_spread() -> None:
    fits = [fitted(2 * logits, labels) for logits, labels in (drawn(300, seed) for seed in range(200))]
    spread = torch.tensor([math.log(fit.temperature) for fit in fits]).std()
    reach = torch.tensor([math.log(fit.high / fit.low) / 2 / 1.96 for fit in fits]).mean()
    assert float(reach / spread) == pytest.approx(1, abs=0.12)
    assert 0.9 < sum(fit.low < 2 < fit.high for fit in fits) / 200 < 0.99


def test_mean_probabilities_of_views_are_what_is_measured() -> None:
    logits, _ = drawn(5, views=2)
    torch.testing.assert_close(together(logits).softmax(-1), logits.softmax(-1).mean(0))


def test_where_nothing_can_be_fitted_it_stays_1_and_says_why() -> None:
    logits = torch.tensor([[[3.0, 0.0], [0.0, 2.0], [1.0, 0.0]]])
    right, wrong = torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1])
    assert fitted(logits, right).notes == ("all 3 samples are right, so that no temperature is too low: it stays 1.",)
    chance = fitted(logits, wrong)
    assert chance.temperature == 1 and "no better than chance" in chance.notes[0]
    some = fitted(logits.repeat(1, 20, 1), torch.tensor([0, 1, 1, *[0, 1, 0] * 19]))
    assert "only 1 of 60 samples are wrong" in some.notes[0]


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained for long on few pictures and is too sure."""
    folder = tmp_path_factory.mktemp("runs") / "sure"
    lw.Experiment(
        task={"name": "classification", "data": {"name": "vision/digits", "valid": 0.9}},
        model={"name": "vision/mlp", "width": 64},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 0.01},
        device={"name": "cpu", "threads": 1},
        train={"epochs": 40, "ema": 0.9, "evaluate_every": "40 epochs"},
        log=["report"],
    ).run(folder)
    return folder


def test_a_run_is_calibrated_into_a_new_folder_and_answers_by_it(
    sure: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    before = {file: file.read_bytes() for file in sure.rglob("*") if file.is_file()}
    code, told, _ = command("calibrate", str(sure), "--folder", str(tmp_path / "new"))
    assert code == 0 and before == {file: file.read_bytes() for file in sure.rglob("*") if file.is_file()}
    outcome = json.loads((tmp_path / "new" / "outcome.json").read_text())
    figures, old = outcome["figures"], json.loads((sure / "outcome.json").read_text())
    assert figures["temperature_low"] > 1 and f"temperature                 {figures['temperature']:.4g}" in told
    assert figures["valid/nll_after"] < figures["valid/nll_before"]
    assert figures["test/ece_after"] < figures["test/ece_before"]
    for split in ("valid", "test"):  # as the runs themselves measure it
        assert figures[f"{split}/nll_before"] == pytest.approx(old["metrics"][split]["cross_entropy"], rel=1e-5)
        assert figures[f"{split}/nll_after"] == pytest.approx(outcome["metrics"][split]["log-loss"], rel=1e-5)
        assert figures[f"{split}/ece_after"] == pytest.approx(outcome["metrics"][split]["calibration-error"], abs=1e-5)
        assert outcome["metrics"][split]["accuracy"] == old["metrics"][split]["accuracy"]
    assert "test/ece_after" in (tmp_path / "new" / "report.html").read_text()
    runs = [lw.load(folder) for folder in (sure, tmp_path / "new")]
    (x,) = runs[0].task.ports()[0].example(4, lw.generator(0))
    with torch.no_grad():
        scaled = (runs[0].model(x) / figures["temperature"]).softmax(1)
        answers = runs[1].task.predict(runs[1].model, (x,), [None] * 4)
    for row, answer in zip(scaled, answers, strict=True):
        assert answer["probability"] == pytest.approx(float(row.max()), rel=1e-5)


def test_it_takes_an_empty_folder_a_valid_part_and_a_run_that_is_none_yet(
    sure: Path, tmp_path: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, said = command("calibrate", str(sure), "--folder", str(sure))
    assert code == 2 and "isn't empty" in said
    experiment = lw.Experiment.from_recipe(sure / "recipe.toml", ["task.data.valid=0.0", "train.epochs=1"])
    experiment.run(tmp_path / "whole")
    code, _, said = command("calibrate", str(tmp_path / "whole"), "--folder", str(tmp_path / "new"))
    assert code == 2 and "fits on the 'valid' part, and this data has none" in said
    assert not (tmp_path / "new").exists()
    assert command("calibrate", str(sure), "--folder", str(tmp_path / "once"))[0] == 0
    code, _, said = command("calibrate", str(tmp_path / "once"), "--folder", str(tmp_path / "twice"))
    assert code == 2 and "is calibrated already" in said


def test_its_recipe_makes_the_same_run_again_and_only_with_a_whole_step(sure: Path, tmp_path: Path) -> None:
    experiment, _ = calibrating(sure, "final", lw.Plugins.discover())
    once, again = (experiment.run(tmp_path / name).model for name in ("once", "again"))
    assert torch.equal(once.log_temperature, again.log_temperature)
    with pytest.raises(LabwrightError, match=r"Add optimizer\.lr=1\.0$"):
        experiment.varied({"optimizer.lr": 0.1}).run(tmp_path / "slow")
    with pytest.raises(LabwrightError, match="fits the temperature of model 'calibrated'"):
        experiment.varied({"model": {"name": "vision/mlp"}, "start": None}).run(tmp_path / "other")


def test_a_run_of_something_else_than_classes_is_refused(tmp_path: Path) -> None:
    lw.Experiment(
        task={"name": "multi", "data": "vision/digits-heads"},
        model={"name": "heads", "trunk": {"name": "vision/mlp"}},
        loss="weighted",
        optimizer="adamw",
        train={"steps": 1},
        log=(),
    ).run(tmp_path / "run")
    with pytest.raises(LabwrightError, match="is a run of task 'multi'; a temperature is fitted to the classes of"):
        calibrating(tmp_path / "run", "final", lw.Plugins.discover())
