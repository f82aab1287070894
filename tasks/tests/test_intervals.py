"""Intervals against SciPy and against definitions written out in loops."""

from __future__ import annotations

import math
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labwright_tasks.intervals import (
    bootstrapped,
    delong,
    delong_of_classes,
    of_counts,
    of_mean,
    resampled,
    wilson,
    with_intervals,
)
from labwright_tasks.metrics import AUROC, F1, CalibrationError, TopK, area_under_curve
from labwright_tasks.regression import MeanAbsolute, RootMeanSquare
from scipy import stats
from sklearn.metrics import f1_score
from torch import Tensor

NAMES = ("a", "b", "c")


def scored(positives: int, others: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.cat([torch.randn(positives, generator=generator) + 1, torch.randn(others, generator=generator)])
    return scores.mul(4).round() / 4, torch.arange(positives + others) < positives  # rounded, so that some tie


@pytest.mark.parametrize(("positives", "others"), [(30, 50), (7, 200)])
def test_delongs_interval_is_that_of_all_pairs(positives: int, others: int) -> None:
    scores, positive = scored(positives, others, 0)
    above = [
        [1.0 if a > b else 0.5 if a == b else 0.0 for b in scores[~positive].tolist()]
        for a in scores[positive].tolist()
    ]
    by_positive = [sum(row) / others for row in above]
    by_other = [sum(column) / positives for column in zip(*above, strict=True)]
    area = sum(by_positive) / positives
    assert area == pytest.approx(float(area_under_curve(scores, positive)))
    both = by_positive, by_other
    variances = (sum((share - area) ** 2 for share in some) / (len(some) - 1) / len(some) for some in both)
    reach = stats.norm.ppf(0.975) * math.sqrt(sum(variances))
    assert delong(scores, positive) == (pytest.approx(max(0, area - reach)), pytest.approx(min(1, area + reach)))


def test_delongs_interval_is_about_that_of_samples_drawn_anew_by_scipy() -> None:
    scores, positive = scored(120, 150, 1)

    def area(ours, theirs):
        return stats.mannwhitneyu(ours, theirs).statistic / (len(ours) * len(theirs))

    both = scores[positive].numpy(), scores[~positive].numpy()
    drawn = stats.bootstrap(both, area, vectorized=False, method="percentile", n_resamples=800, rng=0)
    low, high = delong(scores, positive)
    assert (low, high) == (
        pytest.approx(drawn.confidence_interval.low, abs=(high - low) / 8),
        pytest.approx(drawn.confidence_interval.high, abs=(high - low) / 8),
    )


def test_delongs_interval_holds_the_true_area_about_as_often_as_it_says() -> None:
    # normal scores one deviation apart: the area is the normal distribution at 1 / sqrt(2)
    true = stats.norm.cdf(1 / math.sqrt(2))
    held = 0
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(100, generator=generator) + (torch.arange(100) < 50)
        low, high = delong(scores, torch.arange(100) < 50)
        held += low <= true <= high
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400) < held / 400


def test_of_one_kind_there_is_no_area_and_no_interval() -> None:
    assert all(map(math.isnan, delong(torch.randn(4), torch.ones(4, dtype=torch.bool))))
    assert delong(torch.tensor([0.9, 0.8, 0.1]), torch.tensor([True, True, False])) == (1.0, 1.0)


def test_ratios_of_sums_are_drawn_as_scipy_draws_them() -> None:
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1, 30, (80,), generator=generator)
    wrong = torch.binomial(words.double(), torch.full((80,), 0.2, dtype=torch.float64), generator=generator)
    drawn = stats.bootstrap(
        (wrong.numpy(), words.numpy()),
        lambda wrong, words, axis: wrong.sum(axis) / words.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=0,
    ).confidence_interval
    low, high = bootstrapped(wrong, words)
    assert (low, high) == (
        pytest.approx(drawn.low, abs=(high - low) / 12),
        pytest.approx(drawn.high, abs=(high - low) / 12),
    )


def test_draws_of_which_a_figure_is_no_number_are_left_out() -> None:
    # a sum of weights of 0 in one draw of 27
    values = torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 1.0]])
    low, high = resampled(values, lambda sums: sums[:, 0] / sums[:, 1])
    assert (low, high) == (1.0, 3.0)
    assert all(map(math.isnan, resampled(torch.zeros(0, 2), lambda sums: sums[:, 0])))


def test_shares_have_wilsons_interval() -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, the score method."""
    expected = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    assert {case: pytest.approx(interval, abs=5e-5) for case, interval in expected.items()} == {
        case: wilson(*case) for case in expected
    }


def test_bootstrapped_means_lie_where_the_normal_distribution_puts_them() -> None:
    values_N = torch.rand(600, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = bootstrapped(values_N)
    reach = 1.96 * float(values_N.std()) / math.sqrt(600)
    assert low == pytest.approx(float(values_N.mean()) - reach, abs=reach / 8)
    assert high == pytest.approx(float(values_N.mean()) + reach, abs=reach / 8)
    assert bootstrapped(values_N) == (low, high)


@given(st.integers(1, 2000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_shares_have_the_interval_that_scipy_gives(case: tuple[int, int]) -> None:
    assert wilson(*case) == pytest.approx(tuple(stats.binomtest(*case).proportion_ci(method="wilson")), abs=1e-12)


@pytest.mark.parametrize("count", [10, 37, 4000])
def test_means_have_students_interval(count: int) -> None:
    values_N = torch.randn(count, generator=torch.Generator().manual_seed(count), dtype=torch.float64) + 1
    expected = stats.t.interval(0.95, count - 1, values_N.mean(), stats.sem(values_N))
    told = of_mean(values_N)
    assert [*told.values()] == pytest.approx([*expected], abs=1e-4 * (expected[1] - expected[0]))
    shifted = of_mean(values_N - 1e6)  # far from 0 it is as wide
    assert shifted["high"] - shifted["low"] == pytest.approx(told["high"] - told["low"], rel=1e-6)


def test_what_a_mean_can_be_told_of() -> None:
    assert of_mean(torch.rand(9)) == {}, "of so few a spread isn't known"
    assert of_mean(torch.full((50,), 0.3)) == {}, "those that are all the same say nothing of others"
    assert of_mean(torch.zeros(0, dtype=torch.bool)) == of_mean(torch.zeros(0)) == {}
    skewed = torch.tensor([0.0] * 29 + [100.0])
    assert of_mean(skewed)["low"] == 0.0, "no mean of what is never below 0 is"
    assert of_mean(skewed - 1)["low"] < -1, "which isn't known of others"
    assert of_mean(torch.tensor([True] * 50)) == {"low": pytest.approx(wilson(50, 50)[0]), "high": 1.0}


def test_ratios_of_many_samples_have_the_normal_interval_of_a_ratio() -> None:
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1, 30, (20_001,), generator=generator)
    wrong = torch.binomial(words.double(), torch.full((20_001,), 0.2, dtype=torch.float64), generator=generator)
    low, high = bootstrapped(wrong, words)
    drawn = stats.bootstrap(
        (wrong.numpy(), words.numpy()),
        lambda wrong, words, axis: wrong.sum(axis) / words.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=500,
        rng=0,
        batch=100,
    ).confidence_interval
    assert (low, high) == pytest.approx(tuple(drawn), abs=(high - low) / 8)


def answers(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Logits and labels of three classes, one of them rare; about two of three are right."""
    drawn = torch.Generator().manual_seed(seed)
    labels_N = torch.multinomial(torch.tensor([0.5, 0.4, 0.1]), count, replacement=True, generator=drawn)
    logits_NC = torch.randn(count, 3, generator=drawn)
    logits_NC[torch.arange(count), labels_N] += 1.2
    return logits_NC, labels_N


def test_f1_is_drawn_as_scipy_draws_samples() -> None:
    logits_NC, labels_N = answers(300, 0)

    def macro(given: np.ndarray, true: np.ndarray) -> float:
        return float(
            np.mean([2 * np.sum((given == c) & (true == c)) / np.sum((given == c) * 1 + (true == c)) for c in range(3)])
        )

    assert macro(logits_NC.argmax(1).numpy(), labels_N.numpy()) == pytest.approx(
        f1_score(labels_N, logits_NC.argmax(1), average="macro")
    )
    pairs = logits_NC.argmax(1).numpy(), labels_N.numpy()
    kept: dict[str, Any] = {"paired": True, "vectorized": False, "method": "percentile", "n_resamples": 400, "rng": 0}
    drawn = stats.bootstrap(pairs, macro, **kept).confidence_interval
    metric = F1(lw.Classes(NAMES))
    metric.update(logits_NC, labels_N)
    told = metric.interval_95()["macro"]
    reach = (told["high"] - told["low"]) / 7  # what 400 draws leave to chance
    assert (told["low"], told["high"]) == (pytest.approx(drawn.low, abs=reach), pytest.approx(drawn.high, abs=reach))
    assert metric.interval_95() == {"macro": told}, "the same each time"
    assert math.isnan(of_counts(torch.zeros(2, 2), lambda counts: counts[:, 0, 0])[0])


def test_the_mean_of_areas_varies_as_samples_drawn_anew_by_scipy() -> None:
    logits_NC, labels_N = answers(200, 1)
    scores_NC = logits_NC.softmax(1).double()
    rows = np.arange(200)

    def mean(drawn: np.ndarray) -> float:
        scores, labels = scores_NC[drawn], labels_N[drawn]
        return float(np.mean([area_under_curve(scores[:, label], labels == label) for label in range(3)]))

    drawn = stats.bootstrap((rows,), mean, vectorized=False, method="percentile", n_resamples=300, rng=0)
    low, high = delong_of_classes(scores_NC.T, labels_N)
    assert (low + high) / 2 == pytest.approx(mean(rows))
    assert (low, high) == pytest.approx(tuple(drawn.confidence_interval), abs=(high - low) / 6)
    # of two classes both areas are one, and DeLong's but for a sample less on each side
    two = labels_N < 2
    both_CN = torch.stack([1 - scores_NC[two, 1], scores_NC[two, 1]])
    assert delong_of_classes(both_CN, labels_N[two]) == pytest.approx(
        delong(scores_NC[two, 1], labels_N[two] == 1), rel=2e-3
    )
    assert all(map(math.isnan, delong_of_classes(both_CN, torch.zeros(int(two.sum())))))


class Answers(lw.Data):
    """Samples whose logits are their inputs."""

    item, target, source, licence = lw.Features, lw.Classes, "made here", "CC0-1.0"

    def prepare(self) -> None: ...

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((3,)), lw.Classes(NAMES)

    def split(self, name: str) -> lw.TensorSplit | None:
        logits_NC, labels_N = answers(150, 2)
        return lw.TensorSplit((logits_NC,), labels_N)


@pytest.mark.parametrize("size", [150, 7])
def test_metrics_of_a_test_split_have_intervals_whatever_the_batches(size: int) -> None:
    from labwright_tasks.classification import Classification

    data, names = Answers(), ("accuracy", "log_loss", "top", "f1", "auroc", "error")
    outputs = lw.Classes(NAMES)
    made = (lw.Accuracy(), lw.LogLoss(), TopK(outputs, k=2), F1(outputs), AUROC(outputs), CalibrationError())
    task = Classification(data)
    task.prepare()
    task.metrics = lambda: with_intervals(dict(zip(names, made, strict=True)), data)  # type: ignore[method-assign]
    measured: dict[str, dict[str, float]] = {}
    for split in ("valid", "test"):
        for metric in made:
            metric.reset()
        how: dict[str, Any] = {"device": torch.device("cpu"), "size": size, "seed": 0}
        evaluated = lw.evaluate(task, torch.nn.Identity(), split, **how)
        assert evaluated is not None
        measured[split] = evaluated.metrics
    assert not any("_95" in name for name in measured["valid"]), "valid is what the weights are chosen by"
    told = measured["test"]
    logits_NC, labels_N = answers(150, 2)
    right = int((logits_NC.argmax(1) == labels_N).sum())
    assert (told["accuracy_95/low"], told["accuracy_95/high"]) == pytest.approx(wilson(right, 150))
    losses_N = torch.nn.functional.cross_entropy(logits_NC, labels_N, reduction="none").double()
    low, high = stats.t.interval(0.95, 149, losses_N.mean(), stats.sem(losses_N))
    assert (told["log_loss_95/low"], told["log_loss_95/high"]) == pytest.approx((low, high), rel=1e-5)
    assert told["top_95/low"] < told["top"] < told["top_95/high"]
    assert told["f1_95/macro/low"] < told["f1/macro"] < told["f1_95/macro/high"]
    assert told["auroc_95/low"] < told["auroc"] < told["auroc_95/high"]
    assert not any(name.startswith("error_95") for name in told), "of which nothing honest is known"
    data.independent = False
    assert [*task.metrics()] == [*names], "such as rows of one person"


def test_errors_of_numbers_have_the_interval_of_their_samples() -> None:
    predictions_ND, targets_ND = torch.randn(2, 60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    metrics = with_intervals({"rmse": RootMeanSquare(), "mae": MeanAbsolute()}, Answers())
    for metric in metrics.values():
        metric.update(predictions_ND.float(), targets_ND)
    errors_ND = (predictions_ND.float() - targets_ND).double()
    for name, each_N, back in (
        ("rmse", errors_ND.square().mean(1), np.sqrt),
        ("mae", errors_ND.abs().mean(1), np.array),
    ):
        ends = back(stats.t.interval(0.95, 59, each_N.mean(), stats.sem(each_N)))
        assert [*metrics[f"{name}_95"].compute().values()] == pytest.approx([*ends], rel=1e-5)
