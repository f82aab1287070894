"""Fused trials of this plugin's models: each equals its own serial run in float64; detection's are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from fusing import check_equal
from labwright_study.fused import why_not

FORM = pytest.mark.parametrize("form", ["grouped", "vmap"])
TRAIN = {"steps": 6, "batch_size": 16, "evaluate_every": "6 steps", "save_every": "6 steps"}
OWN = [{"lr": 0.001, "seed": 0}, {"lr": 0.01, "seed": 1}]
DROPPED = [{"lr": 0.001, "seed": 0, "dropout": 0.1}, {"lr": 0.01, "seed": 1, "dropout": 0.3}]


@FORM
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ({"name": "vision/mlp", "width": 16}, DROPPED),
        ({"name": "vision/cnn", "width": 4}, DROPPED),
        ({"name": "vision/resnet", "width": 4, "depth": 8}, OWN),
    ],
    ids=["mlp", "cnn", "resnet"],
)
def test_fused_trials_equal_their_serial_runs(
    tmp_path: Path, model: dict[str, Any], changes: list[dict[str, Any]], form: Any
) -> None:
    def make(lr: float, seed: int, **of_model: float) -> lw.Experiment:
        return lw.Experiment(
            task={"name": "classification", "data": "vision/digits"},
            model=model | of_model,
            loss="cross-entropy",
            optimizer={"name": "adamw", "lr": lr},
            train=TRAIN | {"seed": seed},
            device="cpu",
            log=(),
        )

    check_equal(make, changes, tmp_path, form, tolerance=1e-9)


@pytest.mark.parametrize("recipe", ["vision/shapes-detection", "vision/shapes-instances"])
def test_trials_of_detection_are_not_fused_and_the_reason_is_said(recipe: str) -> None:
    said = why_not(lw.Experiment.from_recipe(recipe))
    assert said == "task 'vision/detection': its loss has named parts, and a fused trial's is one number"
    assert not why_not(lw.Experiment.from_recipe("vision/digits-mlp"))
