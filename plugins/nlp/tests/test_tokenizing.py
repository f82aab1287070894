"""Tokenizers: nothing is lost where nothing should be, the same texts give the same tokens, files bring them back."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations, pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from labwright import LabwrightError
from labwright_nlp.tokenizing import MARK, Bytes, Characters, Kind, Tokenizer, clean, kept, learned, unmarked

TEXTS = ["the cat sat on the mat .", "the dog, the cat;\n\n  and the Größe of it", "naïve 日本語 🙂 cat"]
OWN: tuple[Kind, ...] = ("word", "char", "byte", "bpe", "wordpiece", "unigram")


def made(kind: Kind, texts: list[str] = TEXTS, vocabulary: int = 400) -> Tokenizer:
    return learned(kind, texts, vocabulary=vocabulary, pretrained=None)


@pytest.mark.parametrize("kind", ["char", "byte", "bpe", "unigram"])
def test_a_text_of_the_training_part_comes_back_as_it_was(kind: Kind) -> None:
    tokenizer = made(kind)
    assert tokenizer.exact
    for text, ids in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert ids.dtype == np.int32 and ids.min() > 0 and ids.max() < tokenizer.size
        assert tokenizer.decode(ids.tolist()) == text


@given(text=some.text(max_size=40).map(clean))
def test_bytes_bring_back_any_text(text: str) -> None:
    assert Bytes().decode(Bytes().encode([text])[0].tolist()) == text


@given(text=some.text(max_size=40).map(clean))
def test_characters_and_merges_bring_back_any_text_but_for_unknown_characters(text: str) -> None:
    letters = Characters("abc ")
    shown = letters.decode(letters.encode([text])[0].tolist())
    assert shown == "".join(one if one in "abc " else "\ufffd" for one in text)
    for pieces in (BPE, UNIGRAM):
        assert pieces.decode(pieces.encode([text])[0].tolist()) == text


BPE, UNIGRAM = made("bpe"), made("unigram")


@given(text=some.text(alphabet="ab \n\u00e9\u65e5\U0001f642", max_size=60))
def test_the_ends_of_a_streams_tokens_count_every_character_once(text: str) -> None:
    for tokenizer in (Characters("ab"), Bytes(), BPE, UNIGRAM):
        ids, ends = tokenizer.stream(text)
        assert len(ids) == len(ends)
        assert (np.diff(ends, prepend=0) >= 0).all()
        assert (ends[-1] if len(ends) else 0) == len(text)


def test_words_are_runs_of_letters_or_of_signs_and_rare_ones_are_unknown() -> None:
    tokenizer = made("word", vocabulary=5)
    (ids,) = tokenizer.encode(["the zebra, the cat"])
    assert tokenizer.decode(ids.tolist()) == "the <unk> , the cat"  # the 3 most frequent: the, cat and the comma
    assert tokenizer.size == 5 and tokenizer.pad_id == 0 and not tokenizer.exact


@pytest.mark.parametrize("kind", OWN)
def test_learning_twice_gives_the_same_tokens(kind: Kind) -> None:
    texts = [f"{word} {number}" for number, word in enumerate(" ".join(TEXTS * 20).split())]
    one, other = made(kind, texts, 300), made(kind, texts, 300)
    for a, b in zip(one.encode(TEXTS), other.encode(TEXTS), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", OWN)
def test_a_saved_tokenizer_is_the_same_one(kind: Kind, tmp_path: Path) -> None:
    tokenizer = made(kind)
    tokenizer.save(tmp_path)
    again = kept(kind, tmp_path)
    assert (again.size, again.pad_id, again.exact) == (tokenizer.size, tokenizer.pad_id, tokenizer.exact)
    assert again.unknown == tokenizer.unknown
    for a, b in zip(again.encode(TEXTS), tokenizer.encode(TEXTS), strict=True):
        assert np.array_equal(a, b)


def test_another_process_learns_the_same_pieces(tmp_path: Path) -> None:
    """The library's trainers go over hash tables whose order is another in each process."""
    names = sorted("".join(letters) for letters in permutations("abcde", 4))  # many that count the same
    program = (
        "from pathlib import Path; from labwright_nlp.tokenizing import learned\n"
        f"for kind in ('wordpiece', 'unigram'):\n    folder = Path({str(tmp_path)!r}) / kind\n    folder.mkdir()\n"
        f"    learned(kind, {names!r}, vocabulary=300, pretrained=None).save(folder)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    kinds: tuple[Kind, ...] = ("wordpiece", "unigram")
    for kind in kinds:
        made(kind, names, 300).save(tmp_path)
        assert (tmp_path / "tokenizer.json").read_bytes() == (tmp_path / kind / "tokenizer.json").read_bytes()


def test_pieces_of_words_are_those_of_berts_own_tokenizer(tmp_path: Path) -> None:
    """Transformers' `BertTokenizer`, the slow one: greedy, the longest first, on the vocabulary that was learned."""
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy as BertTokenizer

    texts = [*TEXTS, "unbelievable unfold, table; the cattle sat (un)able to fold it!", "don't  e-mail\tit"]
    tokenizer = made("wordpiece", texts, 60)
    vocabulary = sorted(tokenizer.inner.get_vocab().items(), key=lambda piece: piece[1])  # type: ignore[attr-defined]
    (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in vocabulary), encoding="utf-8")
    bert = BertTokenizer(
        str(tmp_path / "vocab.txt"), do_lower_case=False, strip_accents=False, unk_token="<unk>", pad_token="<pad>"
    )
    for text in (*texts, "foldable cats, ünfold 日本 the_end xyz"):
        (ids,) = tokenizer.encode([text])
        assert ids.tolist() == bert.encode(text, add_special_tokens=False)


def test_pieces_of_words_are_as_many_as_were_asked_for_and_no_more() -> None:
    texts = [f"{chr(0x4E00 + number)} cat{number}" for number in range(200)]
    for vocabulary in (3, 11, 60, 150):
        assert made("wordpiece", texts, vocabulary).size <= vocabulary
    assert made("wordpiece", texts, 150).unknown == 1


def test_a_marked_capital_is_a_piece_of_its_own_before_the_small_word() -> None:
    tokenizer = made("wordpiece", [clean(text, "mark") for text in ["The cat", "the Cat", "the the"] * 3], 40)
    great, small = (tokenizer.encode([clean(text, "mark")])[0].tolist() for text in ("The", "the"))
    assert great[1:] == small and unmarked(tokenizer.decode(great)) == "The"


def test_unigrams_cut_a_text_where_the_product_of_probabilities_is_largest() -> None:
    """Every way to cut it, counted out; the probabilities are those that were learned."""
    tokenizer = made("unigram", ["abab abba baab", "aab bba abab"] * 4, 265)
    pieces = json.loads(tokenizer.inner.to_str())["model"]["vocab"]  # type: ignore[attr-defined]
    scores = {piece: score for piece, score in pieces if piece != "<pad>"}
    assert any(len(piece) > 1 for piece in scores)
    for text in ("ab", "abab", "bbaaba", "aabbaabb"):
        cuts = (
            [text[low:high] for low, high in pairwise([0, *places, len(text)])]
            for count in range(len(text))
            for places in combinations(range(1, len(text)), count)
        )
        best = max(sum(map(scores.__getitem__, cut)) for cut in cuts if all(piece in scores for piece in cut))
        (ids,) = tokenizer.encode([text])
        assert sum(pieces[token][1] for token in ids.tolist()) == pytest.approx(best)


@pytest.mark.parametrize("kind", OWN)
def test_the_first_tokens_are_kept_of_a_text_that_is_too_long(kind: Kind) -> None:
    tokenizer = made(kind)
    (whole,) = tokenizer.encode([TEXTS[1]])
    assert tokenizer.cut(whole, 3).tolist() == whole[:3].tolist()
    assert tokenizer.cut(whole, len(whole)).tolist() == whole.tolist()


def test_a_pretrained_tokenizer_gives_what_it_gives_elsewhere(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Library
    from tokenizers import models, pre_tokenizers, processors

    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "cat": 4, "the": 5}
    library = Library(models.WordLevel(words, unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    library.enable_padding(pad_id=0, length=20)
    library.save(str(tmp_path / "tokenizer.json"))
    tokenizer = learned("pretrained", [], vocabulary=3, pretrained=tmp_path)
    short, long = tokenizer.encode(["the cat", "the the the"])
    library.enable_truncation(4)
    library.no_padding()
    assert tokenizer.cut(short, 4).tolist() == short.tolist() == [2, 5, 4, 3] == library.encode("the cat").ids
    assert tokenizer.cut(long, 4).tolist() == [2, 5, 5, 3] == library.encode("the the the").ids
    assert (tokenizer.size, tokenizer.pad_id, tokenizer.unknown) == (6, 0, 1)


@pytest.mark.parametrize(
    ("words", "size", "pad_id"),
    [
        ({"!": 0, "good": 1, "<|endoftext|>": 2}, 3, 2),  # as GPT-2's, whose token 0 is an exclamation mark
        ({"!": 0, "good": 1}, 3, 2),
        ({"<s>": 0, "<pad>": 1, "</s>": 2, "good": 3}, 4, 1),
    ],
)
def test_no_token_of_a_text_is_taken_for_padding(tmp_path: Path, words: dict[str, int], size: int, pad_id: int) -> None:
    from tokenizers import Tokenizer as Library
    from tokenizers import models

    Library(models.WordLevel(words)).save(str(tmp_path / "tokenizer.json"))
    tokenizer = learned("pretrained", [], vocabulary=3, pretrained=tmp_path)
    assert (tokenizer.size, tokenizer.pad_id, tokenizer.unknown) == (size, pad_id, None)
    with pytest.raises(LabwrightError, match=r"the tokenizer can't take these texts: WordLevel error: Missing \[UNK\]"):
        tokenizer.encode(["bad"])


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("bpe", {"vocabulary": 100}, r"'bpe' starts from 256 bytes.*given 100"),
        ("unigram", {"vocabulary": 256}, r"'unigram' starts from 256 bytes.*given 256; it needs 257"),
        ("pretrained", {}, r"that of a folder with tokenizer\.json alone, task\.data\.pretrained=FOLDER"),
        (
            "pretrained",
            {"pretrained": Path("x"), "start": Path("y")},
            "write start.run=FOLDER instead of task.data.pre",
        ),
        ("word", {"pretrained": Path("x")}, "kind 'word' is learned from the training texts"),
        ("pretrained", {"pretrained": Path("nowhere")}, r"there is no folder 'nowhere' in /.*\. Nothing is downloaded"),
        ("pretrained", {"pretrained": Path(__file__).parent}, r"has no tokenizer\.json; it has .*conftest\.py"),
    ],
)
def test_settings_that_do_not_go_together_are_answered(kind: Kind, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(LabwrightError, match=words):
        learned(kind, TEXTS, **{"vocabulary": 300, "pretrained": None} | settings)


def test_a_tokenizer_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(LabwrightError, match=r"tokenizer\.json can't be read as a tokenizer"):
        learned("pretrained", [], vocabulary=3, pretrained=tmp_path)


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert clean("a\ud800b") == "a\ufffdb"
    assert clean("Ä🙂", "lower") == "ä🙂"


def test_a_marked_capital_is_a_mark_and_the_small_letter_that_stands_there_elsewhere() -> None:
    assert clean("iPad", "mark") == f"i{MARK}pad"
    assert clean("Éa, ĐA", "mark") == f"{MARK}éa, {MARK}đ{MARK}a"


@given(some.text().filter(lambda text: MARK not in text))
@example("İstanbul, STRASSE ẞ, Ǆ ǅ ǆ, Σς, Ω (Ohm) and Ω, ŉ")  # letters whose other case isn't one letter, or another's
def test_what_was_marked_is_the_text_again(text: str) -> None:
    assert unmarked(clean(text, "mark")) == text
