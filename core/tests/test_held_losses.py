"""Losses that a task holds itself: they are moved, trained, kept and resumed like the recipe's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import pytest
import torch
from conftest import toys
from labwright.base.search import Part
from labwright_testing.verify_resume import verify_resume
from parts import Sorting
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional


class Tempered(nn.Module):
    """Cross-entropy at a temperature that is learned; it counts its calls."""

    def __init__(self, *, log_t: float = 0.0) -> None:
        super().__init__()
        self.log_t = nn.Parameter(torch.tensor(log_t))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return functional.cross_entropy(logits / self.log_t.exp(), labels)


class Beside(Sorting):
    """Classification with a second loss, and others in a table and in a list."""

    def __init__(
        self,
        data: Annotated[lw.Data, Part("data")],
        *,
        beside: Annotated[Any, Part("loss")],
        named: dict[str, Annotated[Any, Part("loss")]] | None = None,
        several: list[Annotated[Any, Part("loss")]] | None = None,
    ) -> None:
        super().__init__(data)
        self.beside, self.named, self.several = beside, named or {}, several or []
        self.again = beside  # the same under another name is one

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        logits = model(*batch.inputs)
        losses = [criterion, self.beside, *self.named.values(), *self.several]
        return torch.stack([loss(logits, batch.targets) for loss in losses]).sum()


class Straight(nn.Module):
    """A linear layer."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.layer = nn.Linear(*inputs.shape, len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.layer(x_BD)


def experiment(**changed: Any) -> lw.Experiment:
    task = {"name": Beside, "data": "toys/blobs", "beside": Tempered} | changed.pop("task", {})
    parts: dict[str, Any] = {"model": Straight, "loss": Tempered, "optimizer": {"name": "sgd", "lr": 0.1}}
    train = {"steps": 9, "batch_size": 15, "save_every": "4 steps"}
    device = {"name": "cpu", "threads": 1}
    return lw.Experiment(
        task=task, **parts | {"train": train, "device": device, "log": (), "plugins": toys()} | changed
    )


def test_their_parameters_take_the_steps_that_torch_would_take(tmp_path: Path) -> None:
    task = {"named": {"one": {"name": Tempered, "log_t": 0.5}}, "several": [{"name": Tempered, "log_t": -0.5}]}
    trainer = experiment(task=task).trainer(tmp_path / "run")
    model = Straight(*trainer.built.task.ports())
    model.load_state_dict(trainer.model.state_dict())
    losses = [Tempered(log_t=log_t) for log_t in (0.0, 0.0, 0.5, -0.5)]
    by_hand = torch.optim.SGD([*model.parameters(), *(one for loss in losses for one in loss.parameters())], lr=0.1)
    for batch in trainer.batches():
        trainer.step(batch)
        logits = model(*batch.inputs)
        torch.autograd.backward(sum(loss(logits, batch.targets) for loss in losses))
        by_hand.step()
        by_hand.zero_grad()
    held = dict(trainer.built.criterion.named_modules())
    places = ["", "task.beside", "task.named/one", "task.several/0"]
    assert list(held) == ["", "task", *places[1:]]
    for loss, place in zip(losses, places, strict=True):
        torch.testing.assert_close(held[place].log_t, loss.log_t)
        assert held[place].calls == loss.calls == 9
    torch.testing.assert_close(trainer.model.layer.weight, model.layer.weight)


@pytest.mark.parametrize("stopped_at", [3, 4, 7])
def test_a_resumed_run_is_the_uninterrupted_one(stopped_at: int) -> None:
    optimizer = {"name": "adamw", "lr": 0.05, "groups": {"loss.task.*": {"lr_factor": 3.0}}}
    train = {"steps": 9, "batch_size": 16, "ema": 0.9, "clip": 1.0}
    spec = experiment(optimizer=optimizer, train=train, device={"name": "cpu", "accumulate": 2, "threads": 1})
    assert verify_resume(spec, stopped_at).exact


def test_they_are_in_checkpoints_and_the_recipes_own_keeps_its_names(tmp_path: Path) -> None:
    spec = experiment()
    whole = spec.trainer(tmp_path / "whole")
    whole.fit()
    kept = load_file(tmp_path / "whole" / "checkpoints" / "step-00000009" / "training.safetensors")
    names = {"loss/log_t", "loss/calls", "loss/task.beside.log_t", "loss/task.beside.calls"}
    assert {name for name in kept if name.startswith("loss/")} == names
    spec.trainer(tmp_path / "cut").fit(until=5)
    resumed, _ = spec.resumed(tmp_path / "cut")
    resumed.fit()
    after = resumed.built.criterion.state_dict()
    for name, tensor in whole.built.criterion.state_dict().items():
        assert abs(float(tensor)) > 0.01 and torch.equal(tensor, after[name])
    with pytest.raises(lw.LabwrightError, match=r"of another loss: its state has \['task\.beside\.calls'"):
        experiment(task={"beside": "cross-entropy"}).resumed(tmp_path / "cut")


def test_trials_of_one_prepared_task_each_begin_with_losses_of_their_own(tmp_path: Path) -> None:
    spec = experiment()
    task = spec.prepared()
    trainers = [spec.trial(tmp_path / str(number), task) for number in range(3)]
    ended = []
    for trainer in trainers:
        assert trainer.built.task.beside.log_t == 0
        trainer.fit()
        ended.append(trainer.built.task.beside.log_t.item())
    assert ended[0] == ended[1] == ended[2] != 0
    # what learns nothing is shared, with the data that was read
    plain = experiment(task={"beside": "cross-entropy"})
    task = plain.prepared()
    assert plain.build(task=task).task is task


def test_a_task_without_a_loss_of_the_recipe_and_one_with_a_function(tmp_path: Path) -> None:
    class Alone(Beside):
        contract = None

        def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
            return self.beside(model(*batch.inputs), batch.targets)

    spec = experiment(task={"name": Alone}, loss=None)
    assert verify_resume(spec, 4).exact
    run = spec.run(tmp_path / "run")
    assert abs(run.task.beside.log_t.item()) > 0.01
    with pytest.raises(lw.LabwrightError, match="loss: beside a task's own loss that learns, it is a module"):
        experiment(loss=lambda logits, labels: functional.cross_entropy(logits, labels)).build()


class Unlike(lw.Loss):
    """One that compares the samples of a batch."""

    separable = False

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return -logits.std(0).mean()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"task": {"beside": {"name": "penalized", "loss": "cross-entropy", "l2": 0.1}}},
         r"^task\.beside: loss Penalized is of all weights; here it is one of several losses"),
        ({"task": {"beside": Unlike}, "loss": "cross-entropy", "device": {"name": "cpu", "accumulate": 3}},
         r"into 3, and loss 'Unlike' compares the samples"),
        ({"task": {"beside": {"name": "cross-entropy", "weights": [1, 2, 3]}}, "loss": "cross-entropy"},
         r"loss\.weights: a task that holds a loss itself has to call its prepare"),
    ],
)  # fmt: skip
def test_what_would_be_passed_over_is_refused(changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match=words):
        experiment(**changed).run(tmp_path / "run")
