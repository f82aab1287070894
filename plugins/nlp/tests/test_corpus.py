"""Running text: windows that cover it, targets that are the next tokens, characters that are counted once."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import torch
from labwright import Batch, IndexedBatches, LabwrightError, Tokens
from labwright_nlp.data.plain_text import PlainText
from labwright_nlp.data.pydoc import Pydoc
from labwright_tasks.floors import of_model
from labwright_tasks.kneser_ney import KneserNey, running_text
from labwright_tasks.language_model import LanguageModel, NextTokens, TokenBatch

TEXT = "".join(f"{number} bottles of Größe\n" for number in range(60))


def prepared(folder: Path, text: str = TEXT, **settings: Any) -> PlainText:
    (folder / "text.txt").write_text(text, encoding="utf-8")
    data = PlainText(path=folder / "text.txt", **{"context": 8} | settings)
    data.prepare()
    return data


def whole(data: PlainText, part: str, epoch: int = 0, seed: int = 0) -> TokenBatch:
    split = data.split(part)
    assert split is not None
    return split.fetch(torch.arange(len(split)), epoch, seed)


def text_of(data: PlainText, batch: Batch) -> str:
    """The targets of windows side by side, as text."""
    targets = batch.targets.flatten()
    targets = targets[targets >= 0]
    return data.show((targets[None], torch.tensor([len(targets)])))[0]


def test_the_last_shares_are_valid_and_test_and_evaluation_covers_them(tmp_path: Path) -> None:
    data = prepared(tmp_path, valid=0.1, test=0.2)
    first, second = int(len(TEXT) * 0.7), int(len(TEXT) * 0.8)
    assert text_of(data, whole(data, "valid")) == TEXT[first + 1 : second]
    assert text_of(data, whole(data, "test")) == TEXT[second + 1 :]


def test_a_target_is_the_token_after(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    for part in ("train", "valid"):
        batch = whole(data, part)
        ids_BT, lengths_B = batch.inputs
        for ids, following, length in zip(ids_BT, batch.targets, lengths_B.tolist(), strict=True):
            assert torch.equal(ids[1:length], following[: length - 1])
            assert (following[length:] == -100).all() and (ids[length:] == 0).all() and (following[:length] > 0).all()
        assert batch.tokens == int(lengths_B.sum()) == int((batch.targets >= 0).sum())


def test_every_position_occurs_in_training_and_each_epoch_begins_elsewhere(tmp_path: Path) -> None:
    data = prepared(tmp_path, TEXT[:133], valid=0.0)
    split = data.split("train")
    assert split is not None and len(split) == 15  # (133 - 8) // 8
    starts = set()
    for epoch in range(80):
        batch = whole(data, "train", epoch)
        first = batch.inputs[0][0]
        starts |= {start for start in range(125) if torch.equal(split.ids_N[start : start + 8].long(), first)}
        assert batch.targets.shape == (15, 8) and (batch.targets >= 0).all()
    assert set(range(13)) <= starts  # offsets 0 .. 133 - 15 * 8 - 1
    assert torch.equal(whole(data, "train", 3, 1).targets, whole(data, "train", 3, 1).targets)
    targets = [whole(data, "train", epoch, 1).targets for epoch in range(10)]  # one of 13 offsets each
    assert any(not torch.equal(targets[0], other) for other in targets[1:])


@pytest.mark.parametrize("kind", ["char", "byte", "bpe", "unigram"])
def test_the_characters_of_all_targets_are_those_of_the_text(tmp_path: Path, kind: Any) -> None:
    data = prepared(tmp_path, tokenizer=kind, vocabulary=300, valid=0.3)
    split = data.split("valid")
    assert split is not None
    counted = sum(batch.characters for batch in IndexedBatches.in_order(split, 3))  # type: ignore[attr-defined]
    text = TEXT[int(len(TEXT) * 0.7) :]
    (first,) = data.show((split.ids_N[None, :1], torch.tensor([1])))
    assert counted == len(text) - len(first)
    assert data.ports()[1] == NextTokens(data.ports()[0].vocab_size, 8, True)  # type: ignore[attr-defined]


def test_words_lose_text_so_that_characters_are_not_counted(tmp_path: Path) -> None:
    data = prepared(tmp_path, tokenizer="word", vocabulary=50)
    assert data.ports() == (Tokens(50, 8, 0), NextTokens(50, 8, False))
    assert whole(data, "valid").characters == 0


def test_a_prompt_of_any_length_is_read_and_what_was_learned_is_enough_for_it(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    ids, lengths_1 = data.parse("99 bottles of ∞")
    assert data.show((ids, lengths_1)) == ["99 bottles of \ufffd"] and lengths_1.tolist() == [15]
    (tmp_path / "kept").mkdir()
    data.save(tmp_path / "kept")
    again = PlainText(path=tmp_path / "gone", context=8)
    again.load(tmp_path / "kept")
    assert torch.equal(again.parse("99 bottles")[0], data.parse("99 bottles")[0]) and again.ports() == data.ports()


def test_a_text_may_be_gzipped_or_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(TEXT.replace("\n", "\r\n").encode("latin-1")))
    data = PlainText(path=tmp_path / "text.txt.gz", encoding="latin-1", context=8)
    data.prepare()
    assert text_of(data, whole(data, "valid")) == text_of(prepared(tmp_path), whole(prepared(tmp_path), "valid"))


def test_the_shared_plays_are_split_as_nanogpt_does(shakespeare: Path) -> None:
    data = PlainText(path=shakespeare, context=64)
    data.prepare()
    train, valid = data.split("train"), data.split("valid")
    assert train is not None and valid is not None
    assert (len(train.ids_N), len(valid.ids_N)) == (1_003_854, 111_540)  # nanoGPT's data/shakespeare_char/prepare.py
    assert data.ports()[0] == Tokens(65 + 2, 64, 0)  # its 65 characters, padding and unknown


def test_the_texts_of_pythons_help_are_always_there() -> None:
    data = Pydoc(tokenizer="bpe", vocabulary=512)
    data.prepare()
    assert all(data.split(part) is not None for part in ("train", "valid", "test"))
    assert data.ports()[0] == Tokens(512, 64, 0)


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("short", {}, r"the train part of .*text\.txt has 4 tokens; with task\.data\.context=8 it needs 9"),
        (TEXT, {"context": 5000}, "with task.data.context=5000 it needs 5,001 or more"),
        (TEXT[:20], {"context": 2, "valid": 0.05}, "the valid part of .* has 1 tokens"),
        (" \n", {}, r"text\.txt has no text to learn from"),
        (TEXT, {"valid": 0.5, "test": 0.5}, "valid 0.5 and test 0.5 leave nothing to learn from"),
    ],
)
def test_a_text_too_short_for_its_windows_is_answered(
    tmp_path: Path, text: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(LabwrightError, match=words):
        prepared(tmp_path, text, **settings)


@pytest.mark.slow
def test_counting_reaches_on_the_shared_plays_what_is_known_of_it(shakespeare: Path) -> None:
    task = LanguageModel(PlainText(path=shakespeare, context=64))
    task.prepare()
    train, valid = task.data.split("train"), task.data.split("valid")
    assert train is not None and valid is not None
    inputs = task.ports()[0]
    assert isinstance(inputs, Tokens)
    counted = KneserNey(inputs.vocab_size)
    counted.fit(running_text(train, 2_000_000), order=6)
    assert of_model(task, "valid", counted, size=256)["cross_entropy"] == pytest.approx(1.523, abs=5e-4)


def documents(folder: Path) -> dict[str, str]:
    """40 texts in a folder and one below it, two of them the same, beside an empty one and one that is no text."""
    (folder / "more").mkdir(parents=True)
    texts = {f"{number:02}.txt": f"document {number % 39} says so. " * 5 for number in range(40)}
    texts = {name if number % 2 else f"more/{name}": text for number, (name, text) in enumerate(texts.items())}
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "empty.txt").write_text("\n")
    (folder / "picture.png").write_bytes(b"no text")
    return texts


def test_of_a_folder_whole_documents_are_held_out_and_equal_ones_together(tmp_path: Path) -> None:
    texts = documents(tmp_path / "all")
    data = PlainText(path=tmp_path / "all", context=8, valid=0.2, test=0.1)
    data.prepare()
    parts = {}
    for name in ("train", "valid", "test"):
        split = data.split(name)
        assert split is not None
        whole_part = data.show((split.ids_N[None], torch.tensor([len(split.ids_N)])))[0]
        parts[name] = whole_part.split("\n\n")
    assert sorted(text for part in parts.values() for text in part) == sorted(texts.values())
    assert not {*parts["train"]} & {*parts["valid"]} and not {*parts["valid"]} & {*parts["test"]}
    assert 8 <= len(parts["valid"]) <= 10 and 4 <= len(parts["test"]) <= 6
    assert f"has 40 documents, and whole ones are held out: {len(parts['train'])} in train" in data.remarks()[0]
    assert [f"{one.count} {one.what}: {one.why}" for one in data.left_out()] == [
        "1 file: no text: picture.png",
        "1 file: nothing in it",
    ]
    measured = data.on(tmp_path / "all")  # as it learned from one
    assert len(measured.left_out()) == 2 and not data.on(tmp_path / "all" / "01.txt").left_out()
    other = measured.split("test")
    assert other is not None
    told = data.show((other.ids_N[None], torch.tensor([len(other.ids_N)])))[0].split("\n\n")
    assert sorted(told) == sorted(texts.values())
    (tmp_path / "all" / "new.txt").write_text("one more document says so. " * 5)
    grown = PlainText(path=tmp_path / "all", context=8, valid=0.2, test=0.1)
    grown.prepare()
    before, after = data.split("test"), grown.split("test")
    assert before is not None and after is not None
    shown = grown.show((after.ids_N[None], torch.tensor([len(after.ids_N)])))[0].split("\n\n")
    assert len({*parts["test"]} & {*shown}) >= len({*parts["test"]}) - 1


def test_a_folder_without_texts_or_with_too_few_is_answered(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "rows.csv").write_text("text")
    with pytest.raises(LabwrightError, match=r"has no text file, which ends in \.txt; it has rows\.csv"):
        PlainText(path=tmp_path / "one").prepare()
    for number in range(2):
        (tmp_path / "one" / f"{number}.txt").write_text("the same")
    with pytest.raises(LabwrightError, match="has 2 documents, 1 of them different: too few to hold out"):
        PlainText(path=tmp_path / "one").prepare()
