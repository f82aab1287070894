"""Regression: metrics are those of scikit-learn, in the target's own unit, whatever the batches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from labwright import LabwrightError
from labwright_tasks.regression import Explained, Regression
from torch import nn
from torch.nn import functional

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [100, 7])
def test_the_metrics_are_scikit_learns(values: Any, size: int) -> None:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    torch.manual_seed(0)
    task, model = Regression(values), nn.Linear(3, 2)
    nn.init.constant_(model.bias, 1000.0)
    metrics = task.metrics()
    for batch in task.batches("test", size=size, seed=0, epoch=0) or ():
        for metric in metrics.values():
            metric.update(*(result.detach() for result in task.evaluate(model, batch)))
    true, predicted = values.parts["test"][1].double().numpy(), model(values.parts["test"][0]).detach().double().numpy()
    assert metrics["rmse"].compute() == pytest.approx(math.sqrt(mean_squared_error(true, predicted)), rel=1e-6)
    assert metrics["mae"].compute() == pytest.approx(mean_absolute_error(true, predicted), rel=1e-6)
    assert metrics["r2"].compute() == pytest.approx(r2_score(true, predicted), rel=1e-6)
    assert task.goal.metric in metrics


def test_the_share_explained_is_exact_for_targets_far_from_zero() -> None:
    metric = Explained()
    true = 1e8 + torch.arange(1000, dtype=torch.float64)[:, None]
    for part in true.split(3):
        metric.update(part + 1.0, part)
    # sum of squares about the mean of 0..n-1 is n (n**2 - 1) / 12; what is missed is 1 for each of the n
    assert metric.compute() == pytest.approx(1 - 12 / (1000**2 - 1), abs=1e-12)


def test_a_target_that_never_changes_counts_one_only_if_predicted_exactly() -> None:
    from sklearn.metrics import r2_score

    true = torch.tensor([[5.0, 5.0, 0.0], [5.0, 5.0, 1.0]])
    predicted = torch.tensor([[5.0, 4.0, 0.0], [5.0, 5.0, 0.5]])
    metric = Explained()
    metric.update(predicted, true)
    assert metric.compute() == pytest.approx(r2_score(true.numpy(), predicted.numpy()))


def test_metrics_are_nan_before_the_first_sample_and_after_a_reset(values: Any) -> None:
    for name, metric in Regression(values).metrics().items():
        if name.endswith("_95"):
            continue
        assert math.isnan(metric.compute())
        metric.update(torch.ones(2, 1), torch.zeros(2, 1))
        assert not math.isnan(metric.compute())
        metric.reset()
        assert math.isnan(metric.compute())


def test_predictions_that_would_be_broadcast_are_refused(values: Any) -> None:
    task = Regression(values)
    (batch,) = task.batches("train", size=100, seed=0, epoch=0) or ()
    with pytest.raises(LabwrightError, match=r"shape \(100, 1\) for targets of shape \(100, 2\)"):
        task.loss(nn.Linear(3, 1), batch, functional.mse_loss, "train")


def test_the_loss_is_the_criterion_of_predictions_and_targets(values: Any) -> None:
    task, model = Regression(values), nn.Linear(3, 2)
    (batch,) = task.batches("train", size=100, seed=0, epoch=0) or ()
    loss = task.loss(model, batch, functional.mse_loss, "train")
    assert torch.equal(loss, functional.mse_loss(model(*batch.inputs), batch.targets))


def test_a_prediction_is_the_numbers_themselves(values: Any) -> None:
    rows = torch.tensor([[1.5, -2.0], [0.0, 3.0]])
    assert Regression(values).predict(nn.Identity(), (rows,), [None, None]) == [
        {"values": [1.5, -2.0]},
        {"values": [0.0, 3.0]},
    ]


def test_the_report_shows_every_output_and_the_sample_furthest_off_first(values: Any) -> None:
    inputs, targets = values.parts["test"]
    model = nn.Linear(3, 2)
    figure, table = Regression(values).report(model, "test", CPU)
    assert len(figure.figure.axes) == 2  # type: ignore[union-attr]
    off = (model(inputs) - targets).square().mean(dim=1)
    assert table.rows[0][0] == int(off.argmax())  # type: ignore[union-attr]


def test_data_with_classes_is_refused_before_anything_is_read(classes: Any) -> None:
    with pytest.raises(LabwrightError, match=r"Made has targets Classes.*'classification'"):
        Regression(classes([0, 1]))
