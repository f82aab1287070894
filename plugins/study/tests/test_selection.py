"""The luck of a search's winner."""

from __future__ import annotations

import math

import numpy as np
import pytest
from labwright_study.selection import expected_highest, selection_bias


@pytest.mark.parametrize(("count", "highest"), [(1, 0.0), (2, 0.56419), (5, 1.16296), (50, 2.24907), (1000, 3.24144)])
def test_the_expected_highest_of_normal_numbers_is_that_of_the_tables(count, highest):
    """Harter 1961, "Expected values of normal order statistics", table 1."""
    assert expected_highest(count) == pytest.approx(highest, abs=1e-5)


def test_the_luck_of_a_winner_is_what_fresh_seeds_take_away():
    searched = {"a": 0.90, "b": 0.95, "c": 0.94, "d": 0.80}
    fresh = {"c": [0.93, 0.95, 0.94] * 2, "b": [0.92, 0.91, 0.93] * 2}
    found = selection_bias(searched, fresh, "maximize")
    assert (found.winner, found.runner_up, found.first, found.count) == ("b", "c", "c", 4)
    assert [one.name for one in found.trials] == ["b", "c"]
    assert found.trials[0].luck == pytest.approx(0.03)
    low, high = found.trials[0].luck_interval or (0, 0)
    assert low == pytest.approx(0.95 - found.trials[0].interval[1])  # type: ignore[index]
    assert low < 0.03 < high
    assert (found.lead, found.fresh_lead) == (pytest.approx(0.01), pytest.approx(-0.02))
    assert found.lead_luck == pytest.approx(0.03)
    noise = math.sqrt(2 * 2 * 2 * 1e-4 / 10)  # two times two deviations of 0.01 in each of two groups of six
    assert found.noise == pytest.approx(noise)
    assert found.if_equal == pytest.approx(noise * expected_highest(4))
    said = " ".join(found.sentences())
    assert "b had 0.95 in the search and has 0.92 on average over 6 fresh seeds (95% interval 0.9" in said
    assert "it looked 0.03 better than it is" in said
    assert "was 0.01 and is -0.02, all of which was luck." in said
    assert "Over fresh seeds c is best on average." in said
    assert found.json()["pairs"][0]["verdict"] == "better"


def test_of_too_few_seeds_there_is_a_range_and_no_word_of_luck():
    searched, fresh = {"a": 0.94, "b": 0.95}, {"b": [0.92, 0.91, 0.93], "a": [0.93, 0.95, 0.94]}
    found = selection_bias(searched, fresh, "maximize")
    assert (found.trials[0].interval, found.trials[0].luck_interval) == (None, None)
    assert found.trials[0].range == (0.91, 0.93)
    assert found.sentences()[:3] == [
        "b had 0.95 in the search and has 0.92 on average over 3 fresh seeds (range of 3 seeds 0.91 to 0.93): whether "
        "it was lucky takes 6 seeds.",
        "Its lead over a was 0.01 and is -0.02.",
        "No verdict on b and a from 3 seeds, it needs 6: difference -0.02 (range of 3 seeds -0.04 to -0.01), ahead on "
        "0 of 3, p 0.25.",
    ]


def test_luck_that_the_seeds_do_not_show_is_not_claimed():
    found = selection_bias(
        {"a": 0.90, "b": 0.905}, {"b": [0.9, 0.91, 0.92] * 2, "a": [0.92, 0.91, 0.9] * 2}, "maximize"
    )
    said = " ".join(found.sentences())
    assert "whether it was lucky can't be told" in said
    assert "how much of it was luck can't be told" in said


def test_luck_has_the_same_sign_where_lower_is_better():
    up = selection_bias({"a": 0.9, "b": 0.8}, {"a": [0.7, 0.8, 0.75] * 2, "b": [0.8, 0.7, 0.7] * 2}, "maximize")
    lower = {"a": [-0.7, -0.8, -0.75] * 2, "b": [-0.8, -0.7, -0.7] * 2}
    down = selection_bias({"a": -0.9, "b": -0.8}, lower, "minimize")
    for key in ("luck", "luck_interval"):
        assert [vars(one)[key] for one in down.trials] == [pytest.approx(vars(one)[key]) for one in up.trials]
    for key in ("lead", "fresh_lead", "fresh_lead_interval", "lead_luck", "lead_luck_interval", "if_equal"):
        assert vars(down)[key] == pytest.approx(vars(up)[key]), key
    assert (down.winner, down.first) == (up.winner, up.first)


def test_a_winner_whose_fresh_runs_fail_has_no_luck_to_speak_of():
    found = selection_bias({"a": 1.0, "b": 2.0}, {"b": [None, math.nan], "a": [1.0, 1.1]}, "maximize")
    assert (found.winner, found.first, found.trials[0].failed, found.lead_luck) == ("b", "a", 2, None)
    assert found.sentences() == ["b gave no value for any fresh seed, so nothing can be said of its luck."]


def test_one_trial_alone_has_no_runner_up():
    found = selection_bias({"a": 1.0}, {"a": [1.2, 1.0, 1.1]}, "minimize")
    assert (found.runner_up, found.lead, found.pairs) == (None, None, [])
    assert found.trials[0].luck == pytest.approx(0.1)


@pytest.mark.slow
def test_in_a_search_without_differences_the_winners_luck_is_the_expected_highest():
    random = np.random.default_rng(0)
    lucks = []
    for _ in range(400):
        searched = {str(number): float(value) for number, value in enumerate(random.normal(0, 1, 20))}
        best = max(searched, key=lambda name: searched[name])
        found = selection_bias(searched, {best: list(random.normal(0, 1, 5))}, "maximize", resamples=2)
        lucks.append(found.trials[0].luck)
    assert np.mean(lucks) == pytest.approx(expected_highest(20), abs=4 * math.sqrt((0.28 + 0.2) / 400))
