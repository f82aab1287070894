"""Parts that are longer than what there is to learn from, or in other words, and parts that chance tells apart."""

from __future__ import annotations

import random

import numpy as np
import pytest
from labwright_nlp.data.drifted_texts import drifted, share_longer, unseen_among
from labwright_nlp.data.odd_texts import odd_texts
from scipy.stats import mannwhitneyu

WORDS = [f"word{number:03}" for number in range(400)]


def sentences(count: int, seed: int, words: list[str] = WORDS, length: int = 12) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=length + chance.randrange(5))) for _ in range(count)]


def test_parts_drawn_alike_are_not_told_apart() -> None:
    for seed in range(10):
        parts = {"train": sentences(300, seed), "valid": sentences(60, 100 + seed), "test": sentences(60, 200 + seed)}
        assert [*drifted(parts)] == []


def test_a_part_of_other_words_and_one_of_longer_texts_are_named() -> None:
    others = [f"nova{number}" for number in range(100, 150)]
    parts = {
        "train": sentences(300, 0),
        "valid": sentences(60, 1, WORDS[300:350] + others),
        "test": sentences(60, 2, length=20),
    }
    found = [finding.sentence for finding in odd_texts(parts) if "train" in finding.sentence]
    assert len(found) == 2
    assert "words of valid are in no text of train" in found[0] and "nova" in found[0]
    assert found[1].startswith("texts of test are longer than those of train")


def test_few_texts_say_nothing() -> None:
    assert [*drifted({"train": sentences(300, 0), "valid": sentences(29, 1, ["x"])})] == []
    assert [*drifted({"train": sentences(10, 0), "valid": sentences(60, 1, ["x"])})] == []


@pytest.mark.parametrize("seed", range(5))
def test_the_share_of_longer_ones_is_the_statistic_of_mann_and_whitney(seed: int) -> None:
    draws = np.random.default_rng(seed)
    own, others = draws.integers(0, 20, 40), draws.integers(3, 20, 70)
    statistic = mannwhitneyu(own, others).statistic / (len(own) * len(others))
    assert share_longer(own, others) == pytest.approx(statistic)


def test_what_a_text_has_new_is_counted_against_all_others() -> None:
    assert unseen_among(["a a b", "b c", "c d"]) == pytest.approx(3 / 7)  # both a and d
