"""Metrics that a recipe chooses where a position may not count: those of other libraries over the positions that do."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import LEFT_OUT, LabwrightError
from labwright_tasks.dense_labels import PositionClasses
from labwright_tasks.language_model import NextTokens, TokenBatch
from labwright_tasks.sequence_to_sequence import SequenceToSequence
from sklearn import metrics as sklearn
from torch import Tensor, nn

Experiments = Callable[..., lw.Experiment]
CLASSES = 5
CHARACTERS = 7  # of a sample


class Shuffled(lw.Data):
    """Features that are the logits, of labels a third of which doesn't count, and none of one sample."""

    item, source, licence = lw.Features, "made up", "CC0"
    target: ClassVar[type[lw.Port]] = PositionClasses
    shape: ClassVar[tuple[int, ...]] = (4, 3)

    def prepare(self) -> None:
        random = torch.Generator().manual_seed(0)
        self.logits = torch.randn(12, *self.shape, CLASSES, generator=random)
        self.labels = torch.randint(CLASSES, (12, *self.shape), generator=random)
        self.labels[torch.rand(self.labels.shape, generator=random) < 1 / 3] = LEFT_OUT
        self.labels[5] = LEFT_OUT

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((*self.shape, CLASSES)), PositionClasses(tuple("abcde"), self.shape)

    def split(self, name: str) -> Any:
        return self if name in ("train", "test") else None

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        return lw.Batch((self.logits[indices],), self.labels[indices])


class Running(Shuffled):
    """The same as what follows each of six tokens."""

    target, shape = NextTokens, (6,)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((6, CLASSES)), NextTokens(CLASSES, 6, characters=True)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
        labels = self.labels[indices]
        counts = int((labels != LEFT_OUT).sum())
        return TokenBatch((self.logits[indices],), labels, counts, CHARACTERS * len(indices))


class Uncounted(Running):
    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((6, CLASSES)), NextTokens(CLASSES, 6)


class Same(nn.Module):
    """Each of its answers is what it was given, times something."""

    def __init__(self) -> None:
        super().__init__()
        self.times = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.times * x


DATA: dict[str, type[Shuffled]] = {"dense-labels": Shuffled, "language-model": Running}


def experiment(name: str, data: type[Shuffled] | None = None, **settings: Any) -> lw.Experiment:
    return lw.Experiment(
        task={"name": name, "data": data or DATA[name], **settings},
        model=Same(),
        loss="cross-entropy",
        optimizer="sgd",
        train={"epochs": 1, "batch_size": 4},
        device={"name": "cpu", "threads": 1},
        log=(),
    )


def measured(task: lw.Task, size: int) -> dict[str, float]:
    evaluated = lw.evaluate(task, Same(), "test", device=torch.device("cpu"), size=size, seed=0)
    assert evaluated is not None
    return evaluated.metrics


def counting(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels that count, and the probabilities there."""
    counts = data.labels != LEFT_OUT
    return data.labels[counts].numpy(), data.logits[counts].double().softmax(-1).numpy()


@pytest.mark.parametrize("size", [1, 5, 12])  # with 1, a batch has nothing that counts
@pytest.mark.parametrize("name", DATA)
def test_chosen_metrics_are_scikit_learns_and_torchmetrics_over_what_counts(name: str, size: int) -> None:
    functional = pytest.importorskip("torchmetrics.functional.classification")
    metrics: list[Any] = ["accuracy", "log-loss", "f1", "auroc", "calibration-error", {"name": "top-k", "k": 2}]
    library = [{"name": f"torchmetrics/{one}", "options": {"average": "macro"}} for one in ("AUROC", "Recall")]
    task = experiment(name, metrics=[*metrics, *library, "perplexity"], goal="f1/macro").prepared()
    values = measured(task, size)
    labels, shares = counting(task.data)
    given = shares.argmax(1)
    expected = {
        "accuracy": sklearn.accuracy_score(labels, given),
        "log-loss": sklearn.log_loss(labels, shares),
        "f1/macro": sklearn.f1_score(labels, given, average="macro"),
        "auroc": sklearn.roc_auc_score(labels, shares, multi_class="ovr"),
        "top-k": sklearn.top_k_accuracy_score(labels, shares, k=2),
        "Recall": sklearn.recall_score(labels, given, average="macro"),
        "AUROC": sklearn.roc_auc_score(labels, shares, multi_class="ovr"),
        "perplexity": math.exp(sklearn.log_loss(labels, shares)),
    }
    # the other library leaves out the same positions by itself
    whole, everywhere = task.data.labels.flatten(), task.data.logits.flatten(0, -2)  # type: ignore[attr-defined]
    theirs = functional.multiclass_f1_score(everywhere, whole, CLASSES, average="macro", ignore_index=LEFT_OUT)
    assert values["f1/macro"] == pytest.approx(float(theirs), abs=1e-6)
    error = functional.multiclass_calibration_error(torch.tensor(shares), torch.tensor(labels), CLASSES, n_bins=15)
    expected["calibration-error"] = float(error)
    assert {key: values[key] for key in expected} == pytest.approx(expected, abs=1e-6)


def test_measures_of_the_tasks_own_are_chosen_by_their_names() -> None:
    task = experiment("dense-labels", metrics=["mean-iou", "iou"], goal="iou/c").prepared()
    values, usual = measured(task, 5), measured(experiment("dense-labels").prepared(), 5)
    labels, shares = counting(task.data)
    given = shares.argmax(1)
    assert task.goal == lw.Goal("iou/c", "maximize")
    ends = [values.pop(f"mean-iou_95/{end}") for end in ("low", "high")]
    assert ends == [usual.pop(f"mean_iou_95/{end}") for end in ("low", "high")] and ends[0] < ends[1]
    each = dict(zip("abcde", sklearn.jaccard_score(labels, given, average=None), strict=True))
    assert values == pytest.approx(
        {"mean-iou": sum(each.values()) / 5} | {f"iou/{key}": iou for key, iou in each.items()}, abs=1e-6
    )
    assert usual["mean_iou"] == values["mean-iou"]
    assert set(usual) == {"mean_iou", "accuracy", "cross_entropy", *(f"iou/{name}" for name in "abcde")}
    text = experiment("language-model", metrics=["bits-per-char"], goal="bits-per-char").prepared()
    bits = measured(text, 5)["bits-per-char"]
    labels, shares = counting(text.data)
    nats = sklearn.log_loss(labels, shares, normalize=False)
    assert bits == pytest.approx(nats / math.log(2) / (12 * CHARACTERS), rel=1e-6)
    assert measured(experiment("language-model").prepared(), 5)["bits_per_char"] == bits


def test_a_usual_metric_may_be_the_goal_and_has_its_direction() -> None:
    goals = {
        "dense-labels": ["iou/a", "cross_entropy", "accuracy", "entity_f1"],
        "language-model": ["perplexity", "bits_per_char"],
    }
    found = {goal: experiment(name, goal=goal).task.build().goal for name in goals for goal in goals[name]}
    assert {name: goal.direction for name, goal in found.items()} == {
        "iou/a": "maximize",
        "cross_entropy": "minimize",
        "accuracy": "maximize",
        "entity_f1": "maximize",
        "perplexity": "minimize",
        "bits_per_char": "minimize",
    }


def test_a_metric_of_ones_own_asks_for_what_it_takes_by_name() -> None:
    class Positions:
        """How many positions count, and how many characters there are."""

        higher_is_better = True

        def __init__(self) -> None:
            self.reset()

        def update(self, characters: int, tokens: int) -> None:
            self.characters, self.tokens = self.characters + characters, self.tokens + tokens

        def compute(self) -> dict[str, int]:
            return {"characters": self.characters, "tokens": self.tokens}

        def reset(self) -> None:
            self.characters = self.tokens = 0

    task = experiment("language-model", metrics=[Positions(), lw.Accuracy()], goal="accuracy").prepared()
    values = measured(task, 5)
    labels, _ = counting(task.data)
    assert (values["positions/characters"], values["positions/tokens"]) == (12 * CHARACTERS, len(labels))


def test_logits_are_picked_out_only_where_a_metric_takes_them() -> None:
    (batch,) = experiment("language-model").prepared().batches("test", size=12, seed=0, epoch=0) or ()
    for metrics, takes in ((None, False), (["perplexity"], False), (["perplexity", "accuracy"], True)):
        task = experiment("language-model", metrics=metrics, goal=metrics and "perplexity").prepared()
        assert ("logits" in task.evaluate(Same(), batch)) == takes


def test_the_goal_of_a_run_is_the_one_chosen(tmp_path: Path) -> None:
    run = experiment("dense-labels", metrics=["f1", "mean-iou"], goal="f1/macro").run(tmp_path / "run")
    assert run.task.goal == lw.Goal("f1/macro", "maximize")
    assert {"f1/macro", "mean-iou"} <= set(run.metrics["test"])


# ---------------------------------------------------------------------------------------------- sequence to sequence


def test_metrics_of_target_tokens_are_scikit_learns_and_texts_are_written_only_where_asked_for(
    made: Experiments, tmp_path: Path
) -> None:
    metrics = '["accuracy", "log-loss", {name = "top-k", k = 3}]'
    spec = made("digits", "train.epochs=2", f"task.metrics={metrics}", "task.goal=top-k")
    run = spec.run(tmp_path / "run")
    task, model = run.task, run.model.eval()
    assert isinstance(task, SequenceToSequence)
    batch = task.data.split("test").fetch(torch.arange(20), 0, 0)  # type: ignore[union-attr]
    with torch.no_grad():
        logits_BTV, _ = task._forced(model, batch)
        assert "texts" not in task.evaluate(model, batch)
    counts = batch.targets != LEFT_OUT
    labels, shares = batch.targets[counts].numpy(), logits_BTV[counts].double().softmax(-1).numpy()
    classes = np.arange(13)
    expected = {
        "accuracy": sklearn.accuracy_score(labels, shares.argmax(1)),
        "log-loss": sklearn.log_loss(labels, shares, labels=classes),
        "top-k": sklearn.top_k_accuracy_score(labels, shares, k=3, labels=classes),
    }
    assert run.metrics["test"] == pytest.approx(expected, abs=1e-6)
    chosen = made("digits", 'task.metrics=["exact-match", "perplexity"]', "task.goal=exact-match").prepared()
    sums = {"nats_sum", "right", "tokens", "nats_of_each", "tokens_of_each"}
    assert set(chosen.evaluate(model, batch)) == {*sums, "texts", "references"}
    usual = made("digits").prepared()
    values = {}
    for each in (chosen, usual):
        evaluated = lw.evaluate(each, model, "test", device=torch.device("cpu"), size=20, seed=0)
        assert evaluated is not None
        values |= evaluated.metrics
    assert values["exact-match"] == values["exact_match"]


# ---------------------------------------------------------------------------------------------------------- messages

SLIPS: list[tuple[str, dict[str, Any], str]] = [
    ("dense-labels", {"metrics": ["rmse"]}, r"update\(logits, labels\), it takes \(predictions, targets\)\. A metric"),
    (
        "dense-labels",
        {"metrics": ["exact-match"]},
        r"may also ask for confusion, entities, given_map, nats_sum, right, strict_entities, tokens, true_map",
    ),
    ("dense-labels", {"metrics": ["mean-iuo"]}, r"no metric is called 'mean-iuo'; did you mean 'mean-iou'\?"),
    ("dense-labels", {"metrics": ["f1"]}, "the goal is 'mean_iou', which none of the metrics gives.*goal = \"f1\""),
    ("language-model", {"metrics": ["iou"]}, r"it takes \(confusion\)"),
    (
        "language-model",
        {"goal": "perplexty"},
        "'perplexty', which none of the metrics gives; did you mean 'perplexity'",
    ),
]


@pytest.mark.parametrize(("name", "settings", "words"), SLIPS)
def test_a_metric_that_does_not_fit_is_refused_before_data_is_read(
    name: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(LabwrightError, match=words):
        experiment(name, **settings)


def test_a_metric_that_the_data_has_nothing_for_is_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    tags = experiment("dense-labels", metrics=["entity-f1"], goal="entity-f1")
    with pytest.raises(LabwrightError, match=r"metrics\[0\]: metric 'entity-f1' can't be built: entities are told by"):
        tags.run(tmp_path / "run")
    text = experiment("language-model", Uncounted, metrics=["bits-per-char"], goal="bits-per-char")
    with pytest.raises(LabwrightError, match=r"task\.metrics: 'bits-per-char' needs data that counts .* Uncounted do"):
        text.run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_texts_that_are_not_written_cannot_be_measured(made: Experiments) -> None:
    with pytest.raises(LabwrightError, match=r"it takes \(texts, references\)"):
        made("digits", "task.write=false", 'task.metrics=["exact-match"]', "task.goal=exact-match")
