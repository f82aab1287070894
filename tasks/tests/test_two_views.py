"""Learning from two views of each sample: what a batch holds, teachers, neighbours, what is refused, resuming."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import pytest
import torch
from labwright.train.log import read_log
from labwright_tasks.classification import Classification, ClassificationLoss
from labwright_tasks.projected import Headed, Projected, WithTeacher
from labwright_tasks.representations import ReciprocalRank, RetrievalAccuracy, Spread
from labwright_tasks.two_views import Alike, Asked, Pairs, TwoViews, Views
from labwright_tasks.two_views_report import deviations
from labwright_tasks.views_losses import Byol, InBatch, NtXent, VICReg
from labwright_testing.verify_resume import verify_resume
from torch import Tensor, nn
from torch.nn import functional

CLASSES = ("left", "middle", "right")


class Part:
    """Points whose noise is another in each epoch and under each seed."""

    def __init__(self, x: Tensor, labels: Tensor, noise: float) -> None:
        self.x, self.labels, self.noise = x, labels, noise

    def __len__(self) -> int:
        return len(self.x)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        drawn = lw.draws(len(self), self.x.shape[1], seed=seed, epoch=epoch)[indices]
        return lw.Batch((self.x[indices] + self.noise * (drawn - 0.5),), self.labels[indices])

    def plain(self) -> Part:
        return Part(self.x, self.labels, 0.0)


class Clouds(lw.Data):
    """Three clouds of points in five dimensions."""

    item, target, source, licence = lw.Features, lw.Classes, "made here", "CC0-1.0"

    def __init__(self, *, count: int = 45, noise: float = 1.0, names: tuple[str, ...] = CLASSES) -> None:
        self.count, self.noise, self.names = count, noise, names

    def prepare(self) -> None:
        draws = lw.generator(3)
        centres = 2 * torch.randn(len(self.names), 5, generator=draws)
        self.parts = {}
        for split, count in (("train", self.count), ("valid", 12), ("test", 12)):
            labels = torch.arange(count) % len(self.names)
            x = centres[labels] + torch.randn(count, 5, generator=draws)
            self.parts[split] = Part(x, labels, self.noise if split == "train" else 0.0)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((5,)), lw.Classes(self.names)

    def split(self, name: str) -> Part | None:
        return self.parts.get(name)


class Elsewhere(Clouds):
    """The same, fetched by loader workers."""

    in_memory = False


class Uneven(Clouds):
    """Samples that are as long as the seed has it."""

    def split(self, name: str) -> Any:
        part = self.parts[name]

        class Cut(Part):
            def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
                whole = super().fetch(indices, epoch, seed)
                return lw.Batch((whole.inputs[0][:, : 1 + seed % 5],), whole.targets)

        return Cut(part.x, part.labels, 1.0)


class Measured(Clouds):
    """The same points with numbers instead of classes."""

    target = lw.Values

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((5,)), lw.Values(1)


class Net(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(*inputs.shape, width), nn.ReLU(), nn.Linear(width, len(outputs.names)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


PROJECTED = {"name": Projected, "trunk": Net, "features": 8, "hidden": 8, "dim": 4}
TAUGHT = {**PROJECTED, "name": WithTeacher, "momentum": 0.8}


def learning(**changed: Any) -> lw.Experiment:
    given: dict[str, Any] = {
        "task": {"name": TwoViews, "data": Clouds, "neighbours": 3},
        "model": PROJECTED,
        "loss": NtXent,
        "optimizer": {"name": "adamw", "lr": 0.01},
        "device": "cpu",
        "train": {"steps": 6, "batch_size": 16, "seed": 0},
        "log": [],
    }
    return lw.Experiment(**{**given, **changed})


def task_of(data: lw.Data, **settings: Any) -> TwoViews:
    task = TwoViews(data, **settings)
    task.prepare()
    return task


# -------------------------------------------------------------------------------------------- what a batch holds


def test_a_view_is_a_function_of_seed_epoch_index_and_view_alone() -> None:
    data = Clouds()
    data.prepare()
    part = data.parts["train"]
    whole = Pairs(part).fetch(torch.arange(45), 2, 7)
    assert not torch.equal(whole.inputs[0], whole.others[0])
    some = torch.tensor([40, 3, 11])
    again = Pairs(part).fetch(some, 2, 7)
    assert torch.equal(again.inputs[0], whole.inputs[0][some]) and torch.equal(again.others[0], whole.others[0][some])
    seen = {tuple(view[0].tolist()) for view in (whole.inputs[0], whole.others[0])}
    for epoch, seed in ((3, 7), (2, 8)):
        other = Pairs(part).fetch(torch.arange(45), epoch, seed)
        seen |= {tuple(view[0].tolist()) for view in (other.inputs[0], other.others[0])}
    assert len(seen) == 6  # another epoch and another seed show two others each


@pytest.mark.parametrize("count", [0, 2])
def test_batches_begin_anywhere_and_workers_change_nothing(count: int) -> None:
    whole = list(task_of(Clouds()).batches("train", size=8, seed=1, epoch=4) or ())
    elsewhere = task_of(Elsewhere())
    workers = lw.Workers(elsewhere.part, count) if count else None
    rest = list(elsewhere.batches("train", size=8, seed=1, epoch=4, start=2, workers=workers) or ())
    if workers:
        workers.close()
    assert len(rest) == len(whole) - 2
    for one, other in zip(whole[2:], rest, strict=True):
        assert torch.equal(one.inputs[0], other.inputs[0]) and torch.equal(one.others[0], other.others[0])


def test_rows_cut_pairs_together() -> None:
    (batch,) = task_of(Clouds(count=9)).batches("train", size=9, seed=0, epoch=0) or ()
    part = batch.rows(slice(2, 5))
    assert isinstance(part, Views) and len(part) == 3
    assert torch.equal(part.inputs[0], batch.inputs[0][2:5]) and torch.equal(part.others[0], batch.others[0][2:5])
    assert torch.equal(part.targets, batch.targets[2:5])


def test_a_last_batch_of_one_sample_is_given_another() -> None:
    task = task_of(Clouds(count=33))
    batches = list(task.batches("train", size=8, seed=0, epoch=0) or ())
    assert [len(batch) for batch in batches] == [8, 8, 8, 7, 2]
    assert [len(batch) for batch in task.batches("train", size=2, seed=0, epoch=0) or ()] == [2] * 15 + [3]
    assert len(task.batches("valid", size=11, seed=0, epoch=0) or ()) == 2  # what is measured isn't compared


# ---------------------------------------------------------------------------------------------------- objectives


def both(batch: Views) -> Tensor:
    return torch.cat([batch.inputs[0], batch.others[0]])


def test_the_loss_is_that_of_both_views_projections() -> None:
    built = learning().build()
    batch = next(iter(built.task.batches("train", size=16, seed=0, epoch=0) or ()))
    assert isinstance(built.model, Projected) and isinstance(batch, Views)
    projections = built.model.projector(built.model.trunk(both(batch)))
    expected = NtXent()(projections[:16], projections[16:])
    assert torch.equal(built.task.loss(built.model, batch, built.criterion, "train"), expected)


def test_parts_of_a_loss_are_logged(tmp_path: Path) -> None:
    learning(loss=VICReg).run(tmp_path / "run")
    record = next(read for read in read_log(tmp_path / "run" / "metrics.jsonl") if read["event"] == "train")
    assert {"loss", "loss/invariance", "loss/variance", "loss/covariance"} <= record.keys()


@pytest.mark.parametrize("loss", [Byol, VICReg], ids=["scalar", "parts"])
def test_each_view_predicts_what_the_teacher_gives_for_the_other(loss: Any) -> None:
    built = learning(model=TAUGHT, loss=loss).build()
    model = built.model
    batch = next(iter(built.task.batches("train", size=16, seed=0, epoch=0) or ()))
    assert isinstance(model, WithTeacher) and isinstance(batch, Views)
    with torch.no_grad():  # a teacher that has gone its own way
        for parameter in model.teacher.parameters():
            parameter.mul_(1.5)
    given = built.task.loss(model, batch, built.criterion, "train")
    predicted, taught = model.predictor(model.projector(model.trunk(both(batch)))), model.teacher(both(batch))
    ways = loss()(predicted[:16], taught[16:]), loss()(predicted[16:], taught[:16])
    if isinstance(given, Tensor):
        torch.testing.assert_close(given, (ways[0] + ways[1]) / 2)
    else:
        assert given == {name: (ways[0][name] + ways[1][name]) / 2 for name in ways[0]}
    torch.autograd.backward(given if isinstance(given, Tensor) else sum(given.values()))
    assert all(parameter.grad is None for parameter in model.teacher.parameters())


class Followed:
    """Averages trunk and projector by itself, with Grill et al.'s momentum at each step."""

    def __init__(self, momentum: float) -> None:
        self.momentum, self.average, self.moved = momentum, dict[str, Tensor](), 0.0

    @lw.hookimpl
    def labwright_run_started(self, run: lw.Run) -> None:
        self.average = {name: one.detach().clone() for name, one in run.model.named_parameters()}

    @lw.hookimpl
    def labwright_step_ended(self, run: lw.Run, step: int) -> None:
        share = 1 - (1 - self.momentum) * (math.cos(math.pi * step / run.total_steps) + 1) / 2
        for name, one in run.model.named_parameters():
            self.average[name] = share * self.average[name] + (1 - share) * one.detach()


def test_the_teacher_is_an_average_whose_momentum_rises_to_1(tmp_path: Path) -> None:
    followed = Followed(0.8)
    model = learning(model=TAUGHT, loss=Byol).run(tmp_path / "run", listeners=[followed]).model
    assert isinstance(model, WithTeacher)
    student = {**dict(model.trunk.named_parameters("0")), **dict(model.projector.named_parameters("1"))}
    for name, parameter in model.teacher.named_parameters():
        child = ("trunk", "projector")[int(name[0])]
        torch.testing.assert_close(parameter, followed.average[f"{child}{name[1:]}"])
    assert not torch.equal(model.teacher[1][0].weight, student["1.0.weight"])


def test_without_momentum_the_teacher_is_the_model_itself(tmp_path: Path) -> None:
    model = learning(model={**TAUGHT, "momentum": 0.0, "rising": False}, loss=Byol).run(tmp_path / "run").model
    assert isinstance(model, WithTeacher)
    for child, teacher in zip((model.trunk, model.projector), model.teacher, strict=True):
        for one, other in zip(child.parameters(), teacher.parameters(), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(("model", "loss"), [(PROJECTED, NtXent), (PROJECTED, VICReg), (TAUGHT, Byol)])
def test_a_resumed_run_is_the_uninterrupted_one(model: Any, loss: Any) -> None:
    assert verify_resume(learning(model=model, loss=loss), 3).exact


# ---------------------------------------------------------------------------------------------- what is measured


def test_a_pass_in_batches_of_any_size_sees_the_same_known_samples() -> None:
    task = task_of(Clouds(), known=20)
    for size in (1, 5, 12):
        batches = list(task.batches("valid", size=size, seed=0, epoch=0, plain=True) or ())
        assert all(isinstance(batch, Asked) for batch in batches)
        known = torch.cat([batch.known[0] for batch in batches])
        # 20 of 45, evenly, as they are without augmentation
        assert torch.equal(known, task.data.parts["train"].x[[place * 45 // 20 for place in range(20)]])
        assert sum(map(len, batches)) == 12


def test_more_known_samples_than_there_are_is_all_of_them() -> None:
    batches = task_of(Clouds(), known=4096).batches("valid", size=7, seed=0, epoch=0, plain=True) or ()
    assert sum(len(batch.known_labels) for batch in batches) == 45


def test_evaluation_is_the_same_each_time_and_whatever_the_batch() -> None:
    built = learning().build()
    metrics = [built.evaluate("valid", size=size, seed=seed) for size, seed in ((12, 0), (12, 1), (5, 0))]
    assert metrics[0] == metrics[1]
    assert metrics[0] is not None and metrics[2] is not None
    assert metrics[0].samples == metrics[2].samples == 12
    assert metrics[0].metrics == pytest.approx(metrics[2].metrics)


def test_training_samples_are_no_neighbours_of_themselves() -> None:
    evaluated = learning().build().evaluate("train", size=16, seed=0)
    assert evaluated is not None and math.isnan(evaluated.metrics["knn_accuracy"])
    assert evaluated.metrics["spread"] > 0


def test_data_without_classes_is_judged_by_the_rank(tmp_path: Path) -> None:
    run = learning(task={"name": TwoViews, "data": Measured}).run(tmp_path / "run")
    assert run.outcome is not None and set(run.outcome.metrics["valid"]) == {"spread", "rank"}
    assert learning(task={"name": TwoViews, "data": Measured}).goal == lw.Goal("rank", "maximize")
    one_class = {"name": TwoViews, "data": {"name": Clouds, "names": ["all"]}, "neighbours": 0}
    assert set(learning(task=one_class).run(tmp_path / "one").metrics["valid"]) == {"spread", "rank"}


@pytest.mark.parametrize(("variance", "collapses"), [(0.0, True), (25.0, False)])
def test_a_collapse_is_said(variance: float, collapses: bool, tmp_path: Path) -> None:
    # the variance is what keeps VICReg's projections apart
    loss = {"name": VICReg, "variance": variance, "covariance": 0.0}
    train = {"steps": 60, "batch_size": 16, "seed": 0}
    outcome = learning(model={**PROJECTED, "layers": 1}, loss=loss, train=train).run(tmp_path / "run").outcome
    assert outcome is not None
    assert any("have collapsed" in note for note in outcome.notes) == collapses, outcome.metrics


def test_directions_of_even_and_of_collapsed_projections_by_hand() -> None:
    even = torch.cat([torch.eye(4), -torch.eye(4)]) * torch.arange(1, 9)[:, None]
    assert deviations(even).tolist() == pytest.approx([1, 1, 1, 1])  # a covariance of 1/4 times the identity
    line = torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
    assert deviations(line).tolist() == pytest.approx([2, 0, 0, 0])  # all variance, 1, in one of four
    assert deviations(torch.ones(3, 4)).tolist() == pytest.approx([0] * 4, abs=1e-7)
    assert deviations(torch.tensor([[2.0], [-3.0]])).tolist() == pytest.approx([1])
    random = torch.randn(50, 6, generator=lw.generator(1))
    spread = Spread()
    spread.update(random)
    # the mean square is the same in any directions; equal deviations have the largest mean
    assert deviations(random).square().mean().sqrt().item() >= spread.compute()


def test_the_report_has_curves_of_neighbours_and_spread_and_the_directions(tmp_path: Path) -> None:
    train = {"epochs": 3, "batch_size": 16, "seed": 0}
    run = learning(train=train, log=["report"]).run(tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    for title in ("Validation knn_accuracy", "Validation spread", "Directions that projections fill"):
        assert title in page
    assert "This part is missing" not in page
    (figure,) = run.task.report(run.model, "test", torch.device("cpu"))
    even, line = figure.figure.axes[0].lines
    assert set(even.get_ydata()) == {1.0} and len(line.get_ydata()) == 4
    assert list(run.task.report(run.model, "elsewhere", torch.device("cpu"))) == []


def test_a_prediction_is_the_representation() -> None:
    built = learning().build()
    x = torch.randn(2, 5, generator=lw.generator(0))
    answers = built.task.predict(built.model, (x,), (None, None))
    assert isinstance(built.model, Projected)
    assert [answer["embedding"] for answer in answers] == built.model.trunk(x).tolist()


# ------------------------------------------------------------------------------------------------- a trunk's use


def test_a_trunk_goes_on_under_another_head(tmp_path: Path) -> None:
    learned = learning().run(tmp_path / "run").model
    experiment = learning(
        task={"name": Classification, "data": Clouds},
        model={"name": Headed, "trunk": Net, "features": 8},
        loss="cross-entropy",
    )
    headed = experiment.build().model
    taken = {name: one for name, one in learned.state_dict().items() if name.startswith("trunk.")}
    left = headed.load_state_dict(taken, strict=False)
    assert not left.unexpected_keys and left.missing_keys == ["head.weight", "head.bias"]


def test_a_head_gives_numbers_as_well() -> None:
    headed = Headed(lw.Features((5,)), lw.Values(2), trunk=lambda inputs, outputs: Net(inputs, outputs), features=8)
    assert headed(torch.zeros(3, 5)).shape == (3, 2)


# --------------------------------------------------------------------------------------------- a stranger's task


class MoCo(TwoViews):
    """Contrast with a queue of earlier keys, which a momentum encoder gives (He et al. 2020). Both are its state."""

    contract = ClassificationLoss
    kept = True

    def __init__(self, data: Annotated[lw.Data, lw.Part("data")], *, queue: int = 32, momentum: float = 0.9) -> None:
        super().__init__(data, neighbours=3)
        self.momentum = momentum
        self.queue_QD = functional.normalize(torch.randn(queue, 4, generator=lw.generator(0)), dim=1)
        self.slow: dict[str, Tensor] = {}

    def loss(self, model: nn.Module, batch: Views, criterion: ClassificationLoss, phase: str) -> Tensor:
        slow = self.slow or {name: one.detach() for name, one in model.named_parameters()}
        queries_BD = functional.normalize(model(*batch.inputs), dim=1)
        with torch.no_grad():
            keys_BD = functional.normalize(torch.func.functional_call(model, slow, batch.others), dim=1)
        alike_B1 = (queries_BD * keys_BD).sum(1, keepdim=True)
        self.newest_BD = keys_BD
        return criterion(
            torch.cat([alike_B1, queries_BD @ self.queue_QD.T], dim=1) / 0.2, torch.zeros_like(batch.targets)
        )

    def after_step(self, model: nn.Module, phase: str, progress: float) -> None:
        slow = self.slow or {name: one.detach().clone() for name, one in model.named_parameters()}
        self.slow = {name: slow[name].lerp(one.detach(), 1 - self.momentum) for name, one in model.named_parameters()}
        self.queue_QD = torch.cat([self.newest_BD, self.queue_QD])[: len(self.queue_QD)]

    def state(self) -> dict[str, Tensor]:
        return {"queue": self.queue_QD, **{f"slow.{name}": one for name, one in self.slow.items()}} if self.kept else {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if self.kept:
            self.queue_QD = state["queue"]
            self.slow = {name.removeprefix("slow."): one for name, one in state.items() if name.startswith("slow.")}


class Forgetful(MoCo):
    """The planted fault: neither is in a checkpoint."""

    kept = False


def test_a_memory_bank_and_its_encoder_resume_exactly() -> None:
    plain = {**PROJECTED, "layers": 1}  # without batch normalisation, whose statistics keys would move
    moco = learning(task={"name": MoCo, "data": Clouds}, model=plain, loss="cross-entropy")
    verdict = verify_resume(moco, 3)
    assert verdict.exact and verdict.first_difference is None
    assert not verify_resume(moco.varied({"task": {"name": Forgetful, "data": Clouds}}), 3).exact


# ----------------------------------------------------------------------------------------------- what is refused


class Sounds(nn.Module):
    def __init__(self, inputs: lw.Audio, outputs: lw.Classes) -> None:
        super().__init__()


class Unembedding(nn.Module):
    def __init__(self, inputs: lw.Features) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"task": {"name": TwoViews, "data": {"name": Clouds, "noise": 0.0}}}, "shows a sample the same way each time"),
    ({"task": {"name": TwoViews, "data": Uneven}}, "two views of the same samples have other shapes"),
    ({"task": {"name": TwoViews, "data": {"name": Clouds, "names": ["all"]}}}, "task.neighbours=0"),
    ({"task": {"name": TwoViews, "data": Clouds, "neighbours": -1}}, "task.neighbours: given -1"),
    ({"task": {"name": TwoViews, "data": Clouds, "temperature": 0.0}}, "task.temperature: given 0"),
    ({"task": {"name": TwoViews, "data": Clouds, "known": 0}}, "task.known: given 0"),
    ({"model": Net}, "returns Classes; .* has targets Projections"),
    ({"model": Unembedding}, "has no method embed"),
    ({"model": {**PROJECTED, "trunk": Sounds}}, "model.trunk: .* takes Audio; here it is given Features"),
    ({"model": {**PROJECTED, "trunk": nn.Linear(5, 8)}}, "Linear takes no ports"),
    ({"model": {"name": Projected}}, "model.trunk: .* needs this setting: a model"),
    ({"model": {**TAUGHT, "momentum": 1.0}}, "model.momentum: given 1.0"),
    ({"model": {**PROJECTED, "dim": 1}}, "model.dim: given 1"),
    ({"loss": "cross-entropy"}, r"loss\(first, second\)"),
    ({"loss": {"name": NtXent, "temperature": 0}}, "loss.temperature: given 0"),
    ({"loss": {"name": VICReg, "variance": -1.0}}, "loss.variance: given -1"),
    ({"device": {"name": "cpu", "accumulate": 2}}, "compares the samples of a batch with one another"),
    ({"train": {"steps": 2, "batch_size": 1}}, "compares samples with one another, and a batch has only one"),
]


@pytest.mark.parametrize(("changed", "message"), REFUSED)
def test_what_cant_be_learned_from_is_refused_before_there_is_a_run(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(lw.LabwrightError, match=message):
        learning(**changed).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_byol_without_a_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match="BYOL's needs a model with a teacher, such as 'with-teacher'"):
        learning(loss=Byol).run(tmp_path / "run")


class Twins(Clouds):
    """Points in pairs: the other is the same one, turned."""

    target = Alike

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((5,)), Alike()

    def split(self, name: str) -> Any:
        part = self.parts[name]

        class Both(Part):
            def fetch(self, indices: Tensor, epoch: int, seed: int) -> Views:
                x = self.x[indices]
                return Views((x,), torch.empty(len(indices), 0), (x.flip(1) * 2,))

            def plain(self) -> Part:
                return self

        return Both(part.x, part.labels, 0.0)


class Linear(nn.Module):
    """A layer, and dropout before it."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout, self.layer = nn.Dropout(dropout), nn.Linear(inputs.shape[0], len(outputs.names))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layer(self.dropout(x))
        return features


def test_pairs_are_found_by_what_was_learned_of_them(tmp_path: Path) -> None:
    """A linear layer of five can turn a point as its other is turned; drawn at random it finds few."""
    settings: dict[str, Any] = {
        "task": {"name": "two-views", "data": Twins},
        "model": {"name": "projected", "trunk": {"name": Linear, "dropout": 0.0}, "features": 16, "layers": 0},
        "loss": {"name": "in-batch", "temperature": 0.1},
        "optimizer": {"name": "adamw", "lr": 0.05},
        "log": [],
    }
    run = lw.Experiment(**settings, train={"epochs": 30, "batch_size": 15, "seed": 0}).run(tmp_path / "run")
    before = lw.Experiment(**settings, train={"steps": 1, "batch_size": 2, "seed": 0}).run(tmp_path / "before")
    found, drawn = (one.metrics["test"]["retrieval_accuracy"] for one in (run, before))
    assert found > 0.7 > 0.5 > drawn and run.metrics["test"]["mrr"] >= found


def test_the_same_sample_twice_is_seen_in_two_views_by_dropout() -> None:
    task = TwoViews(Clouds(noise=0.0), views="dropout")
    task.prepare()
    part = task.view("train", task.data.split("train"))  # type: ignore[arg-type]
    batch = part.fetch(torch.arange(6), 0, 0)
    assert isinstance(batch, Views) and torch.equal(batch.inputs[0], batch.others[0])
    trunk = Linear(lw.Features((5,)), lw.Classes(tuple("abcd")))
    model = Projected.__new__(Projected)
    nn.Module.__init__(model)
    model.trunk, model.projector = trunk, nn.Identity()
    torch.manual_seed(0)
    learned = float(task.loss(model.train(), batch, InBatch(), "train").detach())  # type: ignore[arg-type]
    same = float(task.loss(model.eval(), batch, InBatch(), "train").detach())  # type: ignore[arg-type]
    features = functional.normalize(model(*batch.inputs), dim=1)
    by_hand = functional.cross_entropy(features @ features.T / 0.05, torch.arange(6))
    assert same == pytest.approx(float(by_hand.detach()), rel=1e-5) and learned != pytest.approx(same, rel=1e-3)


def test_places_of_pairs_are_those_that_sorting_gives() -> None:
    draws = lw.generator(0)
    first, second = torch.randn(40, 3, generator=draws), torch.randn(40, 3, generator=draws)
    second[:10] = 2 * first[:10]
    ranks = []
    for asked, others in ((first, second), (second, first)):
        for row, vector in enumerate(asked):
            near = [float(functional.cosine_similarity(vector, other, dim=0)) for other in others]
            ranks.append(sorted(near, reverse=True).index(near[row]) + 1)
    accuracy, rank = RetrievalAccuracy(), ReciprocalRank()
    for some in (slice(0, 17), slice(17, 40)):
        accuracy.update(first[some], second[some])
        rank.update(first[some], second[some])
    assert accuracy.compute() == pytest.approx(sum(place == 1 for place in ranks) / 80)
    assert rank.compute() == pytest.approx(sum(1 / place for place in ranks) / 80)
    assert math.isnan(RetrievalAccuracy().compute())
