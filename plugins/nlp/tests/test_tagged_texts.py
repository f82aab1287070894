"""Sentences with a tag for each word: read as they are published, tagged by a chain, measured as seqeval does."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labwright import LEFT_OUT, LabwrightError, Tokens
from labwright.cli import main
from labwright_nlp.data.tagged_texts import TaggedTexts
from labwright_nlp.models.tagger import Tagger
from labwright_tasks.dense_labels import DenseLabels, PositionClasses, SpelledWords, Words
from labwright_tasks.entities import entities
from labwright_testing.verify_resume import verify_resume
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

Row = tuple[Sequence[str], Sequence[str]]
NAMES = ("Ada", "Alan", "Grace Hopper", "Edsger")
TOWNS = ("London", "New York", "Rotterdam")


def sentences(count: int) -> list[Row]:
    """Who was where: persons and towns, some of several words."""
    rows = []
    for number in range(count):
        words, tags = [], []
        for text, kind in (
            (NAMES[number % 4], "PER"),
            ("was in", ""),
            (TOWNS[number % 3], "LOC"),
            (f"{number} times", ""),
        ):
            for place, word in enumerate(text.split()):
                words.append(word)
                tags.append(f"{'I' if place else 'B'}-{kind}" if kind else "O")
        rows.append((words, tags))
    return rows


def in_a_table(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in rows))
    return path


def in_columns(path: Path, rows: Sequence[Row], between: str = "\t") -> Path:
    texts = ("\n".join(f"{word}{between}_{between}{tag}" for word, tag in zip(*row, strict=True)) for row in rows)
    path.write_text("-DOCSTART- -X- O\n\n" + "\n\n".join(texts) + "\n")
    return path


def prepared(path: Path, **settings: object) -> TaggedTexts:
    data = TaggedTexts(path=path, **settings)  # type: ignore[arg-type]
    data.prepare()
    return data


@pytest.mark.parametrize("between", ["\t", " "])
def test_lists_in_a_table_and_columns_of_text_are_the_same_sentences(tmp_path: Path, between: str) -> None:
    rows = sentences(20)
    table = prepared(in_a_table(tmp_path / "a.jsonl", rows), letters=5)
    text = prepared(in_columns(tmp_path / "a.conll", rows, between), letters=5)
    for part in ("train", "valid", "test"):
        ours, theirs = table.split(part), text.split(part)
        assert ours is not None and theirs is not None and len(ours) == len(theirs)
        every = torch.arange(len(ours))
        one, other = ours.fetch(every, 0, 0), theirs.fetch(every, 0, 0)
        assert one.targets.equal(other.targets)
        assert all(left.equal(right) for left, right in zip(one.inputs, other.inputs, strict=True))
    assert table.names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER") == text.names


def test_a_folder_of_packed_files_is_read_as_one_of_them_is(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        plain = in_columns(tmp_path / f"{name}.conll", sentences(12))
        (tmp_path / f"{name}.conll.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    data = prepared(tmp_path, test=0)
    assert [len(data.split(name)) for name in ("train", "valid")] == [12, 12]  # type: ignore[arg-type]


def test_each_word_has_its_own_token_tag_and_letters(tmp_path: Path) -> None:
    rows = sentences(12)
    data = prepared(in_a_table(tmp_path / "a.jsonl", rows), valid=0, test=0, letters=3)
    batch = data.split("train").fetch(torch.tensor([2]), 0, 0)  # type: ignore[union-attr]
    ids, _, letters = batch.inputs
    assert data.show((ids[0, :, None], torch.ones(len(ids[0]), dtype=torch.int64))) == [*rows[2][0]]
    assert [data.names[label] for label in batch.targets[0]] == [*rows[2][1]]
    assert data.alphabet is not None
    for word, spelled in zip(rows[2][0], letters[0].tolist(), strict=True):
        assert data.alphabet.decode([letter for letter in spelled if letter]) == word[:3]


def test_pieces_have_the_tag_of_their_word_at_its_first(tmp_path: Path) -> None:
    rows = sentences(12)
    data = prepared(in_a_table(tmp_path / "a.jsonl", rows), valid=0, test=0, tokenizer="bpe", vocabulary=270)
    batch = data.split("train").fetch(torch.arange(12), 0, 0)  # type: ignore[union-attr]
    for row, (words, tags) in enumerate(rows):
        told = [data.names[label] for label in batch.targets[row].tolist() if label != LEFT_OUT]
        assert told == [*tags]
        assert int(batch.inputs[1][row]) > len(words)  # 270 tokens are hardly more than bytes


def test_words_of_a_pretrained_tokenizer_of_bytes_are_its_tokens_of_running_text(tmp_path: Path) -> None:
    """The origin is the tokenizers library, given the same words with blanks between them, as in pretraining."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rows = sentences(24)
    inner.train_from_iterator([" ".join(words) for words, _ in rows], trainer)
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    inner.save(str(tmp_path / "tokenizer.json"))
    data = prepared(
        in_a_table(tmp_path / "a.jsonl", rows), valid=0, test=0, tokenizer="pretrained", pretrained=tmp_path
    )
    batch = data.split("train").fetch(torch.arange(24), 0, 0)  # type: ignore[union-attr]
    for row, (words, tags) in enumerate(rows):
        ids = batch.inputs[0][row, : batch.inputs[1][row]].tolist()
        assert ids == inner.encode(" ".join(words)).ids
        assert [data.names[label] for label in batch.targets[row].tolist() if label != LEFT_OUT] == [*tags]


def test_words_behind_the_length_are_counted_and_not_told(tmp_path: Path) -> None:
    data = prepared(in_a_table(tmp_path / "a.jsonl", sentences(12)), valid=0, test=0, length=4)
    assert any("cut to their first task.data.length=4 tokens" in remark for remark in data.remarks())
    asked = data.parse("Ada was in New York often")
    assert asked.origin == Words(("Ada", "was", "in", "New", "York", "often"), (0, 1, 2, 3, 4, 4))
    task = DenseLabels(data)
    scores = torch.zeros(1, 4, len(data.names))
    assert task.predict(lambda *_: scores, tuple(asked), [asked.origin])[0]["labels"] == ["O"] * 4 + [None] * 2  # type: ignore[arg-type]


TAGS = st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"]), min_size=1, max_size=8)


@given(TAGS, st.randoms())
def test_entities_are_those_of_seqeval_in_its_strict_mode(tags: list[str], random: object) -> None:
    given_tags = [*tags]
    random.shuffle(given_tags)  # type: ignore[attr-defined]
    ours, true = (entities(some, strict=True) for some in (given_tags, tags))
    f1 = 2 * len(ours & true) / (len(ours) + len(true)) if ours or true else 0.0
    if true:  # seqeval refuses what has no entity, or warns
        assert f1_score([tags], [given_tags], mode="strict", scheme=IOB2, zero_division=0) == pytest.approx(f1)


def test_a_sentence_is_tagged_alike_beside_longer_ones() -> None:
    inputs, outputs = SpelledWords(50, 9, 20, 6), PositionClasses(("O", "B-x", "I-x"), (9,))
    model = Tagger(inputs, outputs, width=8, embedding=8, letter_width=8).double().eval()
    torch.nn.init.normal_(model.after)  # type: ignore[arg-type]
    ids, lengths, letters = inputs.example(6, torch.Generator().manual_seed(0))
    scores = model(ids, lengths, letters)
    for row, length in enumerate(lengths.tolist()):
        alone = model(ids[row : row + 1, :length], lengths[row : row + 1], letters[row : row + 1, :length])
        torch.testing.assert_close(
            outputs.logits(alone).softmax(-1), outputs.logits(scores)[row : row + 1, :length].softmax(-1)
        )
        assert outputs.given(alone)[0].equal(outputs.given(scores)[row, :length])


def test_a_tagger_learns_resumes_and_tags_what_it_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sentences(60)
    in_a_table(tmp_path / "train.jsonl", rows)
    recipe = [f"task.data.path={tmp_path / 'train.jsonl'}", "model.width=16", "model.embedding=16"]
    recipe += ["optimizer.lr=0.02", "train.epochs=20"]
    run = tmp_path / "run"
    outcome = lw.Experiment.from_recipe("nlp/tags", recipe).run(run)
    assert outcome.metrics["test"]["strict-entity-f1"] == 1
    asked = ["predict", str(run), "--text", "Grace Hopper was in New York 7 times", "--json"]
    answer = json.loads(told(asked, capsys, monkeypatch))
    assert answer["labels"] == ["B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "O", "O"]
    more = in_columns(tmp_path / "more.conll", rows[:9])
    measured = json.loads(told(["evaluate", str(run), "--on", str(more), "--json"], capsys, monkeypatch))
    assert "strict-entity-f1" in json.dumps(measured)
    assert verify_resume(lw.Experiment.from_recipe("nlp/tags", [*recipe, "train.epochs=2"]), 4).exact


def told(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["labwright", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    return printed.out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n', r"line 1: 2 words and 1 tags; each word has one tag"),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O", null]}\n', r"line 1: the word 'b' has an empty tag; what is"),
        ("a.jsonl", '{"tokens": [["a"]], "tags": ["O"]}\n', r"line 1.* column 'tokens'"),
        ("a.jsonl", '{"tokens": ["a"], "tags": ["O"]}\n' * 9, r"every word has the tag 'O'"),
        ("a.conll", "word\n\nother\n", r"line 1: .* has too few columns; a word and its tag are needed"),
        ("a.conll", "\n\n", r"no sentence: a word and its tag in each line"),
        ("a.jsonl", '{"words": ["a"], "tags": ["O"]}\n', r"tokens"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(LabwrightError, match=message):
        prepared(tmp_path / name, valid=0, test=0)


def test_a_tag_that_is_never_learned_is_refused_by_its_place(tmp_path: Path) -> None:
    in_columns(tmp_path / "train.conll", sentences(9))
    in_columns(tmp_path / "test.conll", [(["Mars"], ["B-LOK"])])
    with pytest.raises(LabwrightError, match=r"test.conll, line 3: no .* has the tag 'B-LOK'.*'B-LOC'"):
        prepared(tmp_path, valid=0)


def test_numbers_for_tags_have_names(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens": ["Ada", "Lovelace", "is"], "tags": [1, 2, 0]}\n' * 4)
    names = ["O", "B-PER", "I-PER"]
    assert prepared(tmp_path / "a.jsonl", valid=0, test=0, names=names).names == tuple(names)
    with pytest.raises(LabwrightError, match=r"line 1: the tag '2' has no name; task.data.names has 2 of them"):
        prepared(tmp_path / "a.jsonl", valid=0, test=0, names=names[:2])


def test_words_without_tags_can_be_asked(tmp_path: Path) -> None:
    data = prepared(in_a_table(tmp_path / "a.jsonl", sentences(12)), valid=0, test=0)
    (tmp_path / "asked.conll").write_text("Ada\nwas\n\nin\nOslo\n")
    asked = data.inputs(tmp_path / "asked.conll")
    assert asked is not None
    assert [read().origin.words for _, read in asked] == [("Ada", "was"), ("in", "Oslo")]  # type: ignore[attr-defined]


def test_universal_dependencies_are_words_and_parts_of_speech(tmp_path: Path) -> None:
    """The format's own example (universaldependencies.org/format.html): a range and a remark are no words."""
    rows = [
        "# text = vámonos al mar",
        "1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_",
        "1\tvamos\tir\tVERB\tVM\t_\t0\troot\t_\t_",
        "2\tnos\tnosotros\tPRON\tPP\t_\t1\tobj\t_\t_",
        "3\tmar\tmar\tNOUN\tNC\t_\t1\tobl\t_\t_",
    ]
    (tmp_path / "a.conllu").write_text("\n".join(rows) + "\n\n", encoding="utf-8")
    told = prepared(tmp_path / "a.conllu", valid=0.0, test=0.0)
    assert told.show(told.split("train").fetch(torch.tensor([0]), 0, 0).inputs) == ["vamos nos mar"]  # type: ignore[union-attr]
    assert set(told.names) == {"NOUN", "PRON", "VERB"}
    finer = prepared(tmp_path / "a.conllu", tags=5, valid=0.0, test=0.0)
    assert set(finer.names) == {"NC", "PP", "VM"}


def test_lines_about_a_sentence_are_no_words_of_it(tmp_path: Path) -> None:
    """As MultiCoNER 2022 has them; a word that is # stays one."""
    rows = ["# id 6f3a domain=en", "Ada _ _ B-PER", "sang _ _ O", "", "# _ _ O", "Oslo _ _ B-LOC", ""]
    (tmp_path / "a.conll").write_text("\n".join(rows), encoding="utf-8")
    data = prepared(tmp_path / "a.conll", valid=0.0, test=0.0)
    batch = data.split("train").fetch(torch.arange(2), 0, 0)  # type: ignore[union-attr]
    assert data.show(batch.inputs) == ["Ada sang", "# Oslo"]
    assert data.names == ("O", "B-LOC", "B-PER")
    assert any("begin with # and hold a = aren't words of it: 1." in remark for remark in data.remarks())


def test_letters_are_of_whole_words() -> None:
    with pytest.raises(LabwrightError, match=r"task.data.letters: whole words have letters"):
        TaggedTexts(path=Path(), tokenizer="bpe", letters=3)
    assert TaggedTexts(path=Path(), letters=3).item is SpelledWords
    assert TaggedTexts(path=Path()).item is Tokens


def test_wnut17_is_read_as_it_is_published(wnut17: Path) -> None:
    data = prepared(wnut17)
    sizes = {part: len(split) for part in ("train", "valid", "test") if (split := data.split(part)) is not None}
    assert sizes == {"train": 3394, "valid": 1009, "test": 1287}
    assert len(data.names) == 13


def test_a_txt_is_a_word_in_each_line_for_what_is_asked_as_for_what_is_measured(tmp_path: Path) -> None:
    data = prepared(in_a_table(tmp_path / "a.jsonl", sentences(40)))
    columns = in_columns(tmp_path / "other.txt", sentences(3))
    measured, asked = data.on(columns).split("test"), data.inputs(columns)
    assert measured is not None and asked is not None and len([*asked]) == len(measured) == 3
    for content, message in (
        ("Ada was in London\n", r"no two lines together, and 4 columns.*given without --on"),
        ("Ada was in London\n\nGrace was\n", r"line 3 has 2 columns and line 1 has 4"),
    ):
        (tmp_path / "alone.txt").write_text(content)
        with pytest.raises(LabwrightError, match=message):
            [*data.inputs(tmp_path / "alone.txt")]  # type: ignore[misc]
    running = tmp_path / "running.txt"
    running.write_text("Ada was in London\nGrace Hopper was there\ntoo\n")
    with pytest.raises(LabwrightError, match=r"line 3 has 1 columns and line 1 has 4.*given without --on"):
        [*data.inputs(running)]  # type: ignore[misc]
    assert data.read(running).origin == Words(tuple(running.read_text().split()), tuple(range(9)))


def test_words_that_a_tokenizer_leaves_nothing_of_are_counted(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    inner = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "London": 2}, unk_token="[UNK]"))
    inner.normalizer, inner.pre_tokenizer = normalizers.Replace("~", ""), pre_tokenizers.Whitespace()
    inner.save(str(tmp_path / "tokenizer.json"))
    rows: list[Row] = [(("~", "in", "London", "~"), ("O", "O", "B-LOC", "O")), (("in",), ("O",))]
    path = in_a_table(tmp_path / "a.jsonl", rows)
    data = prepared(path, valid=0, test=0, tokenizer="pretrained", pretrained=tmp_path)
    assert "2 words of train have no token, as in" in " ".join(data.remarks())


@pytest.mark.parametrize("settings", [{"letters": 4}, {"tokenizer": "wordpiece", "vocabulary": 60}])
def test_words_of_nothing_move_no_letters_and_a_sentence_of_them_is_one_unknown_token(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    rows: list[Row] = [(("", "Ada", "", "is"), ("O", "B-x", "O", "O")), (("",), ("O",)), (("in", "Rome"), ("O", "B-x"))]
    data = prepared(in_a_table(tmp_path / "a.jsonl", rows), valid=0, test=0, **settings)
    batch = data.split("train").fetch(torch.arange(3), 0, 0)  # type: ignore[union-attr]
    assert data.tokens is not None
    assert batch.inputs[1].min() >= 1 and batch.inputs[0][1, 0] == data.tokens.unknown
    assert batch.targets[1].tolist() == [LEFT_OUT] * batch.targets.shape[1]
    assert "3 words of train have no token, as in" in " ".join(data.remarks())
    if data.alphabet is not None:
        alphabet = data.alphabet

        def spelled(word: str) -> list[int]:
            return [int(one) for one in alphabet.encode([word])[0]]

        letters = [[[one for one in word if one] for word in row] for row in batch.inputs[2].tolist()]
        assert letters == [[spelled("Ada"), spelled("is")], [[], []], [spelled("in"), spelled("Rome")]]
