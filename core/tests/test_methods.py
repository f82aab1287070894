"""Named parts of a loss, methods of taking gradients, and state that checkpoints keep."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import pytest
import torch
from labwright.train.log import read_log
from labwright_testing.verify_resume import verify_resume
from parts import Blobs, Net, Sorting, sorting
from pydantic import Field
from torch import Tensor, nn


def weights(experiment: lw.Experiment, folder: Path) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in experiment.run(folder).model.state_dict().items()}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ------------------------------------------------------------------------------------------------------- named parts


class Halved(Sorting):
    """The loss in two halves, which floating point adds up exactly."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:
        half = super().loss(model, batch, criterion, phase) / 2
        return {"left": half, "right": half}


@pytest.mark.parametrize("device", [{"name": "cpu"}, {"name": "cpu", "accumulate": 3}], ids=["whole", "accumulated"])
def test_parts_are_summed_and_logged(device: dict[str, Any], tmp_path: Path) -> None:
    halved = sorting(task={"name": Halved, "data": Blobs}, device=device)
    assert same(weights(halved, tmp_path / "parts"), weights(sorting(device=device), tmp_path / "one"))
    steps = [record for record in read_log(tmp_path / "parts" / "metrics.jsonl") if record["event"] == "train"]
    assert steps
    for record in steps:
        assert record["loss/left"] == record["loss/right"] == record["loss"] / 2


def test_a_penalty_is_one_more_part(tmp_path: Path) -> None:
    loss = {"name": "penalized", "loss": "cross-entropy", "l2": 1e-3}
    sorting(task={"name": Halved, "data": Blobs}, loss=loss).run(tmp_path / "run")
    record = next(read for read in read_log(tmp_path / "run" / "metrics.jsonl") if read["event"] == "train")
    assert record["loss"] == pytest.approx(record["loss/left"] + record["loss/right"] + record["loss/penalty"])
    assert record["loss/penalty"] > 0


class Broken(Sorting):
    """Its second part is no number from the third step on; its loss is asked for once before the first."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:
        whole = super().loss(model, batch, criterion, phase)
        self.calls = getattr(self, "calls", 0) + 1
        return {"class": whole, "box": whole.detach() * (float("nan") if self.calls > 3 else 1.0)}


def test_a_part_that_is_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(lw.RunFailed, match=r"loss of phase 'train(/box)?' became nan at step 3"):
        sorting(task={"name": Broken, "data": Blobs}).run(tmp_path / "run")


# ----------------------------------------------------------------------------------------------------------- methods


class Signs(lw.Method):
    """The signs of the gradients instead of the gradients (Bernstein et al. 2018), times `size`."""

    def __init__(self, *, size: Annotated[float, Field(gt=0), lw.Uniform(0.1, 10.0)] = 1.0) -> None:
        self.size = size

    def check(self, task: lw.Task, model: nn.Module) -> None:
        if any(isinstance(module, nn.Embedding) for module in model.modules()):
            raise lw.LabwrightError("method: signs of an embedding's gradients move rows that weren't looked up.")

    def gradients(self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        losses = update.backward(batches, weights)
        for parameter in update.parameters:
            parameter.grad = None if parameter.grad is None else parameter.grad.sign() * self.size
        return losses


SGD = {"name": "sgd", "lr": 0.01, "momentum": 0.0}


def test_a_method_says_what_the_gradients_are(tmp_path: Path) -> None:
    experiment = sorting(method={"name": Signs, "size": 2.0}, optimizer=SGD, train={"steps": 1, "batch_size": 15})
    before = dict(experiment.build().model.named_parameters())
    run = experiment.run(tmp_path / "run")
    for name, parameter in run.model.named_parameters():
        moved = (parameter - before[name]).detach()
        assert torch.allclose(moved.abs()[moved != 0], torch.tensor(0.02)), name
    assert json.loads((tmp_path / "run" / "outcome.json").read_text())["step"] == 1


def test_a_methods_settings_are_searched_and_written() -> None:
    experiment = sorting(method={"name": Signs, "size": 2.0})
    assert "method.size" in experiment.marks()
    assert experiment.table()["method"]["size"] == 2.0
    assert "method" not in sorting().table()  # plain descent has nothing to say


def test_what_a_method_refuses_is_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    class Looked(Net):
        def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
            super().__init__(inputs, outputs)
            self.unused = nn.Embedding(2, 2)

    with pytest.raises(lw.LabwrightError, match="signs of an embedding's"):
        sorting(model=Looked, method=Signs).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("decent", r"method: .*'decent'.*did you mean 'descent'"),
        ({"name": "descent", "rho": 0.1}, r"method\.rho: method 'descent' has no setting 'rho'"),
        ({"size": 1.0}, r"method\.size: method 'descent' has no setting 'size'"),
        (Net, r"method: given a .*Net, which is no labwright.*Method"),
    ],
    ids=["misspelt", "a setting that isn't there", "settings without a name", "another class"],
)
def test_a_method_that_isnt_one_is_refused(given: Any, message: str) -> None:
    with pytest.raises(lw.LabwrightError, match=message):
        sorting(method=given)


# ------------------------------------------------------------------------------------------------------------- state


class Replayed(lw.Method):
    """Each step eats rows of a buffer that grows by what was seen: experience, in small."""

    kept = True

    def __init__(self) -> None:
        self.seen: list[int] = []

    def feed(self, steps: lw.Steps) -> Iterator[lw.Batch]:
        part = steps.task.data.split("train")
        assert part is not None
        while steps.run.step < steps.run.total_steps:
            random = lw.generator(11, steps.run.step)
            self.seen.append(int(torch.randint(len(part), (), generator=random)))
            drawn = torch.randint(len(self.seen), (16,), generator=random)
            yield part.fetch(torch.tensor(self.seen)[drawn], 0, 0)

    def state(self) -> dict[str, Any]:
        return {"seen": torch.tensor(self.seen), "count": len(self.seen)} if self.kept else {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if self.kept:
            self.seen = state["seen"].tolist()
            assert len(self.seen) == state["count"]


class Lost(Replayed):
    """The planted fault: its buffer is in no checkpoint."""

    kept = False


def test_a_method_may_feed_its_own_and_resumes_with_its_state() -> None:
    assert verify_resume(sorting(method=Replayed), 4).exact
    assert not verify_resume(sorting(method=Lost), 4).exact


class Miscounted(lw.Method):
    """The planted fault: it counts its steps, and begins anew when it is resumed."""

    steps = 0

    def gradients(self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        self.steps += 1
        return super().gradients(update, batches, weights)

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Forgets it."""


def test_a_count_that_begins_anew_is_found() -> None:
    verdict = verify_resume(sorting(method=Miscounted), 4)
    assert not verdict.exact
    assert verdict.first_difference is None
    assert verdict.tensors_that_differ == ("state/method",)


class Banked(Sorting):
    """Cross-entropy and the similarity to a queue of earlier outputs, which is state of the task (as in MoCo)."""

    def prepare(self) -> None:
        super().prepare()
        self.bank_MC = torch.zeros(8, 3)

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:
        logits_BC = model(*batch.inputs)
        near = (logits_BC @ self.bank_MC.T).square().mean()
        self.newest_BC = logits_BC.detach()
        return {"class": criterion(logits_BC, batch.targets), "bank": 0.01 * near}

    def after_step(self, model: nn.Module, phase: str, progress: float) -> None:
        self.bank_MC = torch.cat([self.newest_BC, self.bank_MC])[:8]

    def state(self) -> dict[str, Tensor]:
        return {"bank": self.bank_MC}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.bank_MC = state["bank"]


def test_a_task_with_a_memory_resumes_exactly() -> None:
    assert verify_resume(sorting(task={"name": Banked, "data": Blobs}), 4).exact


class Counting:
    """A listener that counts steps, over interruptions too."""

    def __init__(self) -> None:
        self.count = 0

    @lw.hookimpl
    def labwright_step_ended(self, step: int) -> None:
        self.count += 1

    def state(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


def test_a_listener_goes_on_from_its_state(tmp_path: Path) -> None:
    experiment = sorting(train={"steps": 6, "batch_size": 15})
    experiment.trainer(tmp_path / "run", listeners=[Counting()]).fit(until=4)
    second = Counting()
    trainer, _ = experiment.resumed(tmp_path / "run", listeners=[second])
    trainer.fit()
    assert second.count == 6


def test_a_state_that_a_checkpoint_lacks_is_said(tmp_path: Path) -> None:
    experiment = sorting(train={"steps": 6, "batch_size": 15})
    experiment.trainer(tmp_path / "run").fit(until=4)
    trainer, _ = experiment.resumed(tmp_path / "run", listeners=[Counting()])
    assert any("has no state of the listener 1 (Counting): it begins anew" in note for note in trainer.run.notes)


class Unwritable(Banked):
    def state(self) -> dict[str, Any]:
        return {"bank": object()}


def test_a_state_that_no_checkpoint_can_hold_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match="the state 'bank' of the task is a object that JSON can't hold"):
        sorting(task={"name": Unwritable, "data": Blobs}).run(tmp_path / "run")
