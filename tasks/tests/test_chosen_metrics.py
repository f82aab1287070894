"""Metrics that a recipe chooses: they are scikit-learn's or torchmetrics', and a goal among them decides like any."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labwright import Classes, LabwrightError
from labwright_tasks.classification import Classification
from labwright_tasks.metrics import AUROC, F1, CalibrationError, Confusion, TopK
from sklearn import metrics as sklearn
from torch import Tensor, nn

NAMES = ("a", "b", "c", "d")
RECIPE = {"train": {"epochs": 2, "batch_size": 16, "seed": 0}, "log": [], "device": {"name": "cpu", "threads": 1}}


def answers(samples: int = 300, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits that are right more often than not, and labels."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=draws)
    logits = torch.randn(samples, classes, generator=draws)
    return logits + 1.5 * nn.functional.one_hot(labels, classes), labels


def computed(metric: Any, logits: Tensor, labels: Tensor, batch: int = 64) -> Any:
    metric.reset()
    for rows in torch.arange(len(labels)).split(batch):
        metric.update(logits[rows], labels[rows])
    return metric.compute()


# -------------------------------------------------------------------------------------------- against other libraries


def test_f1_and_its_mean_are_scikit_learns() -> None:
    logits, labels = answers()
    scores = computed(F1(Classes(NAMES)), logits, labels)
    each = sklearn.f1_score(labels, logits.argmax(1), average=None)
    assert list(scores["class"].values()) == pytest.approx(each.tolist(), abs=1e-6)
    assert scores["macro"] == pytest.approx(sklearn.f1_score(labels, logits.argmax(1), average="macro"), abs=1e-6)


def test_a_class_that_neither_occurs_nor_is_given_has_no_f1() -> None:
    logits, labels = answers(classes=4)
    labels, logits = labels % 3, logits - 100 * torch.eye(4)[3]
    scores = computed(F1(Classes(NAMES)), logits, labels)
    assert list(scores["class"]) == ["a", "b", "c"]
    assert scores["macro"] == pytest.approx(sklearn.f1_score(labels, logits.argmax(1), average="macro"), abs=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_is_scikit_learns(k: int) -> None:
    logits, labels = answers()
    expected = sklearn.top_k_accuracy_score(labels, logits, k=k)
    assert computed(TopK(Classes(NAMES), k=k), logits, labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_auroc_is_scikit_learns_ties_included(classes: int) -> None:
    logits, labels = answers(classes=classes)
    logits = (2 * logits).round() / 2
    shares = logits.double().softmax(1)
    expected = sklearn.roc_auc_score(labels, shares[:, 1] if classes == 2 else shares, multi_class="ovr")
    assert computed(AUROC(Classes(NAMES[:classes])), logits, labels) == pytest.approx(expected, abs=1e-6)


def test_confusion_is_scikit_learns_without_its_zeros() -> None:
    logits, labels = answers(samples=30)
    table = computed(Confusion(Classes(NAMES)), logits, labels)
    matrix = sklearn.confusion_matrix(labels, logits.argmax(1), labels=range(4)).tolist()
    assert [[table[true].get(given, 0) for given in NAMES] for true in NAMES] == matrix
    assert all(count for row in table.values() for count in row.values())


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_calibration_error_is_torchmetrics(bins: int) -> None:
    functional = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = answers()
    expected = functional.multiclass_calibration_error(logits.double().softmax(1), labels, 4, n_bins=bins, norm="l1")
    assert computed(CalibrationError(bins=bins), logits, labels) == pytest.approx(float(expected), abs=1e-6)


def test_a_share_on_the_edge_of_two_bins_is_of_the_lower_as_in_the_paper() -> None:
    metric = CalibrationError(bins=2)  # (0, 1/2] and (1/2, 1]: Guo et al. 2017, section 2
    metric.update(torch.tensor([[0.0, 0.0], [5.0, -5.0]]), torch.tensor([0, 0]))
    sure = torch.tensor([10.0], dtype=torch.float64).sigmoid().item()
    assert metric.compute() == pytest.approx((0.5 + (1 - sure)) / 2, abs=1e-12)


@pytest.mark.parametrize("make", [F1, TopK, AUROC, Confusion, CalibrationError])
def test_a_metric_may_be_computed_before_the_first_sample(make: Any) -> None:
    metric = make() if make is CalibrationError else make(Classes(("a", "b", "c", "d", "e", "f")))
    value = metric.compute()
    assert value == {name: {} for name in "abcdef"} or math.isnan(value["macro"] if make is F1 else value)


# ----------------------------------------------------------------------------------------------------- laws that hold


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 40))
def test_shares_are_of_0_to_1_and_batches_change_nothing(seed: int, classes: int, samples: int) -> None:
    logits, labels = answers(samples, classes, seed)
    outputs = Classes(tuple("abcde"[:classes]))
    for metric in (F1(outputs), TopK(outputs, k=1), AUROC(outputs), CalibrationError()):
        whole, parts = computed(metric, logits, labels, samples), computed(metric, logits, labels, 7)
        whole, parts = (value["macro"] if isinstance(value, dict) else value for value in (whole, parts))
        assert whole == pytest.approx(parts, abs=1e-6, nan_ok=True)
        assert math.isnan(whole) or -1e-9 <= whole <= 1 + 1e-9


@given(st.integers(0, 10_000))
def test_auroc_of_two_classes_knows_no_scale_and_turns_around_with_the_labels(seed: int) -> None:
    logits, labels = answers(60, 2, seed)
    metric = AUROC(Classes(("a", "b")))
    area = computed(metric, logits, labels)
    assert computed(metric, 3 * logits, labels) == pytest.approx(area, abs=1e-6)
    assert computed(metric, logits, 1 - labels) == pytest.approx(1 - area, abs=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_more_answers_are_right_the_more_count(seed: int, k: int) -> None:
    logits, labels = answers(40, 5, seed)
    outputs = Classes(tuple("abcde"))
    assert computed(TopK(outputs, k=k), logits, labels) <= computed(TopK(outputs, k=k + 1), logits, labels)
    accuracy = lw.Accuracy()
    assert computed(TopK(outputs, k=1), logits, labels) == computed(accuracy, logits, labels)


# ----------------------------------------------------------------------------------------------------- torchmetrics/*


def test_a_metric_of_torchmetrics_is_told_the_classes_and_gives_a_table() -> None:
    pytest.importorskip("torchmetrics")
    logits, labels = answers()
    made = library("AUROC")(outputs=Classes(NAMES), options={"average": "none"})
    table = computed(made, logits, labels)
    expected = [sklearn.roc_auc_score(labels == label, logits.double().softmax(1)[:, label]) for label in range(4)]
    assert list(table) == list(NAMES)
    assert [float(value) for value in table.values()] == pytest.approx(expected, abs=1e-5)
    assert library("AUROC").higher_is_better and not library("MeanSquaredError").higher_is_better


def test_a_metric_of_torchmetrics_for_two_classes_is_given_the_second() -> None:
    pytest.importorskip("torchmetrics")
    logits, labels = answers(classes=2)
    metric = library("AveragePrecision")(outputs=Classes(("a", "b")), options={"task": "binary"})
    expected = sklearn.average_precision_score(labels, logits.double().softmax(1)[:, 1])
    assert computed(metric, logits, labels) == pytest.approx(expected, abs=1e-5)


def test_a_metric_of_torchmetrics_for_numbers_gives_one_for_each() -> None:
    pytest.importorskip("torchmetrics")
    draws = torch.Generator().manual_seed(0)
    predictions, targets = torch.randn(50, 2, generator=draws), torch.randn(50, 2, generator=draws)
    metric = library("MeanSquaredError")(outputs=lw.Values(2))
    assert {name: float(value) for name, value in computed(metric, predictions, targets).items()} == pytest.approx(
        {
            "0": float((predictions - targets)[:, 0].square().mean()),
            "1": float((predictions - targets)[:, 1].square().mean()),
        }
    )


def library(name: str) -> Any:
    return lw.Plugins.discover().load("metric", f"torchmetrics/{name}")


# --------------------------------------------------------------------------------------------------------- in a recipe


class Blobs(lw.Data):
    """Two clouds, of 30 and of 90 training points."""

    item, target, source, licence = lw.Features, lw.Classes, "made here", "CC0-1.0"

    def prepare(self) -> None:
        draws = torch.Generator().manual_seed(0)
        self.parts = {}
        for name, (few, many) in {"train": (30, 90), "valid": (20, 20), "test": (20, 20)}.items():
            labels = torch.tensor([0] * few + [1] * many)
            self.parts[name] = lw.TensorSplit((torch.randn(few + many, 2, generator=draws) + labels[:, None],), labels)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((2,)), lw.Classes(("cat", "dog"))

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.parts.get(name)


class Numbers(Blobs):
    target = lw.Values

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((2,)), lw.Values(1)


def experiment(*, data: type = Blobs, name: str = "classification", loss: Any = "cross-entropy", **task: Any) -> Any:
    settings = {"task": {"name": name, "data": data, **task}, "loss": loss, "optimizer": "sgd", **RECIPE}
    return lw.Experiment(model=nn.Linear(2, 2), **settings)


def test_metrics_left_out_are_what_they_were(tmp_path: Path) -> None:
    run = experiment().run(tmp_path / "run")
    assert lw.headlines(run.metrics["test"], "accuracy") == ["accuracy", "cross_entropy"]
    assert run.task.goal == lw.Goal("accuracy", "maximize")


def test_a_chosen_goal_decides_which_weights_are_best(tmp_path: Path) -> None:
    metrics = ["accuracy", "f1", {"name": "confusion", "splits": ["test"]}, "log-loss"]
    spec = experiment(metrics=metrics, goal="f1/macro").varied({"train.final": "best", "stop": ["early"]})
    run = spec.run(tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    valid = [one["metrics"] for one in records if one["event"] == "evaluation" and one["split"] == "valid"]
    assert spec.goal == run.task.goal == lw.Goal("f1/macro", "maximize")
    assert run.metrics["valid"]["f1/macro"] == max(metrics["f1/macro"] for metrics in valid) == run.best
    assert list(valid[0]) == ["accuracy", "f1/macro", "f1/class/cat", "f1/class/dog", "log-loss"]
    assert {name for name in run.metrics["test"] if name.startswith("confusion/")} <= {
        f"confusion/{true}/{given}" for true in ("cat", "dog") for given in ("cat", "dog")
    }
    assert sum(value for name, value in run.metrics["test"].items() if name.startswith("confusion/")) == 40


def test_metrics_of_one_name_are_told_apart_by_what_differs() -> None:
    metrics = [{"name": "calibration-error", "bins": bins} for bins in (5, 10)]
    assert list(experiment(metrics=["accuracy", *metrics]).prepared().metrics()) == [
        "accuracy",
        "calibration-error.bins=5",
        "calibration-error.bins=10",
        "accuracy_95",
    ]


def test_metrics_are_new_each_time_and_may_be_objects(classes: Callable[..., Any]) -> None:
    task = Classification(classes([0, 1, 2]), metrics=[lw.Accuracy(), F1(Classes(tuple("abc")))], goal="f1/macro")
    task.prepare()
    first, second = task.metrics(), task.metrics()
    assert list(first) == ["accuracy", "f1", "accuracy_95", "f1_95"] and first["accuracy"] is not second["accuracy"]
    first["accuracy"].update(torch.eye(3), torch.tensor([0, 1, 2]))
    assert math.isnan(second["accuracy"].compute())


def test_numbers_have_metrics_of_their_own(values: Any) -> None:
    from labwright_tasks.regression import MeanAbsolute, Regression

    task = Regression(values, metrics=[MeanAbsolute()], goal="mean-absolute")
    assert task.goal == lw.Goal("mean-absolute", "minimize")


CHOICES: list[tuple[dict[str, Any], str]] = [
    ({"metrics": ["acuracy"]}, r"task.metrics\[0\]: no metric is called 'acuracy'; did you mean 'accuracy'\?"),
    ({"metrics": []}, "task.metrics: given an empty list; name a metric"),
    ({"metrics": "f1"}, r"task.metrics: given 'f1'; it is a list of metrics, such as \["),
    (
        {"metrics": ["accuracy", "rmse"]},
        r"metrics\[1\]: metric 'rmse' doesn't fit: the task calls update\(logits, labels\)",
    ),
    ({"metrics": ["perplexity"]}, r"it takes \(nats_sum, tokens\)"),
    ({"metrics": ["accuracy", "accuracy"]}, r"metrics\[1\]: 'accuracy' is named twice; leave one out"),
    ({"metrics": [{"name": "f1", "averge": 1}]}, r"metrics\[0\].averge: metric 'f1' has no setting 'averge'"),
    ({"metrics": [{"name": "top-k", "k": 0}]}, r"metrics\[0\].k: given 0; it should be greater than"),
    (
        {"metrics": [{"name": "confusion", "splits": ["dev"]}]},
        r"splits\[0\]: given 'dev'; it should be 'train', 'valid'",
    ),
    ({"metrics": ["f1"]}, "goal: the goal is 'accuracy', which none of the metrics gives.*choose one: goal = \"f1\""),
    ({"goal": "acuracy"}, "goal: the goal is 'acuracy', which none of the metrics gives; did you mean 'accuracy'"),
    ({"metrics": ["confusion"], "goal": "confusion/cat/cat"}, "no direction of its own; write .*:maximize"),
    (
        {"metrics": [{"name": "f1", "splits": ["test"]}], "goal": "f1/macro"},
        "'f1/macro' is computed on some splits only",
    ),
    (
        {"data": Numbers, "name": "regression", "metrics": ["f1"]},
        r"metric 'f1' is one of Classes; the data has targets Val",
    ),
    ({"data": Numbers, "name": "regression", "metrics": ["accuracy"]}, r"calls update\(predictions, targets\)"),
    ({"sampling": "even"}, "task.sampling: given 'even'; it should be 'balanced'"),
    ({"sampling": {"cat": -1.0}}, "task.sampling: 'cat' is given -1.0; a share is a number from 0 on"),
]


@pytest.mark.parametrize(("task", "words"), CHOICES)
def test_a_choice_that_does_not_go_together_is_refused_before_data_is_read(task: dict[str, Any], words: str) -> None:
    with pytest.raises(LabwrightError, match=words):
        experiment(**task)


STARTS: list[tuple[dict[str, Any], str]] = [
    (
        {"metrics": [{"name": "top-k", "k": 2}], "goal": "top-k"},
        r"task.metrics\[0\]: metric 'top-k' can't be built: k is 2",
    ),
    ({"metrics": ["f1"], "goal": "f1"}, "its goal, 'f1', is none of them; did you mean 'f1/macro'"),
    ({"metrics": ["f1"], "goal": "f1/makro"}, "'f1/makro', is none of them; did you mean 'f1/macro'"),
    (
        {"loss": {"name": "cross-entropy", "weights": [1, 2, 3]}},
        "loss.weights: given 3 numbers for 2 classes: cat, dog",
    ),
    ({"loss": {"name": "cross-entropy", "weights": {"cow": 2.0}}}, "loss.weights: no class is called 'cow'"),
    ({"loss": {"name": "cross-entropy", "weights": [0, 0]}}, "each is a number from 0 on, and not all are 0"),
    ({"loss": {"name": "cross-entropy", "weights": [1, -1]}}, "each is a number from 0 on"),
]


@pytest.mark.parametrize(("settings", "words"), STARTS)
def test_what_the_data_shows_to_be_wrong_is_said_before_there_is_a_folder(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(LabwrightError, match=words):
        experiment(**settings).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_complaint_of_torchmetrics_is_the_message(tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    metric = {"name": "torchmetrics/AUROC", "options": {"averge": "none"}}
    with pytest.raises(
        LabwrightError, match=r"metrics\[0\].*Unexpected keyword.*did you mean 'average'.*Its options are"
    ):
        experiment(metrics=[metric], goal="AUROC").run(tmp_path / "run")
    with pytest.raises(LabwrightError, match=r"no metric is called 'torchmetrics/AUROOC'; did you mean"):
        experiment(metrics=["torchmetrics/AUROOC"])


# ------------------------------------------------------------------------------------------------- weights and balance


def test_balanced_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    built = experiment(loss={"name": "cross-entropy", "weights": "balanced"}).build()
    labels = built.task.data.split("train").labels.numpy()
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)
    assert built.criterion.weight_C.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_balanced_weights_reach_the_loss_within_a_penalty_and_a_run_read_back(tmp_path: Path) -> None:
    loss = {"name": "penalized", "l2": 0.1, "loss": {"name": "cross-entropy", "weights": "balanced"}}
    spec = experiment(loss=loss)
    assert spec.build().criterion.inner.weight_C.tolist() == pytest.approx([2.0, 2 / 3])
    spec.run(tmp_path / "run")
    loaded = spec.build(tmp_path / "run" / "task")  # without the data, and so without the counts: nothing is trained
    assert loaded.criterion.inner.weight_C is None
    assert loaded.task.ports()[1].counts is None


def test_balanced_sampling_draws_each_class_as_often_and_is_a_function_of_seed_and_epoch() -> None:
    task = experiment(sampling="balanced").prepared()
    labels = task.data.split("train").labels

    def order(seed: int, epoch: int) -> list[list[int]]:
        batches = task.batches("train", size=16, seed=seed, epoch=epoch)
        return [indices.tolist() for indices in batches.parts]  # type: ignore[union-attr]

    assert order(0, 0) == order(0, 0) != order(0, 1) != order(1, 1)
    assert [len(batch) for batch in order(0, 0)] == [16] * 7 + [8]
    drawn = torch.tensor([index for epoch in range(200) for batch in order(0, epoch) for index in batch])
    assert labels[drawn].double().mean().item() == pytest.approx(0.5, abs=0.015)  # 24,000 draws: 4.6 standard errors
    often = drawn.bincount(minlength=120)  # of 400 that are expected of a cat, 133 of a dog
    assert often[:30].double().mean() == pytest.approx(400, rel=0.05) and often.min() > 80
    assert task.batches("valid", size=64, seed=0, epoch=0).parts[0].tolist() == list(range(40))  # type: ignore[union-attr]
    measured = task.batches("train", size=64, seed=0, epoch=0, plain=True)  # each once, or accuracy would be another's
    assert torch.cat(list(measured.parts)).tolist() == list(range(120))  # type: ignore[union-attr]


def test_a_table_of_sampling_says_how_often_a_class_is_drawn() -> None:
    task = experiment(sampling={"cat": 3.0}).prepared()
    labels = task.data.split("train").labels
    batches = [task.batches("train", size=16, seed=0, epoch=epoch) for epoch in range(100)]
    drawn = torch.cat([indices for epoch in batches for indices in epoch.parts])  # type: ignore[union-attr]
    assert labels[drawn].double().mean().item() == pytest.approx(0.25, abs=0.02)  # 12,000 draws: 5 standard errors


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        ({"cot": 2.0}, "task.sampling: no class is called 'cot'; did you mean 'cat'"),
        ({"cat": 0.0, "dog": 0.0}, "every class that has training samples is drawn 0 times"),
    ],
)
def test_sampling_of_classes_that_are_not_there_is_refused_before_the_first_step(
    sampling: dict[str, float], words: str, tmp_path: Path
) -> None:
    with pytest.raises(LabwrightError, match=words):
        experiment(sampling=sampling).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
