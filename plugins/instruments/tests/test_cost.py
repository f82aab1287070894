"""What a run would cost: counts against the run itself, and published peaks against a pencil."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import labwright as lw
import pytest
import torch
from instrument_lines import Perceptron, Said, said  # noqa: F401 - a fixture
from labwright_instruments.cost import Seconds, cost
from labwright_instruments.cost import _as_long_as_all as as_long_as_all
from labwright_instruments.cost import _round as whole_round
from labwright_instruments.dry_run import dry_run
from labwright_instruments.peaks import PEAKS, START, named, step_seconds
from labwright_instruments.workbench import workbench
from parts import Blobs, Points, Sorting, duel, sorting


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
    assert found.disk == (2 * found.checkpoint_bytes, 3 * found.checkpoint_bytes) and len(folders) in (2, 3)
    spent = 30 * found.step.wall + 3 * found.evaluation.wall + found.test.wall + 5 * found.checkpoint.wall
    assert found.together.wall == pytest.approx(found.first.wall + spent)


def test_steps_are_timed_in_whole_rounds_of_phases_that_are_not_due_at_each():
    with workbench(duel()) as trainer:
        assert whole_round(trainer) == 3  # the generator is due at every third step
        cost(trainer)
    with workbench(sorting(model=Perceptron)) as trainer:
        assert whole_round(trainer) == 1


class Texts(Points):
    """Points that say that they are texts of several lengths."""

    @property
    def lengths(self) -> torch.Tensor:
        return 1 + torch.arange(len(self)) ** 2 % 50


class Written(Blobs):
    def prepare(self) -> None:
        super().prepare()
        self.splits["train"] = Texts(self.splits["train"].x_ND, self.splits["train"].y_N)


def test_batches_of_like_length_are_reckoned_to_the_lengths_of_an_epoch():
    with workbench(sorting(data=Written(), model=Perceptron, train={"epochs": 2, "batch_size": 5})) as trainer:
        batches = trainer.task.batches("train", size=5, seed=0, epoch=0)
        tokens = [5 * int(batches.split.lengths[part].max()) for part in batches.parts]
        trainer.run.step = 8  # of 18 in an epoch: two were to warm up, six were timed
        timed = tokens[2:8]
        assert sum(timed) / 6 != pytest.approx(sum(tokens) / 18, rel=0.05)
        for each, truth in (
            # as long as a line says: so is the mean over all batches
            ([0.5 + 0.01 * count for count in timed], 0.5 + 0.01 * sum(tokens) / 18),
            # what has nothing to do with lengths stays what it was
            ([1.0] * 6, 1.0),
        ):
            mean = Seconds(2 * sum(each) / 6, sum(each) / 6)  # the clock sees twice as much, and keeps doing so
            found = as_long_as_all(trainer, each, mean)
            assert (found.processor, found.wall) == pytest.approx((truth, 2 * truth))


class Counted(Sorting):
    seen: ClassVar[list[int]] = []

    def evaluate(self, model: Any, batch: lw.Batch) -> Any:
        self.seen.append(len(batch))
        return super().evaluate(model, batch)


def test_the_training_part_counts_if_it_is_measured():
    seen = []
    for more in ({}, {"evaluate_train": 40}):
        experiment = sorting(
            task=Counted(Blobs(held_out=0)), model=Perceptron, train={"epochs": 1, "batch_size": 15, **more}
        )
        with workbench(experiment) as trainer:
            Counted.seen.clear()
            found = cost(trainer)
            seen.append([*Counted.seen])
        assert (found.evaluation.wall > 0) == bool(more)
    assert seen == [[], [15, 15, 15, 15, 10]]  # one to begin with, one to know how long it takes, then 40 samples


@pytest.mark.slow
def test_a_dry_run_says_the_disk_that_the_run_takes_and_leaves_nothing(tmp_path: Any, monkeypatch: Any):
    train = {"epochs": 30, "batch_size": 15, "evaluate_every": "2 epochs", "keep": 3}
    experiment = sorting(model=Perceptron, train=train, log=("report",))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # it is asked for once
    told = dry_run(experiment)
    assert list(tmp_path.iterdir()) == []
    experiment.run(tmp_path / "run")
    files = {path: path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file()}
    low, high = told["disk_bytes"]
    kept = len(list((tmp_path / "run" / "checkpoints").glob("step-*")))
    assert kept in (3, 4)
    assert sum(files.values()) == pytest.approx((low, high)[kept - 3], rel=0.1)  # but for the width of numbers
    parts = [told["start_seconds"], told["end_seconds"], told["test_seconds"], told["first_step_seconds"]]
    parts += [
        (told[many] - (many == "steps")) * told[seconds]
        for many, seconds in (
            ("steps", "step_seconds"),
            ("evaluations", "evaluation_seconds"),
            ("checkpoints", "checkpoint_seconds"),
        )
    ]
    assert told["seconds"] == pytest.approx(sum(parts), abs=0.01)
    assert (told["steps"], told["evaluations"], told["checkpoints"]) == (180, 15, 30)
    memory = told["memory"]
    assert memory["together_bytes"] == sum(size for part, size in memory.items() if part != "together_bytes")
    assert set(told["one_batch"]) == {"valid", "test"}


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
