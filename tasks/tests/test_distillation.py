"""A run learns from another's answers as Hinton et al. 2015 say, keeps what it needs of it, and goes on to the bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import Batch, LabwrightError
from labwright_tasks.classification import Classification
from labwright_tasks.distillation import Teacher
from labwright_tasks.losses import CrossEntropy
from labwright_tasks.weights import WeightedBatch
from torch import Tensor, nn


def experiment(teacher: Any = None, **changed: Any) -> lw.Experiment:
    """A run of two epochs on digits."""
    table: dict[str, Any] = {
        "task": {"name": "classification", "data": {"name": "vision/digits", "valid": 0.2, "rotate": 10.0}},
        "model": {"name": "vision/mlp", "width": 16, "depth": 1},
        "loss": "cross-entropy",
        "optimizer": "adamw",
        "device": {"name": "cpu", "threads": 1},
        "train": {"steps": 20, "batch_size": 64},
        "log": (),
    }
    if teacher is not None:
        table["task"]["teacher"] = teacher if isinstance(teacher, dict) else {"run": str(teacher)}
    return lw.Experiment(**table).varied(changed)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    experiment(**{"model.width": 32}).run(folder)
    return folder


class Telling(nn.Module):
    """Answers with logits that were fixed beforehand."""

    def __init__(self, logits_BC: Tensor) -> None:
        super().__init__()
        self.logits_BC = logits_BC

    def forward(self, x: Tensor) -> Tensor:
        return self.logits_BC


def taught(classes: Callable[..., Any], teacher_BC: Tensor, **settings: Any) -> Classification:
    """A task whose teacher says so."""
    task = Classification(classes([0, 1, 2]), teacher=Teacher(Path("unread"), **settings))
    assert task.teaching is not None
    task.teaching.model = Telling(teacher_BC)
    return task


LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.3], [-0.5, 0.2, 1.5]])
TAUGHT = torch.tensor([[3.0, 1.0, 0.0], [0.5, 2.0, -1.0], [0.1, 0.1, 0.9]])
LABELS = torch.tensor([0, 2, 1])


def divergences(temperature: float) -> Tensor:
    """T**2 * KL of each sample, from its definition, in float64."""
    p, q = ((logits.double() / temperature).exp() for logits in (TAUGHT, LOGITS))
    p, q = p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)
    return temperature**2 * (p * (p / q).log()).sum(1)


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 0.5), (4.0, 0.9), (2.0, 1.0)])
def test_the_loss_is_that_of_the_labels_and_the_softened_divergence(
    temperature: float, weight: float, classes: Callable[..., Any]
) -> None:
    task = taught(classes, TAUGHT, temperature=temperature, weight=weight)
    parts = task.loss(Telling(LOGITS), Batch((torch.zeros(3, 1),), LABELS), CrossEntropy(), "train")
    assert isinstance(parts, dict)
    nats = -LOGITS.double().softmax(1)[torch.arange(3), LABELS].log().mean()
    assert float(parts["labels"]) == pytest.approx((1 - weight) * float(nats), rel=1e-5)
    assert float(parts["teacher"]) == pytest.approx(weight * float(divergences(temperature).mean()), rel=1e-5)


def test_at_a_high_temperature_its_gradient_is_that_of_half_the_squared_distance_of_logits(
    classes: Callable[..., Any],
) -> None:
    """Hinton et al. 2015, equation 4: (z - v) / (N * T**2) for logits without a mean; T**2 is taken out here."""
    centred = [logits - logits.mean(1, keepdim=True) for logits in (LOGITS, TAUGHT)]
    student = centred[0].clone().requires_grad_()
    task = taught(classes, centred[1], temperature=500.0, weight=1.0)
    parts = task.loss(Telling(student), Batch((torch.zeros(3, 1),), LABELS), CrossEntropy(), "train")
    assert isinstance(parts, dict)
    torch.autograd.backward(parts["teacher"])
    assert student.grad is not None
    assert torch.allclose(student.grad, (centred[0] - centred[1]) / 3 / 3, atol=2e-4)


def test_samples_with_weights_weigh_so_in_both_parts(classes: Callable[..., Any]) -> None:
    weights = torch.tensor([1.0, 0.0, 3.0])
    task = taught(classes, TAUGHT, weight=1.0, temperature=2.0)
    parts = task.loss(Telling(LOGITS), WeightedBatch((torch.zeros(3, 1),), LABELS, weights), CrossEntropy(), "train")
    assert isinstance(parts, dict)
    expected = float((weights.double() * divergences(2.0)).sum() / 4)
    assert float(parts["teacher"]) == pytest.approx(expected, rel=1e-5)


def test_weights_of_classes_are_refused_beside_a_teacher(classes: Callable[..., Any]) -> None:
    task = taught(classes, TAUGHT)
    criterion = CrossEntropy(weights=[1.0, 2.0, 3.0])
    criterion.prepare(task.data.ports()[1])
    with pytest.raises(LabwrightError, match=r"loss\.weights: a teacher has its own .* task\.sampling"):
        task.loss(Telling(LOGITS), Batch((torch.zeros(3, 1),), LABELS), criterion, "train")


def test_the_teacher_sees_the_same_pictures_stands_still_and_is_resumed_to_the_bit(
    teacher: Path, tmp_path: Path
) -> None:
    student = experiment(teacher, **{"task.mixup": 0.2})
    whole = student.run(tmp_path / "whole")
    trainer = student.trainer(tmp_path / "cut")
    task = trainer.task
    assert isinstance(task, Classification) and task.teaching is not None and task.teaching.model is not None
    before = [tensor.clone() for tensor in task.teaching.model.state_dict().values()]
    trainer.fit(until=7)
    assert not task.teaching.model.training
    assert all(map(torch.equal, before, task.teaching.model.state_dict().values()))
    gone = teacher.with_name("gone")
    shutil.move(teacher, gone)  # a run needs its teacher's folder no more
    try:
        trainer, _ = student.resumed(tmp_path / "cut")
        trainer.fit()
    finally:
        shutil.move(gone, teacher)
    weights = whole.model.state_dict(), trainer.run.model.state_dict()
    assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())


def test_resuming_with_another_teacher_is_refused(teacher: Path, tmp_path: Path) -> None:
    student = experiment(teacher)
    student.trainer(tmp_path / "run").fit(until=3)
    shutil.copytree(teacher, tmp_path / "other")
    with pytest.raises(LabwrightError, match=r"task\.teacher\.run: given .*other'; this run keeps a copy of its"):
        experiment(tmp_path / "other").resumed(tmp_path / "run")
    file = next((tmp_path / "run" / "task" / "teacher" / "checkpoints").glob("*/model.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(LabwrightError, match="is torn or was changed: its checksum differs"):
        student.resumed(tmp_path / "run")


def test_micro_batches_learn_from_the_teacher_what_the_whole_batch_does(teacher: Path, tmp_path: Path) -> None:
    once = experiment(teacher).run(tmp_path / "once").model.state_dict()
    cut = experiment(teacher, **{"device.accumulate": 4}).run(tmp_path / "cut").model.state_dict()
    assert all(torch.allclose(tensor, cut[name], atol=1e-5) for name, tensor in once.items())


def test_a_teacher_of_other_classes_or_inputs_is_refused_by_name(
    teacher: Path, tmp_path: Path, classes: Callable[..., Any]
) -> None:
    task = Classification(classes([0, 1, 2]), teacher=Teacher(teacher))
    with pytest.raises(LabwrightError, match=r"from Image \(channels 1, height 8, .* the classes 0, 1, .*'a' it has"):
        task.prepare()
    with pytest.raises(LabwrightError, match=r"task\.teacher\.run: .*nowhere' is no run folder"):
        experiment(tmp_path / "nowhere").run(tmp_path / "run")


def test_where_the_teacher_may_have_seen_what_is_measured_is_said(teacher: Path, tmp_path: Path) -> None:
    same, other = experiment(teacher), experiment(teacher, **{"task.data.valid": 0.5})
    said = [one.run(tmp_path / name).notes for name, one in (("same", same), ("other", other))]
    assert not [note for note in said[0] if "teacher" in note]
    assert [note.split(": ")[0] for note in said[1] if "teacher" in note] == [
        f"the teacher {teacher} has learned from other samples than this run"
    ] * 2


class Shuffled(lw.Data):
    """Digits whose training labels tell nothing: each is that of some other picture."""

    item, target, source, licence = lw.Image, lw.Classes, "scikit-learn", "BSD"

    def prepare(self) -> None:
        digits = lw.Experiment(
            task={"name": "classification", "data": {"name": "vision/digits", "valid": 0.0}},
            model="vision/mlp",
            loss="cross-entropy",
            optimizer="adamw",
            train={"epochs": 1},
        ).prepared()
        self.parts = {}
        for name in ("train", "test"):
            part = digits.part(name, plain=True)
            assert part is not None
            batch = part.fetch(torch.arange(len(part)), 0, 0)
            order = torch.randperm(len(part), generator=torch.Generator().manual_seed(0))
            labels = batch.targets[order] if name == "train" else batch.targets
            self.parts[name] = lw.TensorSplit(batch.inputs, labels)
        self.given = digits.ports()

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return self.given

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.parts.get(name)


def test_a_student_becomes_as_good_as_its_teacher_from_its_answers_alone(tmp_path: Path) -> None:
    """The labels are shuffled: whoever learns from them alone is right one time in ten."""
    changed = {"train.steps": 200, "optimizer.lr": 3e-3, "task.data.valid": 0.0, "model.width": 64}
    teacher = experiment(**changed).run(tmp_path / "teacher")
    reached = {}
    for weight in (None, 1.0):
        given = {"run": str(tmp_path / "teacher"), "weight": weight} if weight else None
        student = experiment(given, **{**changed, "task.data": Shuffled, "model.width": 24})
        reached[weight] = student.run(tmp_path / f"student-{weight}").metrics["test"]["accuracy"]
    assert teacher.metrics["test"]["accuracy"] > 0.93
    assert reached[None] < 0.35 and reached[1.0] > teacher.metrics["test"]["accuracy"] - 0.03
