"""Learning from two views of pictures: what it reaches without a label, resuming, evaluating and tuning it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright_testing.verify_resume import verify_resume

QUIET: dict[str, Any] = {"log": []}


def experiment(recipe: str, **changes: Any) -> lw.Experiment:
    return lw.Experiment.from_recipe(recipe).varied(QUIET | changes)


def accuracy(evaluated: Any) -> float:
    return float(evaluated.metrics["knn_accuracy"])


@pytest.mark.long
def test_simclr_learns_digits_without_a_label(tmp_path: Path) -> None:
    recipe = experiment("vision/digits-simclr")
    untrained = accuracy(recipe.build().evaluate("test", size=128, seed=0))
    assert 0.88 <= untrained <= 0.94  # 0.911 to 0.931 over seeds 0 to 4: random features are no mean ones
    run = recipe.run(tmp_path / "run")
    learned = run.metrics["test"]
    assert learned["knn_accuracy"] >= max(0.945, untrained + 0.02), learned  # 0.967, 0.953, 0.947 over seeds 0 to 2
    assert learned["spread"] >= 0.9
    loaded = lw.load(tmp_path / "run")
    loaded.task.prepare()
    again = lw.evaluate(loaded.task, loaded.model, "test", device=torch.device("cpu"), size=64, seed=5)
    assert again is not None and again.metrics == pytest.approx(learned)
    (answer,) = loaded.task.predict(loaded.model, (torch.zeros(1, 1, 8, 8),), [None])
    assert len(answer["embedding"]) == 64


def test_what_was_learned_begins_a_classifier_and_is_probed(tmp_path: Path) -> None:
    learned = experiment("vision/digits-simclr", **{"train.epochs": 2}).run(tmp_path / "run")
    labelled = experiment(
        "vision/digits-mlp",
        **{
            "model": {"name": "headed", "trunk": {"name": "vision/cnn", "width": 16}, "features": 64},
            "start": {"run": str(tmp_path / "run"), "take": {"trunk.*": "trunk.*"}},
            "train.epochs": 1,
        },
    )
    trunk = {name: one.clone() for name, one in learned.model.trunk.state_dict().items()}
    probe = labelled.varied({"optimizer.groups": {"trunk.*": {"frozen": True}}}).run(tmp_path / "probe").model
    assert all(torch.equal(one, trunk[name]) for name, one in probe.trunk.state_dict().items())
    tuned = labelled.run(tmp_path / "tuned").model
    assert not torch.equal(tuned.trunk.head.weight, trunk["head.weight"])


@pytest.mark.parametrize("changes", [{}, {"loss": "vicreg"}], ids=["nt-xent", "vicreg"])
def test_simclr_on_digits_resumes_exactly(changes: dict[str, Any]) -> None:
    assert verify_resume(experiment("vision/digits-simclr", **{"train.epochs": 1}, **changes), 3).exact


def test_byol_on_digits_resumes_exactly_with_its_teacher() -> None:
    verdict = verify_resume(experiment("vision/digits-byol", **{"train.epochs": 1}), 3)
    assert verdict.exact and verdict.tensors_compared > 50


@pytest.mark.long
def test_a_study_of_two_views_is_tuned_by_neighbours(tmp_path: Path) -> None:
    pytest.importorskip("labwright_study", reason="studies come with labwright-study")
    short = experiment("vision/digits-simclr", **{"train.epochs": 1})
    assert {"loss.temperature", "model.trunk.width", "task.data.shift"} <= short.marks().keys()
    findings = lw.Study(short, 3, folder=tmp_path / "study", quiet=True).run()
    assert (findings.trials, findings.failed) == (3, 0), findings
    assert 0.5 < findings.best[0]["values"]["knn_accuracy"] <= 1
