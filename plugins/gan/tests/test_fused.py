"""Fused trials of this plugin's models: each equals its own serial run in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from fusing import check_equal
from labwright.base.seeding import generator
from labwright_gan.task import Adversarial
from torch import Tensor

FORM = pytest.mark.parametrize("form", ["grouped", "vmap"])
TRAIN = {"steps": 6, "batch_size": 16, "evaluate_every": "6 steps", "save_every": "6 steps"}


@FORM
@pytest.mark.parametrize(
    ("norm", "loss"),
    [("none", "gan/non-saturating"), ("spectral", "gan/hinge"), ("none", "gan/wasserstein")],
    ids=["plain", "spectral", "slope-penalty"],
)
def test_fused_pairs_equal_their_serial_runs(tmp_path: Path, norm: str, loss: str, form: Any) -> None:
    def make(lr: float, seed: int) -> lw.Experiment:
        return lw.Experiment(
            task={"name": "gan/adversarial", "data": "gan/ring", "latent": 8, "critic_steps": 2},
            model={"name": "gan/mlp", "width": 8, "critic_norm": norm},
            loss=loss,
            optimizer={"name": "adamw", "lr": lr, "generator": {"lr": lr / 2}},
            train=TRAIN | {"seed": seed},
            device="cpu",
            log=(),
        )

    check_equal(make, [{"lr": 0.001, "seed": 0}, {"lr": 0.01, "seed": 1}], tmp_path, form, tolerance=1e-9)


class Pictures(lw.Data):
    """Random pictures of 8x8 pixels, and nothing to validate on."""

    item = lw.Image
    target = lw.Values
    source = "made by this test"
    licence = "none needed"

    def prepare(self) -> None:
        self.x_NCHW = torch.rand(64, 1, 8, 8, generator=generator(3))

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, 8, 8), lw.Values(1)

    def split(self, name: str) -> Any:
        return self if name == "train" else None

    def __len__(self) -> int:
        return len(self.x_NCHW)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        return lw.Batch((self.x_NCHW[indices],), torch.zeros(len(indices), 1))


@FORM
@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_fused_dcgans_equal_their_serial_runs(tmp_path: Path, norm: str, form: Any) -> None:
    task = Adversarial(Pictures(), latent=8)

    def make(lr: float) -> lw.Experiment:
        return lw.Experiment(
            task=task,
            model={"name": "gan/dcgan", "width": 4, "critic_norm": norm},
            loss="gan/non-saturating",
            optimizer={"name": "adamw", "lr": lr},
            train=TRAIN,
            device="cpu",
            log=(),
        )

    check_equal(make, [{"lr": 0.001}, {"lr": 0.002}], tmp_path, form, tolerance=1e-9)
