"""What check-data says of texts: faults that were put in are found, those alone, and the pairs a loop finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from labwright import Finding
from labwright_nlp.data.alike_texts import AlikeTexts
from labwright_nlp.data.odd_texts import alphabet_of, nearly_same, odd_texts
from labwright_nlp.data.text_files import TextFiles
from labwright_nlp.data.text_pairs import TextPairs
from labwright_tasks.checking.look import look
from labwright_tasks.checking.samples import Copies

WORDS = [
    f"{first}{second}" for first in ("ka", "lo", "mi", "ru", "te") for second in ("ban", "dor", "fel", "gis", "nup")
]


def sentences(count: int, seed: int = 0, words: int = 12) -> list[str]:
    draws = np.random.default_rng(seed)
    return [" ".join(draws.choice(WORDS, words)) + f" {number}." for number in range(count)]


def found(texts: dict[str, list[str]]) -> dict[str, Finding]:
    return {finding.sentence.split(" ", 1)[1][:20]: finding for finding in odd_texts(texts)}


def test_nothing_is_odd_about_sound_texts() -> None:
    assert odd_texts({"train": sentences(150), "test": sentences(50, seed=1)}) == []
    assert odd_texts({"train": [], "test": []}) == []


def test_texts_that_are_empty_long_or_in_another_alphabet_are_found_and_no_others() -> None:
    train = sentences(200)
    train[7], train[30] = "?!", "..."
    train[11] = " ".join(sentences(40, seed=2))
    train[50], train[51] = "это другой язык, и букв в нём хватает", "一二三四五六七八九十"
    train[90] = "naïve café, Köln, größer als ja"  # letters with marks are of the same alphabet
    empty, long, foreign = odd_texts({"train": train, "test": sentences(40, seed=3)})
    assert empty.samples == (("train", 7), ("train", 30)) and empty.wrong
    assert long.samples == (("train", 11),) and long.details == (f"{len(train[11]):,} letters",)
    assert foreign.samples == (("train", 50), ("train", 51)) and foreign.details == ("cyrillic", "cjk")
    assert "the rest (latin)" in foreign.sentence


def test_the_alphabet_is_that_of_most_letters() -> None:
    assert [alphabet_of(text) for text in ("Ω in a text", "Ωμέγα b", "12, 13", "")] == ["LATIN", "GREEK", "", ""]


def test_a_text_told_anew_in_another_part_comes_before_one_within_a_part() -> None:
    train, test = sentences(200, words=30), sentences(60, seed=1, words=30)
    test[5] = train[20].replace(" 20.", " twenty!")
    train[9] = train[3].upper().replace(" ", "  ")
    train[40] = " ".join(train[4].split()[:10] + sentences(1, seed=9, words=20)[0].split())  # a third is the same
    (near,) = odd_texts({"train": train, "test": test})
    assert isinstance(near, Copies)
    assert near.samples == (("test", 5), ("train", 9)) and near.others == (("train", 20), ("train", 3))
    assert "2 texts say nearly the same as another, 1 of them in another part" in near.sentence
    assert near.details[1] == "100% the same"


@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_those_of_all_pairs_compared_one_by_one(seed: int) -> None:
    draws = np.random.default_rng(seed)
    texts = sentences(120, seed, words=20)
    for number in range(80):  # copies with more and more words changed
        words = texts[number].split()
        for place in draws.choice(20, number % 4, replace=False):
            words[place] = "other"
        texts.append(" ".join(words))

    def shingles(text: str) -> set[str]:
        plain = " ".join(text.lower().replace(".", "").split())
        return {plain[at : at + 5] for at in range(len(plain) - 4)}

    sets = [shingles(text) for text in texts]
    alike = {
        (later, earlier): len(sets[later] & sets[earlier]) / len(sets[later] | sets[earlier])
        for earlier, later in combinations(range(len(texts)), 2)
        if texts[earlier] != texts[later]
    }
    expected = {pair for pair, share in alike.items() if share >= 0.8}
    pairs = nearly_same(texts)
    assert len(expected) >= 12
    # one misses a pair of 0.8 with a probability of (1 - 0.8**4)**16, 2 in 10,000
    assert {(later, earlier) for later, earlier, _ in pairs} == expected
    assert all(share == pytest.approx(alike[later, earlier]) for later, earlier, share in pairs)


def test_letters_of_one_form_are_found_however_many() -> None:
    number = 200
    form = sentences(1, words=120)[0]
    texts = [f"dear {sha256(str(at).encode()).hexdigest()[:8]}, {form}" for at in range(number)]
    assert len(nearly_same(texts)) == number - 1  # all but the first


def test_what_is_odd_is_told_with_the_line_it_stands_in(write: Callable[..., Path]) -> None:
    rows = [(text, number % 2) for number, text in enumerate(sentences(120))]
    rows[3] = ("это другой язык", 1)
    data = TextFiles(path=write("rows.jsonl", rows))
    data.prepare()
    result = look(data, most=10_000, seed=0, say=str)
    (foreign,) = [finding for finding in result.json(data)["findings"] if finding["check"] == "texts"]
    assert [sample["place"].split(", ")[-1] for sample in foreign["samples"]] == ["line 4"]
    assert result.sought["texts"] == "what TextFiles looks for"


def test_a_text_that_is_its_own_translation_is_found(tmp_path: Path) -> None:
    texts, others = sentences(60), sentences(60, seed=1)
    others[8] = texts[8]
    lines = [f"{text}\t{other}" for text, other in zip(texts, others, strict=True)]
    (tmp_path / "pairs.tsv").write_text("\n".join(["text\ttranslation", *lines]) + "\n")
    data = TextPairs(path=tmp_path / "pairs.tsv", valid=0.0, test=0.0)
    data.prepare()
    (same,) = data.checks()
    assert same.samples == (("train", 8),) and "1 texts are their own translation" in same.sentence


def test_pairs_are_the_same_where_both_sides_are(tmp_path: Path) -> None:
    texts, others = sentences(60), sentences(60, seed=1)
    rows = [*zip(texts, others, strict=True), (texts[3], "another"), (texts[5], others[5])]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"text": text, "other": other}) + "\n" for text, other in rows))
    data = AlikeTexts(path=file, tokenizer="char", valid=0.0, test=0.0)
    data.prepare()
    copies = [finding for finding in look(data, most=10_000, seed=0, say=str).findings if isinstance(finding, Copies)]
    assert [finding.samples for finding in copies if finding.check == "duplicates"] == [(("train", 61),)]
