"""Fused trials of this plugin's models: each equals its own serial run in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from fusing import check_equal

FORM = pytest.mark.parametrize("form", ["grouped", "vmap"])
TRAIN = {"steps": 6, "batch_size": 16, "evaluate_every": "6 steps", "save_every": "6 steps"}
OWN = [{"lr": 0.001, "seed": 0}, {"lr": 0.01, "seed": 1}]
DROPPED = [{"lr": 0.001, "seed": 0, "dropout": 0.1}, {"lr": 0.01, "seed": 1, "dropout": 0.3}]
MLP = {"name": "tabular/mlp", "width": 8}


@FORM
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (MLP, DROPPED),
        (MLP | {"numbers": "periodic"}, DROPPED),
        ({"name": "tabular/resnet", "width": 8}, DROPPED),
        ({"name": "tabular/wide-and-deep", "width": 8}, DROPPED),
        ({"name": "tabular/ft-transformer", "dim": 8, "heads": 2, "depth": 1, "attention_dropout": 0.0}, OWN),
    ],
    ids=["mlp", "periodic", "resnet", "wide-and-deep", "ft-transformer"],
)
def test_fused_trials_equal_their_serial_runs(
    tmp_path: Path, model: dict[str, Any], changes: list[dict[str, Any]], form: Any
) -> None:
    def make(lr: float, seed: int, **of_model: float) -> lw.Experiment:
        return lw.Experiment(
            task={"name": "classification", "data": "tabular/wine"},
            model=model | of_model,
            loss="cross-entropy",
            optimizer={"name": "adamw", "lr": lr},
            train=TRAIN | {"seed": seed},
            device="cpu",
            log=(),
        )

    check_equal(make, changes, tmp_path, form, tolerance=1e-9)


@FORM
def test_fused_trials_over_weighted_rows_equal_their_serial_runs(tmp_path: Path, form: Any) -> None:
    lines = [f"{number % 13},{number % 7},{number % 3 / 2},{'ab'[number * 5 % 13 > 6]}" for number in range(80)]
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(["one,two,weight,label", *lines]) + "\n")

    def make(lr: float, seed: int) -> lw.Experiment:
        return lw.Experiment(
            task={
                "name": "classification",
                "data": {"name": "tabular/table", "path": str(file), "target": "label", "weight": "weight"},
            },
            model=MLP,
            loss="cross-entropy",
            optimizer={"name": "adamw", "lr": lr},
            train=TRAIN | {"seed": seed},
            device="cpu",
            log=(),
        )

    check_equal(make, OWN, tmp_path, form, tolerance=1e-9)
