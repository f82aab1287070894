"""What a run would cost: counts against the run itself, and published peaks against a pencil."""

from __future__ import annotations

import json
from typing import Any

import labwright as lw
import pytest
from instrument_lines import Perceptron, Said, said  # noqa: F401 - a fixture
from labwright_instruments.cost import cost
from labwright_instruments.peaks import PEAKS, START, named, step_seconds
from labwright_instruments.workbench import workbench
from parts import sorting


def test_counts_and_bytes_are_those_of_the_run(tmp_path: Any):
    train = {"epochs": 5, "batch_size": 15, "evaluate_every": "2 epochs", "save_every": "7 steps", "keep": 2}
    experiment = sorting(model=Perceptron, train=train)
    with workbench(experiment) as trainer:
        found = cost(trainer)
    experiment.run(tmp_path / "run")
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = [event["split"] for event in events if event["event"] == "evaluation"]
    assert (found.steps, found.evaluations) == (30, measured.count("valid"))
    assert found.checkpoints == 5  # of 7, 14, 21 and 28 steps, and of the last
    folders = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))
    tensors = sum(file.stat().st_size for file in folders[-1].glob("*.safetensors"))
    assert tensors < found.checkpoint_bytes < tensors + 5000  # with some texts
    assert found.disk_bytes == 3 * found.checkpoint_bytes and len(folders) <= 3
    spent = 30 * found.step_seconds + 3 * found.evaluation_seconds + found.test_seconds + 5 * found.checkpoint_seconds
    assert found.seconds == pytest.approx(spent)


def test_a_published_peak_is_divided_by_what_trainings_reach():
    flops = 10**15  # three times as many with backward: at 312e12 a second and half of it 19.2 s
    assert step_seconds("A100 80GB", flops, 1, "bf16") == pytest.approx((3e15 / (0.5 * 312e12), 3e15 / (0.1 * 312e12)))
    assert step_seconds("T4 16GB", flops, 1, "fp32")[1] == pytest.approx(3e15 / (0.1 * 8.1e12))
    assert step_seconds("L4 24GB", 1, 1000, "fp16") == pytest.approx((3000 * START, 3000 * START))


def test_a_gpu_is_named_as_people_write_it():
    assert named("a100 40gb") == named("A10040GB") == "A100 40GB"
    assert named("T4") == "T4 16GB" and named("rtx4090") == "RTX 4090 24GB"
    assert all(named(name) == name for name in PEAKS)
    with pytest.raises(lw.LabwrightError, match="may be V100 16GB or V100 32GB"):
        named("V100")
    with pytest.raises(lw.LabwrightError, match="no peaks are known of 'H10 80GB'; did you mean 'H100 80GB'"):
        named("H10 80GB")
    with pytest.raises(lw.LabwrightError, match="V100 has no bf16"):
        step_seconds("V100 16GB", 1, 1, "bf16")


@pytest.mark.long
def test_the_verb_reckons_here_and_there(said: Said):  # noqa: F811
    command = ("summary", "vision/digits-mlp", "device=cpu", "model.width=16", "--depth", "0")
    code, out, _ = said(*command, "--cost", "--for", "A100 40GB")
    assert code == 0
    assert "420 steps" in out and "on A100 40GB: training " in out  # 20 epochs of 21
    assert "fits into its 40 GB" in out
    code, _, errors = said(*command, "--for", "A100 40GB")
    assert (code, "--for goes with --cost" in errors) == (2, True)
