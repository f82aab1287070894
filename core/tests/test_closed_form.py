"""Models in closed form: one call of `fit`, no loss, no optimizer, and everything else as for any model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from conftest import toys
from labwright.data.batching import IndexedBatches
from labwright.runs.load import built_from
from labwright_testing.verify_resume import verify_resume
from parts import Blobs
from torch import Tensor


class Centroids(lw.ClosedForm):
    """Each class's mean; a score is minus the squared distance to it (Hastie et al. 2009, section 18.2)."""

    means: Tensor

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(len(outputs.names), *inputs.shape))

    def fit(self, batches: IndexedBatches) -> None:
        counts = torch.zeros(len(self.means))
        for batch in batches:
            self.means.index_add_(0, batch.targets, batch.inputs[0])
            counts += batch.targets.bincount(minlength=len(counts))
        self.means /= counts[:, None]

    def forward(self, x_BD: Tensor) -> Tensor:
        return -torch.cdist(x_BD, self.means).square()


def centroids(**changed: Any) -> lw.Experiment:
    settings: dict[str, Any] = {"device": "cpu", "train": {"batch_size": 32}, "log": ()} | changed
    return lw.Experiment(task={"name": "sorting", "data": "toys/blobs"}, model=Centroids, plugins=toys(), **settings)


def test_fit_is_called_once_with_all_training_samples(tmp_path: Path) -> None:
    run = centroids().run(tmp_path / "run")
    data = Blobs()
    data.prepare()
    train = data.splits["train"]
    means = torch.stack([train.x_ND[train.y_N == label].mean(0) for label in range(3)])
    torch.testing.assert_close(run.model.means, means)
    assert (run.step, run.total_steps) == (1, 1)
    assert run.outcome is not None and run.outcome.status == "finished"
    assert run.metrics["test"]["accuracy"] > 0.98  # centres 5.7 deviations apart: the best there is has 0.995


def test_what_was_computed_is_kept_and_taken_up_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = centroids().run(folder)
    experiment = lw.Experiment(
        task={"name": "sorting", "data": "toys/blobs"}, model=Centroids, plugins=toys(), device="cpu", log=(),
        train={"batch_size": 32},
    )  # fmt: skip
    built = built_from(folder, experiment)
    assert torch.equal(built.model.means, run.model.means)
    trainer, _ = experiment.resumed(folder)
    assert trainer.fit().metrics == run.metrics
    assert json.loads((folder / "outcome.json").read_text())["step"] == 1


def test_verify_resume_has_nothing_to_find_in_one_step() -> None:
    verdict = verify_resume(centroids(), 2)
    assert verdict.exact
    assert (verdict.steps, verdict.stopped_at) == (1, 1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"loss": "cross-entropy"}, r"has no use for loss\. As overrides, `loss=`"),
        ({"optimizer": "adam", "train": {"epochs": 3}}, r"optimizer, train.epochs\..*`optimizer= train.epochs=`"),
        ({"train": {"steps": 3}}, r"'Centroids' is computed in closed form"),
    ],
)
def test_settings_of_a_descent_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(lw.LabwrightError, match=words):
        centroids(**changed)
