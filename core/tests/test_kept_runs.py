"""Run folders that version 0.1 left: one finished and one interrupted run of kept/recipe.toml, its plugin beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from labwright.plugin.registry import Plugins
from labwright.runs.load import built_from, evaluated, experiment_of, predictions
from labwright.runs.resume import has_ended, resume
from labwright.train.log import read_log

KEPT = Path(__file__).parent / "kept"


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.discover(local=[KEPT / "blobs.py"])


def logged(folder: Path) -> list[dict[str, Any]]:
    """The log, times apart; another version of torch may round otherwise."""
    records = [record for record in read_log(folder / "metrics.jsonl") if record.pop("seconds") >= 0]
    return [
        {key: pytest.approx(value, rel=1e-3) if isinstance(value, float) else value for key, value in record.items()}
        for record in records
    ]


def test_a_run_of_0_1_is_evaluated_with_the_figures_it_had(plugins):
    now = evaluated(KEPT / "finished", plugins, "test", "final")
    assert now.metrics == {"accuracy": pytest.approx(38 / 60)}
    assert (now.step, now.samples, now.notes) == (12, 60, [])


def test_a_run_of_0_1_predicts_what_it_predicted(plugins):
    built = built_from(KEPT / "finished", experiment_of(KEPT / "finished", plugins))
    ((_, answer),) = predictions(built, [("a point", lambda: built.task.parse("2 0 0 0"))])
    assert answer == {"class": "c", "share": pytest.approx(0.35471150279045105, rel=1e-5)}


def test_an_interrupted_run_of_0_1_goes_on_as_the_uninterrupted_one_did(tmp_path, plugins):
    folder = tmp_path / "run"
    shutil.copytree(KEPT / "interrupted", folder)
    trainer, notes = resume(folder, plugins)
    assert not has_ended(folder, trainer)
    assert not [note for note in notes if "metrics.jsonl" in note or "checkpoint" in note]
    assert trainer.run.step == 14
    assert trainer.fit().status == "finished"
    assert next(iter(read_log(folder / "metrics.jsonl")))["lr"] == pytest.approx(0.019172940902039477)
    assert [{**record, "seconds": 0} for record in read_log(folder / "metrics.jsonl")] == [
        {**record, "seconds": 0} for record in logged(KEPT / "finished")
    ]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "accuracy" in page and "<svg" in page


def test_a_finished_run_of_0_1_has_ended(tmp_path, plugins):
    folder = tmp_path / "run"
    shutil.copytree(KEPT / "finished", folder)
    trainer, _ = resume(folder, plugins)
    assert has_ended(folder, trainer)
