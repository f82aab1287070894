"""Intervals against SciPy and against definitions written out in loops."""

from __future__ import annotations

import math

import pytest
import torch
from labwright_tasks.intervals import bootstrapped, delong, resampled, wilson
from labwright_tasks.metrics import area_under_curve
from labwright_tasks.regression import ErrorInterval
from scipy import stats


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


def test_the_interval_of_a_root_mean_square_is_the_root_of_that_of_the_squares() -> None:
    drawn = torch.Generator().manual_seed(0)
    predictions_BD, targets_BD = torch.randn(200, 2, generator=drawn), torch.randn(200, 2, generator=drawn)
    interval = ErrorInterval()
    for rows in (slice(70), slice(70, None)):
        interval.update(predictions_BD[rows], targets_BD[rows])
    low, high = bootstrapped((predictions_BD - targets_BD).square().mean(1))
    told = interval.compute()
    assert (told["low"], told["high"]) == (pytest.approx(math.sqrt(low)), pytest.approx(math.sqrt(high)))
