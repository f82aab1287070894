"""Accumulation cuts an update's samples into micro-batches, and gives the same update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.base.seeding import generator
from labwright.train.log import read_log
from parts import Blobs, Duel, Pair, Points, Sorting, duel, sorting
from torch import Tensor, nn

STEPS = 9
TRAIN = {"steps": STEPS, "batch_size": 30}  # batches of 30, 30 and 23: with 5 micro-batches of 6, the last one of 5


class Doubles(Blobs):
    """83 points in double precision."""

    def __init__(self, *, size: int = 83) -> None:
        super().__init__(size=size, noise=0.3, held_out=30)

    def prepare(self) -> None:
        super().prepare()
        for split in self.splits.values():
            split.x_ND = split.x_ND.double()


class Plain(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        width = len(outputs.names)
        self.layers = nn.Sequential(nn.Linear(inputs.shape[0], 8), nn.Tanh(), nn.Linear(8, width)).double()

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.layers(x_BD)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trained(folder: Path, accumulate: int, **changed: Any) -> nn.Module:
    settings = {"task": Sorting(Doubles()), "model": Plain, "optimizer": {"name": "sgd", "lr": 0.3}, "train": TRAIN}
    loss = {"loss": nn.CrossEntropyLoss()}
    device = {"name": "cpu", "accumulate": accumulate}
    return lw.Experiment(**{**settings, **loss, "device": device, "log": (), **changed}).run(folder).model


def apart(left: nn.Module, right: nn.Module) -> float:
    pairs = zip(left.parameters(), right.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


class BySize(Sorting):
    """Batches of points that lie alike, in random order, as batches of texts of like length."""

    def order(self, split: str, part: Any, *, size: int, seed: int, epoch: int) -> Sequence[Tensor]:
        if split != "train":
            return super().order(split, part, size=size, seed=seed, epoch=epoch)
        batches = torch.split(part.x_ND[:, 0].argsort(stable=True), size)
        mixed = torch.randperm(len(batches), generator=generator(seed, epoch, 7)).tolist()
        return [batches[number] for number in mixed]


@dataclass(frozen=True)
class Counted(lw.Batch):
    """A batch that counts something of its samples."""

    zeros: int

    def rows(self, some: slice) -> Counted:
        targets = self.targets[some]
        return Counted((self.inputs[0][some],), targets, int((targets == 0).sum()))


class Drawing(Sorting):
    """Adds noise to a whole update, and puts a count of its own into the batch."""

    def draw(self, batch: lw.Batch, generator: torch.Generator) -> Counted:
        (x_BD,) = batch.inputs
        noise_BD = torch.randn(x_BD.shape, generator=generator)
        return Counted((x_BD + noise_BD,), batch.targets, int((batch.targets == 0).sum()))


class ByWeights(lw.Loss):
    """A weighted mean that divides by the sum of its weights, and says so."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = 1.0 + 5.0 * (labels == 2)
        return (weights * nn.functional.cross_entropy(logits, labels, reduction="none")).sum() / weights.sum()

    def normalizer(self, targets: Tensor) -> float:
        return float(len(targets) + 5 * (targets == 2).sum())


LOSSES: dict[str, Any] = {
    "a mean over samples": nn.CrossEntropyLoss(),
    "torch's with weights of classes": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 10.0, 0.5], dtype=torch.float64)),
    "torch's that leaves a class out": nn.CrossEntropyLoss(ignore_index=1),
    "one that divides by something of its own": ByWeights(),
    "by name": "cross-entropy",
    "by name with weights of classes": {"name": "cross-entropy", "weights": [1.0, 10.0, 0.3], "label_smoothing": 0.1},
    "with a penalty around it": {"name": "penalized", "loss": "cross-entropy", "l2": 0.01},
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("task", [Sorting, BySize, Drawing])
def test_an_accumulated_run_is_the_same_to_the_last_digits(tmp_path: Path, task: type[Sorting], loss: Any) -> None:
    whole = trained(tmp_path / "1", 1, task=task(Doubles()), loss=loss)
    for accumulate in (2, 5):
        cut = trained(tmp_path / f"{accumulate}", accumulate, task=task(Doubles()), loss=loss)
        assert apart(whole, cut) < 1e-12


class InTurn(Doubles):
    """Samples in the order of their classes, so that whole batches are of one that weighs nothing."""

    def split(self, name: str) -> Any:
        part = super().split(name)
        order = part.y_N.argsort(stable=True)
        return Points(part.x_ND[order], part.y_N[order])


class Ordered(Sorting):
    def order(self, split: str, part: Any, *, size: int, seed: int, epoch: int) -> Any:
        return torch.split(torch.arange(len(part)), size)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_batches_and_micro_batches_that_weigh_nothing_change_nothing(tmp_path: Path, smoothing: float) -> None:
    loss = {"name": "cross-entropy", "weights": [0.0, 0.0, 2.0], "label_smoothing": smoothing}
    whole = trained(tmp_path / "1", 1, task=Ordered(InTurn()), loss=loss)
    for accumulate in (2, 5):
        assert apart(whole, trained(tmp_path / f"{accumulate}", accumulate, task=Ordered(InTurn()), loss=loss)) < 1e-12
    log = read_log(tmp_path / "5/metrics.jsonl")
    assert all(math.isfinite(record["loss"]) for record in log if record["event"] == "train")
    # the first batch is of the first two classes alone
    for accumulate in (1, 5):
        device = {"name": "cpu", "accumulate": accumulate}
        settings = {"model": Plain, "optimizer": {"name": "sgd", "lr": 0.3}, "device": device, "log": ()}
        spec = lw.Experiment(task=Ordered(InTurn()), loss=loss, train=TRAIN, **settings)
        trainer = spec.trainer(tmp_path / f"first-{accumulate}")
        before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
        assert trainer.step(next(trainer.batches()))["train"] == 0
        assert all(map(torch.equal, before, trainer.model.parameters()))


class Doubling(Sorting):
    """Draws a noisy copy of each sample: what is cut is twice as large as what the order gave."""

    def draw(self, batch: lw.Batch, generator: torch.Generator) -> lw.Batch:
        (x_BD,) = batch.inputs
        noisy_BD = x_BD + torch.randn(x_BD.shape, generator=generator)
        return lw.Batch((torch.cat([x_BD, noisy_BD]),), torch.cat([batch.targets, batch.targets]))


def test_an_update_that_is_larger_than_its_samples_is_cut_whole(tmp_path: Path) -> None:
    whole = trained(tmp_path / "1", 1, task=Doubling(Doubles()))
    assert apart(whole, trained(tmp_path / "5", 5, task=Doubling(Doubles()))) < 1e-12


@pytest.mark.parametrize("settings", [{"clip": 0.1}, {"ema": 0.8}, {"drop_last": True}], ids=str)
def test_clipping_averages_and_dropping_the_last_batch_go_with_it(tmp_path: Path, settings: dict[str, Any]) -> None:
    train = TRAIN | settings
    optimizer = {"name": "adamw", "lr": 0.01, "schedule": "cosine"}
    whole = trained(tmp_path / "1", 1, train=train, optimizer=optimizer)
    assert apart(whole, trained(tmp_path / "5", 5, train=train, optimizer=optimizer)) < 1e-12


class PlainPair(Pair):
    """A generator and a critic that draw nothing."""

    def __init__(self, inputs: lw.Features) -> None:
        super().__init__(inputs)
        self.critic = nn.Sequential(nn.Linear(inputs.shape[0], 8), nn.Tanh(), nn.Linear(8, 1))
        self.double()


def test_two_phases_are_the_same_too(tmp_path: Path) -> None:
    def model(accumulate: int) -> nn.Module:
        task, device = Duel(Doubles(), critic_steps=2), {"name": "cpu", "accumulate": accumulate}
        return duel(task=task, model=PlainPair, device=device, train=TRAIN).run(tmp_path / f"{accumulate}").model

    assert apart(model(1), model(5)) < 1e-12


class Contrastive(lw.Loss):
    """Compares each sample with all others of the batch."""

    separable = False

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        alike = labels[:, None] == labels
        return ((logits @ logits.T) - alike.to(logits.dtype)).square().mean()


class Undeclared(nn.Module):
    """The same without saying so."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return Contrastive()(logits, labels)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (Contrastive(), "loss 'Contrastive' compares the samples of a batch with one another"),
        ({"name": "penalized", "loss": Contrastive(), "l2": 0.1}, "compares the samples of a batch with one another"),
        (Undeclared(), "is not the mean of theirs"),
        (nn.CrossEntropyLoss(reduction="sum"), "is not the mean of theirs"),
    ],
    ids=["declared", "within a penalty", "undeclared", "a sum"],
)
def test_a_loss_that_cannot_be_cut_is_refused_before_there_is_a_folder(tmp_path: Path, loss: Any, said: str) -> None:
    trained(tmp_path / "whole", 1, loss=loss)
    with pytest.raises(lw.LabwrightError, match=said):
        trained(tmp_path / "cut", 5, loss=loss)
    assert not (tmp_path / "cut").exists()


def test_a_batch_that_cannot_be_cut_says_what_its_class_needs(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Pooled(lw.Batch):
        mean: Tensor

    class Pooling(Sorting):
        def draw(self, batch: lw.Batch, generator: torch.Generator) -> Pooled:
            return Pooled(batch.inputs, batch.targets, batch.inputs[0].mean(0)[:3])

    with pytest.raises(lw.LabwrightError, match=r"'mean' has no row for each of its 12 samples.*method `rows`"):
        trained(tmp_path / "cut", 5, task=Pooling(Doubles()))


def test_what_makes_an_accumulated_run_another_one_is_said_at_its_start(tmp_path: Path) -> None:
    run = sorting(device={"name": "cpu", "accumulate": 3}, train={"steps": 2, "batch_size": 15}).run(tmp_path / "run")
    assert run.notes == [
        "device.accumulate=3 is not the same update as without: BatchNorm takes its statistics from micro-batches; "
        "dropout draws for each micro-batch."
    ]
    trained(tmp_path / "exact", 5)
    assert '"notes": []' in (tmp_path / "exact/outcome.json").read_text()


def test_the_log_tells_the_same_loss_however_an_update_is_cut(tmp_path: Path) -> None:
    loss = LOSSES["torch's with weights of classes"]
    told = []
    for accumulate in (1, 5):
        trained(tmp_path / f"{accumulate}", accumulate, loss=loss, train=TRAIN | {"log_every": 3})
        log = read_log(tmp_path / f"{accumulate}/metrics.jsonl")
        told.append([record["loss"] for record in log if record["event"] == "train"])
    assert told[0] == pytest.approx(told[1], rel=1e-6)
