"""Classification: its loss and metrics are the textbook's, its faults are found when it is prepared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import Batch, LabwrightError
from labwright_tasks.classification import Classification
from torch import Tensor, nn
from torch.nn import functional

CPU = torch.device("cpu")


class Telling(nn.Module):
    """Answers with logits that were fixed beforehand, by the row's place in the data."""

    def __init__(self, inputs: Tensor, logits: Tensor) -> None:
        super().__init__()
        self.known = {row.numpy().tobytes(): logit for row, logit in zip(inputs, logits, strict=True)}

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.known[row.numpy().tobytes()] for row in x])


def telling(task: Classification, given: list[int], certainty: float = 2.0) -> Telling:
    inputs = task.data.split("test").inputs  # type: ignore[union-attr]
    return Telling(inputs, certainty * functional.one_hot(torch.tensor(given), len(task.names)).float())


def prepared(data: Any) -> Classification:
    task = Classification(data)
    task.prepare()
    return task


def test_the_loss_is_the_criterion_of_logits_and_labels(classes: Callable[..., Any]) -> None:
    task = prepared(classes([0, 1, 2, 1]))
    (batch,) = task.batches("train", size=4, seed=0, epoch=0) or ()
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    loss = task.loss(model, batch, functional.cross_entropy, "train")
    assert torch.equal(loss, functional.cross_entropy(model(batch.inputs[0]), batch.targets))


def test_accuracy_and_cross_entropy_are_means_over_samples_whatever_the_batches(classes: Callable[..., Any]) -> None:
    labels, given = [0, 1, 2, 1, 0], [0, 1, 1, 1, 2]
    task = prepared(classes(labels))
    model = telling(task, given)
    metrics = task.metrics()
    for batch in task.batches("test", size=2, seed=0, epoch=0) or ():
        for metric in metrics.values():
            metric.update(*task.evaluate(model, batch))
    logits = 2.0 * functional.one_hot(torch.tensor(given), 3).double()
    nats = functional.cross_entropy(logits, torch.tensor(labels))  # PyTorch's own, all at once
    assert metrics["accuracy"].compute() == pytest.approx(3 / 5)
    assert metrics["cross_entropy"].compute() == pytest.approx(nats.item(), rel=1e-6)
    assert task.goal.metric in metrics


def test_a_prediction_names_the_class_and_the_five_most_probable(classes: Callable[..., Any]) -> None:
    task = prepared(classes([0, 6], names="abcdefg"))
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    (answer,) = task.predict(nn.Identity(), (logits,), [None])
    assert answer["label"] == "g"
    assert list(answer["probabilities"]) == ["g", "f", "e", "d", "c"]
    assert answer["probability"] == answer["probabilities"]["g"] == pytest.approx(logits.softmax(1)[0, 6].item())


def test_two_classes_give_two_probabilities_that_sum_to_one(classes: Callable[..., Any]) -> None:
    task = prepared(classes([0, 1], names="ab"))
    (answer,) = task.predict(nn.Identity(), (torch.tensor([[0.3, -0.4]]),), [None])
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 1, 1], "all 3 training samples are of class 'b'"),
        ([0, 3, 1], "a training label is 3, but its 3 classes have labels 0 to 2"),
        ([0, -1, 1], "a training label is -1"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(classes: Callable[..., Any], labels: list[int], words: str) -> None:
    with pytest.raises(LabwrightError, match=words):
        prepared(classes(labels))


def test_data_with_other_targets_is_refused_before_anything_is_read(values: Any) -> None:
    with pytest.raises(LabwrightError, match=r"Made has targets Values.*'regression'"):
        Classification(values)


def test_the_report_counts_what_was_given_for_what_was_true(classes: Callable[..., Any]) -> None:
    task = prepared(classes([0, 0, 0, 1, 1, 2]))
    model = telling(task, [0, 0, 1, 1, 1, 0]).train()
    matrix, table, mistakes = task.report(model, "test", CPU)
    assert isinstance(matrix, lw.Figure) and isinstance(table, lw.Table) and isinstance(mistakes, lw.Pictures)
    assert matrix.figure.axes[0].get_xlabel() == "given"
    shown = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in matrix.figure.axes[0].texts}
    assert shown == {(0, 0): "2", (0, 1): "1", (1, 1): "2", (2, 0): "1"}
    assert table.columns == ("class", "samples", "precision", "recall", "F1")
    assert table.rows == [  # by hand: a has 2 of 3 found and 2 of 3 right, b 2 of 2 and 2 of 3, c none
        ("a", 3, "0.6667", "0.6667", "0.6667"),
        ("b", 2, "0.6667", "1.0000", "0.8000"),
        ("c", 1, "-", "0.0000", "0.0000"),
    ]
    assert sorted(caption.split()[0] for caption in mistakes.captions) == ["a", "b"]
    assert all(picture.aminmax() == (0, 1) for picture in mistakes.images)
    assert model.training  # as it was


def test_the_worst_mistakes_come_first_and_at_most_24_of_them(classes: Callable[..., Any]) -> None:
    task = prepared(classes([0, 1] * 30, names="ab"))
    inputs = task.data.split("test").inputs  # type: ignore[union-attr]
    sure = torch.linspace(0.1, 5.0, 60)
    wrong = torch.tensor([1, 0] * 30)
    model = Telling(inputs, functional.one_hot(wrong, 2) * sure[:, None])
    *_, mistakes = task.report(model, "test", CPU)
    assert isinstance(mistakes, lw.Pictures)
    certainties = [int(caption.split()[1].rstrip("%")) for caption in mistakes.captions]
    assert len(mistakes.images) == 24 and certainties == sorted(certainties, reverse=True) and certainties[0] == 99


def test_a_split_that_is_not_there_has_no_report(classes: Callable[..., Any]) -> None:
    assert list(prepared(classes([0, 1, 2])).report(nn.Identity(), "valid", CPU)) == []


def test_a_batch_of_another_kind_of_input_is_classified_alike(classes: Callable[..., Any]) -> None:
    task = prepared(classes([0, 1, 2]))
    batch = Batch((torch.tensor([[1, 2], [0, 0]]), torch.tensor([2, 1])), torch.tensor([0, 2]))

    class Counting(nn.Module):
        def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
            return functional.one_hot(lengths, 3).float() + ids.sum()

    logits, labels = task.evaluate(Counting(), batch)
    assert logits.shape == (2, 3) and labels.tolist() == [0, 2]


def test_a_model_that_returns_another_shape_is_told_before_the_first_step(tmp_path: Path) -> None:
    class Halves(nn.Module):
        """Two logits, whatever is asked for."""

        def __init__(self, inputs: lw.Image, outputs: lw.Classes) -> None:
            super().__init__()
            self.line = nn.Linear(inputs.channels * inputs.height * inputs.width, 2)

        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            return self.line(x_BCHW.flatten(1))

    experiment = lw.Experiment.from_recipe("vision/digits-mlp").varied({"model": Halves, "log": []})
    with pytest.raises(lw.LabwrightError, match=r"the model returned shape \(64, 2\); Classes stands for \(64, 10\)"):
        experiment.run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
