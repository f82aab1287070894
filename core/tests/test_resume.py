"""A resumed run equals the uninterrupted one bit for bit: every loss, weight, average and optimizer state."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.train.checkpoints import Checkpoints, Damaged
from labwright.train.log import read_log
from labwright.train.settings import Train
from labwright_testing.verify_resume import verify_resume
from parts import Blobs, BlobsElsewhere, Net, duel, sorting
from torch import Tensor, nn

TRAIN = {"epochs": 4, "batch_size": 15}  # 6 steps an epoch

CASES: dict[str, Callable[[], lw.Experiment]] = {
    "plain": sorting,
    "augmented data": lambda: sorting(Blobs(noise=0.5)),
    "uneven last batch": lambda: sorting(Blobs(size=83)),
    "accumulation": lambda: sorting(Blobs(size=83), device={"name": "cpu", "accumulate": 3}),
    "averages and clipping": lambda: sorting(train=TRAIN | {"ema": 0.9, "clip": 0.1}),
    "a schedule with warm-up": lambda: sorting(
        optimizer={"name": "sgd", "momentum": 0.9, "nesterov": True, "schedule": "one-cycle", "warmup": 0.2}
    ),
    "loader workers": lambda: sorting(BlobsElsewhere(noise=0.5), device={"name": "cpu", "workers": 2}),
    "bf16": lambda: sorting(device={"name": "cpu", "precision": "bf16"}),
    "fp16 with a loss scale": lambda: sorting(device={"name": "cpu", "precision": "fp16"}),
    "evaluation in between": lambda: sorting(train=TRAIN | {"evaluate_every": "2 steps"}),
    "a library optimizer": lambda: sorting(optimizer={"name": "torch/RMSprop", "lr": 0.01}),
    "two optimizers in mid-cycle": duel,
    "two optimizers, averages, accumulation": lambda: duel(
        train={"steps": 20, "batch_size": 15, "ema": 0.9, "clip": 1.0}, device={"name": "cpu", "accumulate": 3}
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stopped_at", [1, 4, 7])  # the first step, mid-epoch and mid-cycle, past an epoch's end
def test_a_resumed_run_is_the_uninterrupted_one(case: str, stopped_at: int) -> None:
    verdict = verify_resume(CASES[case](), stopped_at)
    assert verdict.exact, verdict
    assert verdict.steps == 2 * stopped_at


class Forgetful(Net):
    """Keeps a count outside its buffers, so that it can't be resumed exactly."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__(inputs, outputs)
        self.calls = 0

    def forward(self, x_BD: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x_BD) * (1 + 0.01 * self.calls)


def test_a_run_shorter_than_asked_is_stopped_in_its_own_middle() -> None:
    verdict = verify_resume(sorting(train={"steps": 7, "batch_size": 15}), 10)
    assert verdict.exact
    assert (verdict.steps, verdict.stopped_at) == (6, 3)


def test_verify_resume_finds_a_model_with_hidden_state() -> None:
    verdict = verify_resume(sorting(model=Forgetful), 3)
    assert not verdict.exact
    assert verdict.first_difference == 4
    assert verdict.tensors_that_differ


def logged(folder: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in record.items() if key != "seconds"}
        for record in read_log(folder / "metrics.jsonl")
    ]


def test_the_log_of_a_resumed_run_is_that_of_the_uninterrupted_one(tmp_path: Path) -> None:
    experiment = sorting(train=TRAIN | {"log_every": 5, "evaluate_every": "4 steps", "save_every": "3 steps"})
    experiment.run(tmp_path / "whole")
    experiment.trainer(tmp_path / "cut").fit(until=8)
    trainer, _ = experiment.resumed(tmp_path / "cut")
    trainer.fit()
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")
    assert len(logged(tmp_path / "whole")) == 24 // 5 + 1 + 6 + 1  # losses, the open window, valid, test


@pytest.mark.parametrize(("per_epoch", "epochs"), [(6, 100), (30, 100), (67, 45), (600, 5), (4000, 5)])
def test_epochs_that_are_left_to_the_size_of_the_data_make_about_3000_steps(per_epoch: int, epochs: int) -> None:
    assert Train(epochs="auto").settled(per_epoch).epochs == epochs
    assert Train(epochs=7).settled(per_epoch).epochs == 7
    assert Train(steps=7).settled(per_epoch).epochs is None


def test_epochs_that_are_left_to_the_size_of_the_data_are_said_written_down_and_resumed(tmp_path: Path) -> None:
    auto = sorting(train={"epochs": "auto", "batch_size": 15})
    assert auto.table()["train"]["epochs"] == "auto"
    trainer = auto.trainer(tmp_path / "run")
    assert trainer.run.total_steps == 600
    assert "train.epochs=auto: 100 epochs of 6 steps." in trainer.run.notes
    assert tomllib.loads((tmp_path / "run" / "recipe.toml").read_text())["train"]["epochs"] == 100
    assert auto.trial(tmp_path / "trial", auto.prepared()).run.total_steps == 600
    verdict = verify_resume(auto, 7)
    assert verdict.exact, verdict


def test_log_lines_after_the_checkpoint_and_a_torn_line_are_dropped(tmp_path: Path) -> None:
    experiment = sorting(train=TRAIN | {"log_every": 2, "evaluate_every": "50 steps", "save_every": "5 steps"})
    experiment.trainer(tmp_path / "run").fit(until=9)
    log = tmp_path / "run" / "metrics.jsonl"
    Checkpoints(tmp_path / "run" / "checkpoints").path(9).rename(tmp_path / "lost")
    with log.open("a") as lines:
        lines.write('{"event": "train", "st')
    experiment.resumed(tmp_path / "run")
    assert [record["step"] for record in logged(tmp_path / "run")] == [2, 4]


def damaged_ways() -> dict[str, Callable[[Path], object]]:
    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    def cut(file: Path) -> None:
        file.write_bytes(file.read_bytes()[:-7])

    files = ("model.safetensors", "training.safetensors", "state.json", "checksums.json")
    ways: dict[str, Callable[[Path], object]] = {}
    for name in files:
        ways[f"{name} cut short"] = lambda folder, name=name: cut(folder / name)
        ways[f"{name} gone"] = lambda folder, name=name: (folder / name).unlink()
        if name != "checksums.json":
            ways[f"{name} with one bit flipped"] = lambda folder, name=name: flip(folder / name)
    ways["a file too many"] = lambda folder: (folder / "extra.bin").write_bytes(b"x")
    return ways


@pytest.mark.parametrize("way", damaged_ways())
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path: Path, way: str) -> None:
    experiment = sorting(train=TRAIN | {"save_every": "3 steps"})
    experiment.trainer(tmp_path / "run").fit(until=9)
    newest = tmp_path / "run" / "checkpoints" / "step-00000009"
    damaged_ways()[way](newest)
    with pytest.raises(Damaged, match="step-00000009"):
        Checkpoints(newest.parent).read(9)
    trainer, notes = experiment.resumed(tmp_path / "run")
    assert trainer.run.step == 6
    assert len(notes) == 1
    assert str(newest) in notes[0]


def test_resuming_without_a_whole_checkpoint_is_one_message(tmp_path: Path) -> None:
    experiment = sorting()
    experiment.trainer(tmp_path / "run").fit(until=2)
    (tmp_path / "run" / "checkpoints" / "step-00000002" / "state.json").unlink()
    with pytest.raises(lw.LabwrightError, match=r"no whole checkpoint.*state\.json is missing"):
        experiment.resumed(tmp_path / "run")


def test_resuming_on_other_data_is_refused(tmp_path: Path) -> None:
    sorting().trainer(tmp_path / "run").fit(until=2)
    with pytest.raises(lw.LabwrightError, match=r"train had 90 samples and has 45.*--other-data"):
        sorting(Blobs(size=45)).resumed(tmp_path / "run")
    with pytest.raises(lw.LabwrightError, match="an epoch had 6 steps and has 3 now"):
        sorting(Blobs(size=45)).resumed(tmp_path / "run", other_data=True)


def test_other_samples_as_many_as_before_are_noticed_and_taken_on_demand(tmp_path: Path) -> None:
    sorting(Blobs(held_out=30)).trainer(tmp_path / "run").fit(until=2)

    class Moved(Blobs):
        def prepare(self) -> None:
            super().prepare()
            self.splits["valid"].x_ND += 1.0

    with pytest.raises(lw.LabwrightError, match="valid holds other samples, as many as before"):
        sorting(Moved(held_out=30)).resumed(tmp_path / "run")
    trainer, notes = sorting(Moved(held_out=30)).resumed(tmp_path / "run", other_data=True)
    assert notes == ["the data is not the same: valid holds other samples, as many as before."]
    assert trainer.fit().status == "finished"


class Tied(nn.Module):
    """Two layers that share their weight."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.head = nn.Linear(4, len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.head(self.second(self.first(x_BD).relu()))


def test_tied_tensors_are_stored_once_and_come_back_tied(tmp_path: Path) -> None:
    experiment = sorting(model=Tied)
    experiment.trainer(tmp_path / "run").fit(until=3)
    state = json.loads((tmp_path / "run/checkpoints/step-00000003/state.json").read_text())
    assert state["aliases"]["model"] == {"second.weight": "first.weight"}
    trainer, _ = experiment.resumed(tmp_path / "run")
    assert trainer.model.first.weight is trainer.model.second.weight  # type: ignore[union-attr]
    assert verify_resume(experiment, 3).exact


def test_a_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    sorting().trainer(tmp_path / "run").fit(until=2)
    with pytest.raises(lw.LabwrightError, match=r"of another model: it lacks 'first.bias'"):
        sorting(model=Tied).resumed(tmp_path / "run")
    with pytest.raises(lw.LabwrightError, match=r"'body.0.bias' has shape \(16,\) there and \(8,\) here"):
        sorting(model={"name": Net, "width": 8}).resumed(tmp_path / "run")


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path: Path) -> None:
    experiment = duel(train={"steps": 6, "batch_size": 15, "ema": 0.9})
    experiment.run(tmp_path / "run")
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            assert not file.read_bytes().startswith((b"\x80", b"PK")), file
            assert file.suffix in {".safetensors", ".json", ".toml", ".jsonl"} or file.name == ".lock", file


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    def weights(seed: int, folder: str) -> Tensor:
        model = sorting(train=TRAIN | {"seed": seed}).run(tmp_path / folder).model
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(weights(0, "a"), weights(0, "b"))
    assert not torch.equal(weights(0, "c"), weights(1, "d"))


def test_evaluating_more_often_and_workers_change_nothing(tmp_path: Path) -> None:
    often = sorting(train=TRAIN | {"evaluate_every": "1 step", "save_every": "1 step"}).run(tmp_path / "often").model
    rarely = sorting(train=TRAIN | {"evaluate_every": "3 epochs"}).run(tmp_path / "rarely").model
    workers = sorting(BlobsElsewhere(), device={"name": "cpu", "workers": 2}).run(tmp_path / "workers").model
    for name, tensor in rarely.state_dict().items():
        assert torch.equal(tensor, often.state_dict()[name]), name
        assert torch.equal(tensor, workers.state_dict()[name]), name
