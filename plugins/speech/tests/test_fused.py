"""Fused trials of this plugin's models: each equals its own serial run in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from fusing import check_equal
from labwright.base.seeding import generator
from torch import Tensor

FORM = pytest.mark.parametrize("form", ["grouped", "vmap"])
TRAIN = {"steps": 6, "batch_size": 16, "evaluate_every": "6 steps", "save_every": "6 steps"}
DROPPED = [{"lr": 0.001, "seed": 0, "dropout": 0.1}, {"lr": 0.01, "seed": 1, "dropout": 0.3}]


class Noise(lw.Data):
    """A tenth of a second of noise, of one of two strengths."""

    item = lw.Audio
    target = lw.Classes
    source = "made by this test"
    licence = "none needed"

    def prepare(self) -> None:
        self.y_N = torch.arange(48) % 2
        self.x_NT = (torch.rand(48, 1600, generator=generator(5)) - 0.5) * (1 + self.y_N[:, None])

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Audio(16000, 1600), lw.Classes(("soft", "loud"))

    def split(self, name: str) -> Any:
        return self if name == "train" else None

    def __len__(self) -> int:
        return len(self.y_N)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        return lw.Batch((self.x_NT[indices], torch.full((len(indices),), 1600)), self.y_N[indices])


@FORM
@pytest.mark.parametrize("model", ["speech/m5", "speech/bc-resnet"])
def test_fused_trials_equal_their_serial_runs(tmp_path: Path, model: str, form: Any) -> None:
    data = Noise()
    from labwright_tasks.classification import Classification

    task = Classification(data)

    def make(lr: float, seed: int, dropout: float) -> lw.Experiment:
        return lw.Experiment(
            task=task,
            model={"name": model, "dropout": dropout},
            loss="cross-entropy",
            optimizer={"name": "adamw", "lr": lr},
            train=TRAIN | {"seed": seed, "steps": 4},
            device="cpu",
            log=(),
        )

    check_equal(make, DROPPED, tmp_path, form, tolerance=1e-9)
