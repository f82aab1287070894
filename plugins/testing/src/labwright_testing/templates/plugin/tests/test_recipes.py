"""Recipes do what the README says."""

from pathlib import Path

import labwright as lw


def test_spirals_are_told_apart(tmp_path: Path) -> None:
    run = lw.Experiment.from_recipe("geometry/spirals").run(tmp_path / "run")
    assert run.metrics["test"]["accuracy"] > 0.95  # by chance 0.33
