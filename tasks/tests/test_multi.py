"""Several tasks at once: each head is measured and trained as if it were alone, on the samples that have a target."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from heads_of_points import PORTS, Samples, Single, Trunk, experiment, first_batch, of_gaps
from labwright import LEFT_OUT, Batch, Classes, Features, Heads, Values
from labwright_tasks.classification import Classification
from labwright_tasks.head_losses import Uncertainty, Weighted
from labwright_tasks.heads import HeadsOnTrunk
from labwright_tasks.multi import HeadBatch, MultiTask
from labwright_tasks.regression import Regression
from labwright_testing.verify_resume import verify_resume
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

CPU = torch.device("cpu")


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Scaled(nn.Module):
    """Cross-entropy of logits times a scale that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits * self.scale, labels)


# ----------------------------------------------------------------------------------------------------------- the losses


def test_a_heads_loss_with_parameters_is_trained_kept_and_resumed_exactly(tmp_path: Path) -> None:
    task = {"name": "multi", "data": Samples, "losses": {"kind": Scaled}}
    spec = experiment(task=task, train={"steps": 8, "batch_size": 20, "ema": 0.9})
    trainer = spec.trainer(tmp_path / "run")
    built = trainer.built
    batch, scale = first_batch(built), built.criterion.get_parameter("task.losses/kind.scale")
    logits_BC = built.model(*batch.inputs)["kind"].detach()
    # the slope of the mean cross-entropy at scale 1, and one step of plain gradient descent along it
    shares_BC = logits_BC.softmax(1)
    slope = (shares_BC * logits_BC).sum(1) - logits_BC.gather(1, batch.targets["kind"][:, None])[:, 0]
    trainer.step(batch)
    assert scale.item() == pytest.approx(1 - 0.1 * slope.mean().item(), abs=1e-6)
    assert verify_resume(spec, 3).exact


def test_a_heads_classes_are_weighed_as_their_loss_says() -> None:
    weights = {"name": "cross-entropy", "weights": [1.0, 2.0, 5.0]}
    task = {"name": "multi", "data": {"name": Samples, "gaps": True}, "losses": {"kind": weights}}
    built = experiment(task=task).build()
    batch = first_batch(built)
    parts: Any = built.task.loss(built.model, batch, built.criterion, "train")
    logits, labels = built.model(*batch.inputs)["kind"], batch.targets["kind"]
    expected = functional.cross_entropy(logits, labels, torch.tensor([1.0, 2.0, 5.0]))
    torch.testing.assert_close(parts["kind"], expected)
    balanced = experiment(task={**task, "losses": {"kind": {"name": "cross-entropy", "weights": "balanced"}}}).build()
    counts = torch.bincount(labels_of(balanced, "kind"), minlength=3)
    assert balanced.task.losses["kind"].weight_C.tolist() == pytest.approx((counts.sum() / (3 * counts)).tolist())  # type: ignore[attr-defined]


def labels_of(built: lw.Built, head: str) -> Tensor:
    """The labels of a head's training samples that have one."""
    labels = built.task.data.split("train").labels[head]  # type: ignore[union-attr]
    return labels[labels != LEFT_OUT]


def test_the_parts_are_each_heads_own_loss() -> None:
    built = experiment().build()
    batch = first_batch(built)
    parts = built.task.loss(built.model, batch, built.criterion, "train")
    outputs, targets = built.model(*batch.inputs), batch.targets
    assert isinstance(parts, dict)
    assert torch.equal(parts["kind"], functional.cross_entropy(outputs["kind"], targets["kind"]))
    assert torch.equal(parts["side"], functional.cross_entropy(outputs["side"], targets["side"]))
    assert torch.equal(parts["size"], functional.mse_loss(outputs["size"], targets["size"]))


def test_the_recipe_chooses_a_heads_loss_and_weights() -> None:
    smooth = {"name": "cross-entropy", "label_smoothing": 0.2}
    task = {"name": "multi", "data": Samples, "losses": {"kind": smooth, "size": "mae"}}
    built = experiment(task=task, loss={"name": "weighted", "weights": {"size": 0.25, "side": 3.0}}).build()
    batch = first_batch(built)
    parts: Any = built.task.loss(built.model, batch, built.criterion, "train")
    outputs, targets = built.model(*batch.inputs), batch.targets
    nats = functional.cross_entropy(outputs["kind"], targets["kind"], label_smoothing=0.2)
    torch.testing.assert_close(parts["kind"], nats)
    torch.testing.assert_close(parts["side"], 3 * functional.cross_entropy(outputs["side"], targets["side"]))
    torch.testing.assert_close(parts["size"], functional.l1_loss(outputs["size"], targets["size"]) / 4)


def test_what_has_no_target_counts_neither_in_the_loss_nor_in_the_metrics() -> None:
    built = experiment(task=of_gaps()).build()
    batch = built.task.draw(first_batch(built), torch.Generator())
    parts: Any = built.task.loss(built.model, batch, built.criterion, "train")
    outputs, targets = built.model(*batch.inputs), batch.targets
    has_kind, has_size = targets["kind"] != LEFT_OUT, ~targets["size"].isnan().any(1)
    assert 0 < int(has_kind.sum()) < 20 and 0 < int(has_size.sum()) < 20
    nats = functional.cross_entropy(outputs["kind"][has_kind], targets["kind"][has_kind])
    torch.testing.assert_close(parts["kind"], nats)
    squares = functional.mse_loss(outputs["size"][has_size], targets["size"][has_size])
    torch.testing.assert_close(parts["size"], squares)
    metrics = built.task.metrics()
    for metric in metrics.values():
        metric.update(*built.task.evaluate(built.model, batch))
    right = outputs["kind"].argmax(1)[has_kind] == targets["kind"][has_kind]
    assert metrics["kind/accuracy"].compute() == pytest.approx(float(right.float().mean()))
    assert metrics["size/rmse"].compute() == pytest.approx(math.sqrt(squares.item()), rel=1e-6)


def test_a_batch_without_any_target_of_a_head_leaves_it_out() -> None:
    built = experiment(task=of_gaps()).build()
    batch = first_batch(built)
    nowhere = {**batch.targets, "kind": torch.full((20,), LEFT_OUT)}
    parts: Any = built.task.loss(built.model, Batch(batch.inputs, nowhere), built.criterion, "train")
    assert list(parts) == ["side", "size"]
    (results,) = built.task.evaluate(built.model, Batch(batch.inputs, nowhere))
    assert list(results) == ["side", "size"]
    metrics = built.task.metrics()
    for metric in metrics.values():
        metric.update(results)
    assert math.isnan(metrics["kind/accuracy"].compute())
    others = metrics["side/accuracy"].compute(), metrics["size/r2"].compute()
    assert metrics["score"].compute() == pytest.approx(sum(others) / 2)


def test_a_batch_without_any_target_at_all_moves_nothing() -> None:
    built = experiment(task=of_gaps()).build()
    batch = first_batch(built)
    kind, size = torch.full((20,), LEFT_OUT), torch.full((20, 2), torch.nan)
    parts: Any = built.task.loss(
        built.model, Batch(batch.inputs, {"kind": kind, "side": kind, "size": size}), built.criterion, "train"
    )
    torch.stack(tuple(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(not parameter.grad.any() for parameter in built.model.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    "changed",
    [{}, {"loss": "uncertainty"}, {"method": "pcgrad"}, {"method": "sam"}],
    ids=["plain", "uncertainty", "pcgrad", "sam"],
)
@pytest.mark.usefixtures("float64")
def test_accumulation_changes_nothing_wherever_the_gaps_are(changed: dict[str, Any], tmp_path: Path) -> None:
    def after(accumulate: int) -> Mapping[str, Tensor]:
        device = {"name": "cpu", "accumulate": accumulate}
        run = experiment(task=of_gaps(double=True), device=device, **changed).run(tmp_path / str(accumulate))
        return run.model.state_dict()

    whole, halves, quarters = after(1), after(2), after(4)
    for name, value in whole.items():
        torch.testing.assert_close(halves[name], value, rtol=0, atol=1e-12, msg=name)
        torch.testing.assert_close(quarters[name], value, rtol=0, atol=1e-12, msg=name)


def test_what_is_logged_is_each_part_and_their_sum(tmp_path: Path) -> None:
    run = experiment(train={"steps": 4, "batch_size": 20, "log_every": 2}).run(tmp_path / "run")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["event"] == "train":
            parts = [line[f"loss/{head}"] for head in PORTS.ports]
            assert line["loss"] == pytest.approx(sum(parts), rel=1e-6)


# ---------------------------------------------------------------------------------------------------- how they combine


def test_learned_variances_come_to_rest_where_the_likelihood_is_greatest() -> None:
    losses = {"kind": torch.tensor(0.7), "side": torch.tensor(2.0), "size": torch.tensor(5.0)}
    criterion = Uncertainty(PORTS)
    parts = {name: part.item() for name, part in criterion(losses).items()}
    assert parts == pytest.approx({"kind": 0.7, "side": 2.0, "size": 2.5})  # s = 0 at first
    # exp(-s) L + s / 2 is least at s = log(2 L); exp(-s) L / 2 + s / 2, a Gaussian's, at s = log(L)
    for name, rest in (("kind", math.log(1.4)), ("side", math.log(4.0)), ("size", math.log(5.0))):
        log_variance = criterion.get_parameter(f"log_variance_{name}")
        log_variance.data.fill_(rest)
        (slope,) = torch.autograd.grad(criterion(losses)[name], log_variance)
        assert abs(float(slope)) < 1e-6


def test_the_size_of_a_gaussian_head_is_its_mean_squared_error(tmp_path: Path) -> None:
    class Still(nn.Module):
        """Answers nothing but zeros: what is left to learn is how far off they are."""

        def __init__(self, inputs: Features, outputs: Heads) -> None:
            super().__init__()
            self.zero = nn.Parameter(torch.zeros(()), requires_grad=False)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"kind": x.new_zeros(len(x), 3), "side": x.new_zeros(len(x), 2), "size": x.new_zeros(len(x), 2)}

    run = experiment(
        model=Still,
        loss="uncertainty",
        optimizer={"name": "sgd", "lr": 0.5, "momentum": 0.0},
        train={"steps": 300, "batch_size": 40, "evaluate_every": "300 steps"},
    ).run(tmp_path / "run")
    size = Samples()
    size.prepare()
    mean_square = size.split("train").labels["size"].square().mean()
    (last,) = list((run.folder / "checkpoints").glob("*300*"))
    kept = {name: value for file in last.rglob("*.safetensors") for name, value in load_file(file).items()}
    assert float(kept["loss/log_variance_size"]) == pytest.approx(math.log(mean_square), abs=1e-3)
    assert float(kept["loss/log_variance_side"]) == pytest.approx(math.log(2 * math.log(2)), abs=1e-3)


def test_learned_variances_are_gone_on_with_bit_for_bit(tmp_path: Path) -> None:
    def checkpoint(folder: Path) -> dict[str, Tensor]:
        files = sorted((folder / "checkpoints").rglob("*8*/*.safetensors"))
        return {f"{file.name}/{name}": value for file in files for name, value in load_file(file).items()}

    learned = experiment(loss="uncertainty", task=of_gaps())
    learned.run(tmp_path / "whole")
    learned.trainer(tmp_path / "parts").fit(until=5)
    learned.resumed(tmp_path / "parts")[0].fit()
    whole, parts = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    assert any("log_variance" in name for name in whole) and whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_a_weight_of_nothing_leaves_a_head_untrained(tmp_path: Path) -> None:
    built = experiment(loss={"name": "weighted", "weights": {"side": 0.0}}).build()
    before = built.model.get_parameter("head_side.weight").detach().clone()
    run = experiment(loss={"name": "weighted", "weights": {"side": 0.0}}).run(tmp_path / "run")
    assert torch.equal(run.model.get_parameter("head_side.weight"), before)


# --------------------------------------------------------------------------------------------- measured, said and shown


def test_each_head_is_measured_as_its_own_task_would_be(tmp_path: Path) -> None:
    run = experiment(task=of_gaps()).run(tmp_path / "run")
    names, metrics = [name for name in run.metrics["test"] if "_95/" not in name], run.metrics["test"]
    assert metrics["side/accuracy_95/low"] <= metrics["side/accuracy"] <= metrics["side/accuracy_95/high"]
    assert names == [
        "score",
        *(f"{head}/{metric}" for head in ("kind", "side") for metric in ("accuracy", "cross_entropy")),
        *(f"size/{metric}" for metric in ("rmse", "mae", "r2")),
    ]
    found = run.metrics["test"]
    assert found["score"] == pytest.approx((found["kind/accuracy"] + found["side/accuracy"] + found["size/r2"]) / 3)


@pytest.mark.parametrize(
    ("goal", "direction"), [("score", "maximize"), ("size/rmse", "minimize"), ("side/accuracy", "maximize")]
)
def test_the_recipe_chooses_the_goal(goal: str, direction: str) -> None:
    task = {"name": "multi", "data": Samples, "goal": goal}
    assert experiment(task=task).goal == lw.Goal(goal, direction)  # type: ignore[arg-type]
    assert MultiTask(Samples()).goal == lw.Goal("score", "maximize")


def test_the_recipe_chooses_each_heads_metrics(tmp_path: Path) -> None:
    chosen = {"kind": ["f1", {"name": "top-k", "k": 2}], "size": ["mae"]}
    task = {"name": "multi", "data": Samples, "metrics": chosen, "goal": "kind/f1/macro"}
    run = experiment(task=task).run(tmp_path / "run")
    found = run.metrics["test"]
    assert {"kind/f1/macro", "kind/top-k", "size/mae", "side/accuracy"} <= found.keys()
    assert not {"kind/accuracy", "size/rmse"} & found.keys()
    usual = experiment(task={"name": "multi", "data": Samples}).run(tmp_path / "usual").metrics["test"]
    assert (found["score"], found["size/mae"]) == (usual["score"], usual["size/mae"])
    assert run.task.goal == lw.Goal("kind/f1/macro", "maximize")
    assert experiment(task=task).table()["task"]["metrics"]["kind"][1]["k"] == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"metrics": {"knd": ["f1"]}}, "task.metrics.knd: the data has no head 'knd'; did you mean 'kind'"),
        (
            {"metrics": {"size": ["f1"]}},
            r"task.metrics.size\[0\]: metric 'f1' is one of Classes; the data has targets Val",
        ),
        ({"metrics": {"kind": "f1"}}, r"task.metrics.kind: given 'f1'; it is a list of metrics"),
        ({"metrics": ["f1"]}, r"task.metrics: given \['f1'\]; it is a table of metrics, each under its own name"),
        ({"metrics": {"kind": []}}, "task.metrics.kind: given an empty list; name a metric"),
        ({"goal": "kind/f2"}, "task.goal: given 'kind/f2'; it is 'score', or HEAD/METRIC"),
        (
            {"metrics": {"kind": ["f1"]}, "goal": "kind/f1"},
            "its goal, 'kind/f1', is none of them; did you mean 'kind/f1/",
        ),
        ({"goal": "kind/accuracies:maximize"}, "task.goal: there is no metric 'kind/accuracies'; did you mean"),
    ],
)
def test_heads_metrics_that_do_not_go_together_are_refused(changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match=words):
        experiment(task={"name": "multi", "data": Samples, **changed}).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_prediction_has_an_answer_of_each_head(tmp_path: Path) -> None:
    run = experiment().run(tmp_path / "run")
    x = torch.randn(3, 4)
    answers = run.task.predict(run.model, (x,), [None] * 3)
    outputs = run.model(x)
    assert len(answers) == 3
    for row, answer in enumerate(answers):
        assert answer["kind/label"] == "abc"[int(outputs["kind"][row].argmax())]
        assert set(answer["side/probabilities"]) == {"left", "right"}
        assert answer["size/values"] == pytest.approx(outputs["size"][row].tolist())


def test_the_report_has_each_heads_sections_of_the_samples_that_count(tmp_path: Path) -> None:
    run = experiment(task=of_gaps()).run(tmp_path / "run")
    sections = run.task.report(run.model, "test", CPU)
    titles = [section.title for section in sections]
    assert titles == [
        *(f"{head}: {title}" for head in ("kind", "side") for title in ("Confusion matrix", "Classes")),
        *(f"size: {title}" for title in ("Predicted against true", "Furthest off")),
    ]
    by_title = {section.title: section for section in sections}
    table = by_title["kind: Classes"]
    assert isinstance(table, lw.Table)
    said = {title for title, section in by_title.items() if section.note.endswith("left out and not counted.")}
    assert said == {title for title in titles if not title.startswith("side")}
    has_kind = Samples(gaps=True)
    has_kind.prepare()
    assert sum(row[1] for row in table.rows) == int((has_kind.split("test").labels["kind"] != LEFT_OUT).sum())  # type: ignore[misc]


def test_a_head_no_better_than_its_most_frequent_class_is_remarked_upon() -> None:
    built = experiment().build()
    remark = built.task.remark("test", {"score": 0.1, "kind/accuracy": 0.0, "side/accuracy": 1.0})
    assert remark is not None and remark.startswith(
        "head 'kind': accuracy 0 on test is no better than always answering"
    )


def test_the_rows_that_count_are_known_without_looking_at_them_again() -> None:
    built = experiment(task=of_gaps()).build()
    whole = built.task.draw(first_batch(built), torch.Generator())
    assert isinstance(whole, HeadBatch)
    pieces = [whole.rows(slice(0, 7)), whole.rows(slice(7, 20))]
    for head in PORTS.ports:
        counted = sum(piece.share(head) * len(piece) for piece in pieces)
        assert counted == pytest.approx(whole.share(head) * 20)
        assert pieces[0].shares[head] == whole.share(head)
    assert isinstance(whole.to(CPU), HeadBatch) and whole.to(CPU).counted.keys() == {"kind", "size"}


# -------------------------------------------------------------------------------------------- heads and their own tasks


def test_heads_may_be_called_whatever_a_module_is() -> None:
    ports = Heads({"type": Values(1), "train": Values(2), "keys": Classes(("a", "b"))})
    model = HeadsOnTrunk(Features((4,)), ports, trunk=partial(Trunk), features=5)
    assert {name: tuple(answer.shape) for name, answer in model(torch.randn(3, 4)).items()} == {
        "type": (3, 1),
        "train": (3, 2),
        "keys": (3, 2),
    }
    assert isinstance(Weighted(ports)({"type": torch.ones(())})["type"], Tensor)
    learned = {name for name, _ in Uncertainty(ports).named_parameters()}
    assert learned == {"log_variance_type", "log_variance_train", "log_variance_keys"}


def test_a_head_alone_is_its_own_task_bit_for_bit(tmp_path: Path) -> None:
    """The same model, samples and order: `classification` and a `multi` of one head take the same steps."""

    class OnlyKind(Samples):
        def ports(self) -> tuple[lw.Port, lw.Port]:
            return Features((4,)), Heads({"kind": PORTS.ports["kind"]})

        def split(self, name: str) -> lw.TensorSplit:
            split = super().split(name)
            return lw.TensorSplit(split.inputs, {"kind": split.labels["kind"]})

    class Alone(nn.Module):
        """The model on the trunk, of which `classification` sees the one answer."""

        def __init__(self, inputs: Features, outputs: Classes) -> None:
            super().__init__()
            self.both = HeadsOnTrunk(inputs, Heads({"kind": outputs}), trunk=partial(Trunk))

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.both(x)["kind"]
            return answer

    several = experiment(task={"name": "multi", "data": OnlyKind}, model={"name": "heads", "trunk": Trunk})
    single = experiment(task={"name": "classification", "data": Single}, model=Alone, loss="cross-entropy")
    ours, theirs = several.run(tmp_path / "several"), single.run(tmp_path / "single")
    assert ours.metrics["test"]["kind/cross_entropy"] == theirs.metrics["test"]["cross_entropy"]
    for name, value in ours.model.state_dict().items():
        assert torch.equal(value, theirs.model.state_dict()[f"both.{name}"]), name


def test_heads_are_tasks_of_their_ports() -> None:
    built = experiment().build()
    assert isinstance(built.task, MultiTask)
    assert [type(head.task) for head in built.task.heads.values()] == [Classification, Classification, Regression]


def test_the_floor_of_each_head_is_its_most_frequent_class_or_its_mean() -> None:
    data = Samples(gaps=True)
    task = MultiTask(data)
    task.prepare()
    (floor,) = task.floors("test").values()
    train, test = data.split("train"), data.split("test")
    for head in ("kind", "side"):
        seen, asked = (part.labels[head][part.labels[head] != LEFT_OUT] for part in (train, test))
        assert floor[f"{head}/accuracy"] == pytest.approx(float((asked == seen.bincount().argmax()).double().mean()))
    sizes, mean = test.labels["size"], train.labels["size"].nanmean(0)
    missed = (sizes - mean)[~sizes.isnan().any(1)]
    assert floor["size/rmse"] == pytest.approx(float(missed.square().mean().sqrt()), rel=1e-5)
    # the score is made of them as of any model's
    parts = [floor["kind/accuracy"], floor["side/accuracy"], floor["size/r2"]]
    assert floor["score"] == pytest.approx(sum(parts) / 3)
