"""Losses and the task of quantiles, against scikit-learn and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from labwright import Classes, LabwrightError
from labwright_tabular.data.embedded import Diabetes, Wine
from labwright_tabular.losses import Pinball, Standardized
from labwright_tabular.ports import Quantiles, Scaled
from labwright_tabular.quantiles import QuantileRegression
from labwright_tasks.losses import CrossEntropy, Huber, MeanSquaredError

LEVELS = (0.1, 0.5, 0.9)


def quantile_port(deviation: float = 1.0) -> Quantiles:
    return Quantiles(3, (0.0,) * 3, (deviation,) * 3, LEVELS)


def test_pinball_is_scikit_learns() -> None:
    from sklearn.metrics import mean_pinball_loss

    torch.manual_seed(0)
    predictions, targets = torch.randn(50, 3), torch.randn(50, 1)
    loss = Pinball()
    loss.prepare(quantile_port())
    expected = [mean_pinball_loss(targets, predictions[:, [place]], alpha=level) for place, level in enumerate(LEVELS)]
    assert loss(predictions, targets).item() == pytest.approx(np.mean(expected), rel=1e-5)
    stacked = loss(torch.stack([predictions, 2 * predictions]), torch.stack([targets, targets]))
    torch.testing.assert_close(stacked, torch.stack([loss(predictions, targets), loss(2 * predictions, targets)]))


def test_the_constants_of_least_pinball_loss_are_the_quantiles() -> None:
    targets = torch.from_numpy(np.random.default_rng(0).exponential(size=(4000, 1))).float()
    constants = torch.zeros(3, requires_grad=True)
    loss, optimizer = Pinball(), torch.optim.Adam([constants], lr=0.01)
    loss.prepare(quantile_port())
    for _ in range(800):
        optimizer.zero_grad()
        loss(constants.expand(len(targets), 3), targets).backward()
        optimizer.step()
    # of an exponential distribution the quantile is -log(1 - level)
    np.testing.assert_allclose(constants.detach().numpy(), -np.log(1 - np.array(LEVELS)), atol=0.1)


@pytest.mark.parametrize("inner", [MeanSquaredError(), Huber(delta=0.5)])
def test_standardized_is_the_loss_in_deviations_whatever_the_unit(inner: Any) -> None:
    torch.manual_seed(0)
    predictions, targets = torch.randn(20, 1), torch.randn(20, 1)
    loss = Standardized(inner)
    loss.prepare(Scaled(1, (100.0,), (50.0,)))
    torch.testing.assert_close(loss(50 * predictions + 100, 50 * targets + 100), inner(predictions, targets))


def test_standardized_pinball_compares_several_quantiles_with_one_target() -> None:
    torch.manual_seed(0)
    predictions, targets, plain = torch.randn(20, 3), torch.randn(20, 1), Pinball()
    loss = Standardized(Pinball())
    loss.prepare(quantile_port(4.0))
    plain.prepare(quantile_port())
    torch.testing.assert_close(loss(4 * predictions, 4 * targets), plain(predictions, targets))


def test_a_loss_that_does_not_know_its_targets_says_so() -> None:
    with pytest.raises(LabwrightError, match=r"needs to know how targets spread.* targets are Classes"):
        Standardized(CrossEntropy()).prepare(Classes(("a", "b")))
    with pytest.raises(LabwrightError, match=r"'tabular/pinball' compares quantiles.* outputs are Scaled"):
        Pinball().prepare(Scaled(1))


def test_quantiles_are_measured_in_the_unit_of_the_target() -> None:
    task = QuantileRegression(Diabetes(), levels=[0.1, 0.9])
    metrics = task.metrics()
    predictions = torch.tensor([[10.0, 20.0], [10.0, 20.0], [20.0, 10.0], [0.0, 4.0]])
    targets = torch.tensor([[15.0], [25.0], [12.0], [-10.0]])
    for metric in metrics.values():
        metric.update(predictions, targets)
    values = {name: metric.compute() for name, metric in metrics.items()}
    assert values["coverage"] == 0.5
    assert values["crossed"] == 0.25
    # 0.1 * above, 0.9 * below for the lower one, the other way round for the upper one
    each = [0.5, 0.5, 1.5, 4.5, 7.2, 1.8, 9.0, 1.4]
    assert values["pinball"] == pytest.approx(sum(each) / 8)


def test_quantiles_are_told_in_their_order() -> None:
    task = QuantileRegression(Diabetes(), levels=[0.1, 0.9])
    (answer,) = task.predict(lambda _: torch.tensor([[3.0, 1.0]]), (torch.zeros(1),), [None])  # type: ignore[arg-type]
    assert answer == {"values": [1.0, 3.0], "quantiles": {"0.1": 1.0, "0.9": 3.0}}


def test_quantiles_that_do_not_ascend_and_targets_that_are_classes_are_refused() -> None:
    with pytest.raises(LabwrightError, match=r"task.levels: given \[0.5, 0.1\]; quantiles ascend"):
        QuantileRegression(Diabetes(), levels=[0.5, 0.1])
    with pytest.raises(LabwrightError, match=r"quantiles are of one number of a table; Wine has targets Classes"):
        QuantileRegression(Wine())
