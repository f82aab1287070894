"""Paired statistics: against scipy, by their properties, and by simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from labwright_study.paired_tests import (
    EXACT_UP_TO,
    FLIPS,
    Pair,
    effect_size,
    expanded_tail,
    holm,
    mean_interval,
    paired,
    seeds_needed,
    sign_flip,
)
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]

differences = st.lists(st.integers(-50, 50).map(lambda number: number / 8), min_size=2, max_size=12)
runs = st.lists(st.tuples(*[st.integers(0, 40).map(lambda number: number / 8)] * 3), min_size=3, max_size=9)


def columns(rows: list[tuple[float, ...]]) -> dict[str, list[float]]:
    return dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True))


def one(first: list[float], second: list[float], **how: object) -> Pair:
    (pair,) = paired({"first": first, "second": second}, "maximize", resamples=2000, **how)  # type: ignore[arg-type]
    return pair


# ------------------------------------------------------------------------------------------------- against scipy


@pytest.mark.parametrize("n", [2, 5, 8, 12])
@pytest.mark.parametrize("coarse", [False, True])
def test_the_exact_test_is_that_of_scipy(n, coarse):
    random = np.random.default_rng(n)
    d_N = random.normal(0.4, 1.0, n)
    d_N = np.round(d_N, 1) if coarse else d_N  # ties, and zeros
    theirs = stats.permutation_test(
        (d_N, np.zeros(n)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    p, exact = sign_flip(d_N)
    assert exact
    assert p == pytest.approx(theirs.pvalue, abs=1e-12)


def test_signs_that_are_drawn_give_nearly_the_p_of_all_signs():
    d_N = np.random.default_rng(3).normal(0.3, 1.0, EXACT_UP_TO + 2)
    theirs = stats.permutation_test(
        (d_N, np.zeros(len(d_N))),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=50_000,
        rng=np.random.default_rng(0),
    )
    p, exact = sign_flip(d_N)
    assert not exact
    assert p == pytest.approx(theirs.pvalue, abs=5 * math.sqrt(p / 50_000))
    assert sign_flip(d_N + 100)[0] == 1 / (FLIPS + 1)  # never 0


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_interval_is_scipys_percentile_bootstrap_at_the_expanded_level(n):
    x_N = np.random.default_rng(n).normal(1.0, 2.0, n)
    theirs = stats.bootstrap(
        (x_N,),
        np.mean,
        method="percentile",
        confidence_level=1 - 2 * expanded_tail(n, 0.95),
        n_resamples=200_000,
        batch=10_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    ours = mean_interval(x_N)
    width = theirs.high - theirs.low
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02 * width)


@pytest.mark.parametrize("n", [8, 20])
def test_the_interval_holds_that_of_scipys_bca_for_symmetric_values(n):
    x_N = stats.norm.ppf((np.arange(n) + 0.5) / n)
    bca = stats.bootstrap((x_N,), np.mean, method="BCa", rng=np.random.default_rng(1)).confidence_interval
    low, high = mean_interval(x_N)
    assert low < bca.low < bca.high < high
    t = stats.t.interval(0.95, n - 1, 0, stats.sem(x_N))
    assert (low, high) == pytest.approx(t, rel=0.07)


@pytest.mark.parametrize(("n", "student"), [(2, 12.706), (5, 2.776), (10, 2.262), (31, 2.042)])
def test_the_expanded_tail_is_that_of_a_table_of_students_t(n, student):
    """t at 0.975 from the tables every textbook prints, and the normal's tail by its closed form."""
    tail = math.erfc(math.sqrt(n / (n - 1)) * student / math.sqrt(2)) / 2
    assert expanded_tail(n, 0.95) == pytest.approx(tail, rel=4e-3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_never_below_the_raw_p(p):
    corrected = holm(p)
    order = sorted(range(len(p)), key=lambda index: p[index])
    assert all(raw <= after <= 1 for raw, after in zip(p, corrected, strict=True))
    assert [corrected[index] for index in order] == sorted(corrected)
    assert corrected[order[0]] == min(1.0, len(p) * p[order[0]])


def test_holm_gives_the_values_worked_out_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.03, 0.01]) == pytest.approx([0.03, 0.02])


def test_the_effect_size_is_cohens_dz_with_hedges_factor():
    d_N = [0.2, 0.5, -0.1, 0.4, 0.3]
    factor = math.gamma(2) / (math.sqrt(2) * math.gamma(1.5))  # J(4) = 0.7979 (Hedges 1981, table 2)
    assert factor == pytest.approx(0.7979, abs=1e-4)
    assert effect_size(d_N) == pytest.approx(np.mean(d_N) / np.std(d_N, ddof=1) * factor)
    assert effect_size([0.3, 0.3, 0.3]) is None
    assert effect_size([0.3, 0.1]) is None


# --------------------------------------------------------------------------------------------------------- properties


@given(runs)
@settings(deadline=None, max_examples=60)
def test_swapping_two_candidates_swaps_the_signs_and_nothing_else(rows):
    columned = columns(rows)
    there, back = one(columned["a"], columned["b"]), one(columned["b"], columned["a"])
    assert there.mean == -back.mean
    for ours, theirs in ((there.interval, back.interval), (there.range, back.range)):
        assert (ours is None) == (theirs is None)
        assert ours is None or ours == pytest.approx(tuple(-end for end in reversed(theirs)), abs=1e-12)
    assert (there.p, there.p_holm, there.verdict) == (back.p, back.p_holm, back.verdict)
    assert (there.first_ahead, there.second_ahead) == (back.second_ahead, back.first_ahead)
    assert (there.better is None) == (back.better is None)
    assert there.better is None or there.better != back.better
    assert there.effect == (None if back.effect is None else pytest.approx(-back.effect))


@given(runs, st.integers(-80, 80))
@example([(0.0, 0.0, 0.0)] * 3, 1)
@settings(deadline=None, max_examples=60)
def test_what_every_run_of_a_seed_has_in_common_changes_nothing(rows, shift):
    columned = columns(rows)
    shifted = [[value + shift / 8 * seed for seed, value in enumerate(columned[name])] for name in "ab"]
    before, after = one(columned["a"], columned["b"]), one(*shifted)
    if "seeds change nothing" not in (before.verdict, after.verdict):
        assert (after.mean, after.interval) == (before.mean, before.interval)  # eighths: nothing is rounded
        assert (after.verdict, after.better) == (before.verdict, before.better)
        # None: all are the same, and nothing is tested
        assert after.p == before.p or {before.p, after.p} == {None, 1.0}


@given(runs, st.permutations("abc"))
@settings(deadline=None, max_examples=60)
def test_the_order_of_the_candidates_changes_no_verdict(rows, order):
    columned = columns(rows)

    def judged(names: list[str]) -> dict[frozenset[str], tuple[object, ...]]:
        pairs = paired({name: columned[name] for name in names}, "minimize", level=0.3, resamples=500)
        return {frozenset((one.first, one.second)): (one.p, one.p_holm, one.verdict, one.better) for one in pairs}

    assert judged(list(order)) == judged(["a", "b", "c"])


@given(runs)
@settings(deadline=None, max_examples=60)
def test_the_direction_only_turns_round_who_is_better(rows):
    columned = columns(rows)
    up = paired(columned, "maximize", level=0.5, resamples=500)
    down = paired(columned, "minimize", level=0.5, resamples=500)
    for one_up, one_down in zip(up, down, strict=True):
        assert (one_up.mean, one_up.p_holm, one_up.verdict) == (one_down.mean, one_down.p_holm, one_down.verdict)
        assert one_up.better == one_down.worse
        assert (one_up.first_ahead, one_up.second_ahead) == (one_down.second_ahead, one_down.first_ahead)


@given(differences)
def test_no_p_is_below_two_in_two_to_the_number_of_seeds(d):
    p, _ = sign_flip(d)
    different = sum(value != 0 for value in d)
    assert 2 / 2**different <= p + 1e-12 if different else p == 1
    assert p <= 1
    assert sign_flip([-value for value in d])[0] == p


@given(st.integers(1, 40), st.floats(0.001, 0.2))
def test_the_number_of_seeds_needed_is_the_smallest_that_can_reach_the_level(comparisons, level):
    needed = seeds_needed(comparisons, level)
    best = [sign_flip([1.0] * n)[0] for n in (needed, needed - 1)] if 1 < needed < 15 else None
    if best:
        assert holm([best[0]] * comparisons)[0] <= level < holm([best[1]] * comparisons)[0]


def test_six_seeds_are_needed_for_one_pair_and_eight_for_six():
    assert [seeds_needed(pairs) for pairs in (1, 3, 6)] == [6, 7, 8]
    assert seeds_needed(1, level=0.01) == 8


# ------------------------------------------------------------------------------------------------------------ verdicts

LOW = [0.90, 0.91, 0.89, 0.92, 0.90, 0.93, 0.91]
HIGH = [0.95, 0.94, 0.95, 0.94, 0.96, 0.95, 0.93]


def test_a_clear_difference_has_a_verdict_in_the_goals_direction():
    assert one(HIGH, LOW).better == "first"
    (pair,) = paired({"first": HIGH, "second": LOW}, "minimize")
    assert (pair.verdict, pair.better) == ("better", "second")
    assert pair.p == pair.p_holm == 2 / 2**7
    assert (pair.first_ahead, pair.second_ahead) == (0, 7)
    said = pair.sentence()
    assert said.startswith("second is better than first: difference -0.03")
    assert said.endswith(", ahead on 7 of 7, p 0.016.")


def test_under_the_number_that_could_reach_the_level_there_is_a_range_and_no_verdict():
    pair = one(HIGH[:5], LOW[:5])
    assert (pair.verdict, pair.better, pair.needed) == ("too few seeds", None, 6)
    assert pair.interval is None
    differences = [high - low for high, low in zip(HIGH[:5], LOW[:5], strict=True)]
    assert pair.range == pytest.approx((min(differences), max(differences)))
    said = "No verdict on first and second from 5 seeds, it needs 6: difference +0.044 (range of 5 seeds +"
    assert pair.sentence().startswith(said)
    assert one(HIGH[:6], LOW[:6]).verdict == "better"
    assert one(HIGH[:6], LOW[:6], level=0.01).verdict == "too few seeds"


def test_noise_is_not_told_apart():
    pair = one([0.1, 0.4, 0.2, 0.5, 0.3, 0.6], [0.2, 0.3, 0.3, 0.4, 0.4, 0.5])
    assert (pair.verdict, pair.p) == ("cannot tell", 1.0)
    assert pair.sentence().startswith("Cannot tell first and second apart: difference ")


def test_equal_values_are_said_to_be_equal():
    pair = one(LOW, LOW)
    assert (pair.verdict, pair.mean, pair.interval, pair.p, pair.effect) == ("same values", 0.0, (0.0, 0.0), 1.0, None)
    assert one([0.1 + 0.2] * 3, [0.3] * 3).verdict == "same values"  # equal but for rounding


def test_candidates_that_seeds_do_not_change_are_not_tested():
    pair = one([0.9] * 8, [0.8] * 8)
    assert (pair.verdict, pair.better, pair.p, pair.p_holm) == ("seeds change nothing", "first", None, None)
    assert "no chance to test" in pair.sentence()


def test_one_difference_for_all_seeds_is_tested_where_the_values_vary():
    pair = one([value + 0.125 for value in LOW], LOW)
    assert (pair.verdict, pair.better, pair.effect) == ("better", "first", None)


def test_a_run_that_failed_leaves_its_seed_out_and_says_so():
    pair = one([*HIGH[:6], math.nan], [None, *LOW[1:]])
    assert (pair.seeds, pair.left_out, pair.verdict) == (5, 2, "too few seeds")
    assert pair.sentence().endswith("2 seeds left out, because a run failed.")
    nothing = one([None] * 6, LOW[:6])
    assert (nothing.seeds, nothing.mean, nothing.interval, nothing.p) == (0, None, None, None)
    assert nothing.verdict == "too few seeds"
    assert one([math.inf], [1.0]).seeds == 0


# --------------------------------------------------------------------------------------------------------- simulation


def false_alarms(candidates: int, seeds: int, noise: Callable[[np.random.Generator, int], Values], times: int) -> float:
    """How often equally good candidates get any verdict but "cannot tell"; what a seed shares is large."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(times):
        shared = random.normal(0, 3, seeds)
        values = {str(name): list(shared + noise(random, seeds)) for name in range(candidates)}
        alarms += any(pair.verdict != "cannot tell" for pair in paired(values, "maximize", resamples=2))
    return alarms / times


NOISES: dict[str, Callable[[np.random.Generator, int], Values]] = {
    "normal": lambda random, n: random.normal(0, 1, n),
    "skewed": lambda random, n: random.exponential(1, n),
    "heavy tails": lambda random, n: random.standard_t(2, n),
    "coarse": lambda random, n: random.integers(0, 4, n) / 4,
}


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_two_equally_good_candidates_rarely_get_a_verdict(noise):
    times = 2000
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / times)
    assert false_alarms(2, 8, NOISES[noise], times) <= limit  # seen: 0.044, 0.042, 0.049, 0.021


@pytest.mark.long
def test_among_four_equally_good_candidates_any_verdict_is_as_rare():
    times = 2000
    limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / times)
    assert false_alarms(4, 8, NOISES["normal"], times) <= limit  # seen: 0.039


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "noise", "lowest", "seen"),
    [
        (5, "normal", 0.89, 0.911),
        (8, "normal", 0.92, 0.940),
        (10, "normal", 0.93, 0.951),
        (20, "normal", 0.93, 0.947),
        (10, "skewed", 0.89, 0.912),
        (20, "skewed", 0.90, 0.922),
    ],
)
def test_the_interval_covers_what_its_docstring_says(n, noise, lowest, seen):
    random = np.random.default_rng(n)
    true = 1.0 if noise == "skewed" else 0.0
    times = 1000
    covered = 0
    for _ in range(times):
        low, high = mean_interval(NOISES[noise](random, n), resamples=2000)
        covered += low <= true <= high
    assert lowest <= covered / times <= 0.97
    assert covered / times == pytest.approx(seen, abs=0.03)


@pytest.mark.parametrize(("n", "seen"), [(5, 0.82), (8, 0.88), (10, 0.90), (20, 0.925)])
@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_other_bootstrap_intervals_would_be_too_narrow(method, n, seen):
    x_SN = np.random.default_rng(n).normal(0, 1, (1000, n))
    low, high = stats.bootstrap(
        (x_SN,), np.mean, axis=1, method=method, n_resamples=999, batch=50, rng=np.random.default_rng(0)
    ).confidence_interval
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(seen, abs=0.03)
