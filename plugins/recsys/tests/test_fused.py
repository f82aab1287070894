"""Fused trials of this plugin's models: each equals its own serial run in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from fusing import check_equal
from torch import Tensor, nn
from torch.nn import functional

FORM = pytest.mark.parametrize("form", ["grouped", "vmap"])
TRAIN = {"steps": 6, "batch_size": 16, "evaluate_every": "6 steps", "save_every": "6 steps"}
DATA = {"name": "recsys/synthetic", "users": 60, "items": 50}
OWN = [{"lr": 0.001, "seed": 0}, {"lr": 0.01, "seed": 1}]
DROPPED = [{"lr": 0.001, "seed": 0, "dropout": 0.1}, {"lr": 0.01, "seed": 1, "dropout": 0.3}]


class Clicked(nn.Module):
    """Binary cross-entropy in the precision of the logits."""

    def forward(self, logits: Tensor, clicked: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(logits, clicked.to(logits.dtype))


CLICKED = Clicked()


@FORM
@pytest.mark.parametrize(
    ("task", "model", "loss", "changes"),
    [
        ("recsys/top-n", {"name": "recsys/neumf", "dim": 4, "width": 8}, "recsys/pointwise", DROPPED),
        ("recsys/top-n", {"name": "recsys/bpr-mf", "dim": 4}, "recsys/bpr", OWN),
        ("recsys/clicks", {"name": "recsys/deepfm", "dim": 4, "width": 8}, CLICKED, DROPPED),
    ],
    ids=["neumf", "bpr-mf", "deepfm"],
)
def test_fused_trials_equal_their_serial_runs(
    tmp_path: Path, task: str, model: dict[str, Any], loss: Any, changes: list[dict[str, Any]], form: Any
) -> None:
    def make(lr: float, seed: int, **of_model: float) -> lw.Experiment:
        return lw.Experiment(
            task={"name": task, "data": DATA},
            model=model | of_model,
            loss=loss,
            optimizer={"name": "adamw", "lr": lr},
            train=TRAIN | {"seed": seed},
            device="cpu",
            log=(),
        )

    check_equal(make, changes, tmp_path, form, tolerance=1e-9)


def test_a_graph_model_is_trained_one_after_another(tmp_path: Path) -> None:
    def make(lr: float) -> lw.Experiment:
        return lw.Experiment(
            task={"name": "recsys/top-n", "data": DATA},
            model={"name": "recsys/light-gcn", "dim": 4},
            loss="recsys/bpr",
            optimizer={"name": "adamw", "lr": lr},
            train=TRAIN,
            device="cpu",
            log=(),
        )

    result = check_equal(make, [{"lr": 0.001}, {"lr": 0.01}], tmp_path, "grouped", is_in_form=False)
    assert result.form is None and result.reasons
