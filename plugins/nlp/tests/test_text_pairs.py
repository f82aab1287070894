"""Pairs of texts: read from files, held out together, tokenized on both sides, kept with a run."""

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
from labwright import LabwrightError, Tokens
from labwright.cli import main
from labwright_nlp.data.moses import read_moses
from labwright_nlp.data.text_pairs import TextPairs
from labwright_nlp.models.transformer import Transformer
from labwright_tasks.fold_data import Fold
from labwright_tasks.losses import CrossEntropy
from labwright_tasks.sequence_to_sequence import SequenceToSequence, TargetTokens
from labwright_tasks.weights import WeightedBatch
from labwright_testing.verify_resume import verify_resume

ROWS = [(f"the {word} number {n}", f"{word} numéro {n}") for n in range(30) for word in ("first", "Last")]


def written(path: Path, rows: Sequence[tuple[object, object]] = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"text": text, "translation": meant}) for text, meant in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def prepared(path: Path, **settings: Any) -> TextPairs:
    data = TextPairs(path=path, **settings)
    data.prepare()
    return data


@pytest.mark.parametrize("tokenizer", ["word", "char", "byte", "bpe", "wordpiece", "unigram"])
def test_both_sides_come_back_as_they_were(tokenizer: Any, tmp_path: Path) -> None:
    data = prepared(written(tmp_path / "pairs.jsonl"), tokenizer=tokenizer, valid=0.0, test=0.0)
    split = data.split("train")
    assert split is not None and len(split) == 60 and data.split("valid") is None
    batch = split.fetch(torch.tensor([3, 40]), 0, 0)
    assert data.show(batch.inputs) == [ROWS[3][0], ROWS[40][0]]
    port = data.ports()[1]
    assert isinstance(port, TargetTokens)
    for row, (_, meant) in zip(batch.targets.tolist(), (ROWS[3], ROWS[40]), strict=True):
        ids = [token for token in row if token != -100]
        assert ids[-1] == port.end_id == port.vocab_size - 1 and port.begin_id not in ids
        assert data.written(ids) == meant


def test_parts_that_have_no_file_are_held_out_with_equal_texts_together(tmp_path: Path) -> None:
    rows = [("same", str(n)) for n in range(20)] + ROWS
    data = prepared(written(tmp_path / "pairs.jsonl", rows), valid=0.2, test=0.2)
    texts = {}
    for name in ("train", "valid", "test"):
        split = data.split(name)
        assert split is not None
        texts[name] = set(data.show(split.fetch(torch.arange(len(split)), 0, 0).inputs))
    assert not texts["train"] & texts["valid"] and not texts["train"] & texts["test"]
    assert len(set.union(*texts.values())) == 61


def test_a_folder_has_a_file_for_each_part(tmp_path: Path) -> None:
    written(tmp_path / "pairs" / "train.jsonl")
    written(tmp_path / "pairs" / "dev.jsonl", ROWS[:7])
    data = prepared(tmp_path / "pairs", test=0.0)
    sizes = {name: len(split) for name in ("train", "valid", "test") if (split := data.split(name)) is not None}
    assert sizes == {"train": 60, "valid": 7}


def lines(path: Path, texts: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{text}\n" for text in texts).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_two_files_of_lines_are_pairs(tmp_path: Path) -> None:
    for side, ending in enumerate(("en", "fr")):
        lines(tmp_path / "parallel" / f"train.{ending}", [row[side] for row in ROWS])
        lines(tmp_path / "parallel" / f"dev.{ending}.gz", [*(row[side] for row in ROWS[:7]), ("only here", "")[side]])
    data = prepared(tmp_path / "parallel", endings=("en", "fr"), test=0.0)
    train, valid = data.split("train"), data.split("valid")
    assert train is not None and valid is not None and (len(train), len(valid)) == (60, 7)
    assert [f"{part.count} {part.what}" for part in data.left_out()] == ["1 row"]
    task = SequenceToSequence(data)
    assert task.references(train.fetch(torch.tensor([3]), 0, 0)) == [ROWS[3][1]]
    alone = prepared(tmp_path / "parallel" / "train", endings=("fr", "en"), tokenizer="char", valid=0.2, test=0.2)
    assert sum(len(split) for name in ("train", "valid", "test") if (split := alone.split(name)) is not None) == 60
    lines(tmp_path / "parallel" / "train.fr", ["fewer"])
    with pytest.raises(LabwrightError, match=r"train\.en has 60 lines and train\.fr 1: a line of one belongs"):
        prepared(tmp_path / "parallel", endings=("en", "fr"))
    with pytest.raises(
        LabwrightError, match=r"task\.data\.endings: there is no file .*dev\.frr'; did you mean 'dev\.fr\.gz'"
    ):
        prepared(tmp_path / "parallel", endings=("en", "frr"))
    with pytest.raises(LabwrightError, match="files of lines have no columns"):
        TextPairs(path=tmp_path, endings=("en", "fr"), weight="w")


def test_a_carriage_return_within_a_line_ends_none(tmp_path: Path) -> None:
    """As `wc -l` and Moses's own scripts count lines."""
    (tmp_path / "a.en").write_bytes(b"one\rmore\r\ntwo\r\n")
    (tmp_path / "a.de").write_bytes(b"eins\nzwei")
    table = read_moses(tmp_path / "a", ("en", "de"), None)["train"]
    assert [*zip(table["text"], table["translation"], strict=True)] == [("one\rmore", "eins"), ("two", "zwei")]


def test_other_pairs_are_told_how_they_were_read_and_a_pair_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\ttranslation\n" + "one\teins\n" * 20)
    data = TextPairs(path=tmp_path / "a.tsv", valid=0.0, test=0.0)
    data.prepare()
    assert data.place("train", 2) == f"{tmp_path}/a.tsv, line 4"
    (tmp_path / "b.tsv").write_bytes("text\ttranslation\nfive of them\tfünf davon\n".encode("cp1252"))
    assert any("is no UTF-8 and read as cp1252" in remark for remark in data.on(tmp_path / "b.tsv").remarks())


def test_a_row_without_a_text_is_not_translated(tmp_path: Path) -> None:
    data = prepared(written(tmp_path / "a.jsonl"), valid=0.0, test=0.0)
    other = written(tmp_path / "b.jsonl", [("the first", ""), (None, "x")])
    (_, first), (_, second) = [*data.inputs(other)]  # type: ignore[misc]
    assert len(first()[0]) == 1
    with pytest.raises(LabwrightError, match=r"the row has no text\."):
        second()


def test_sides_that_a_tokenizer_knows_little_of_are_told(tmp_path: Path) -> None:
    rows = [(f"the {n} one of them", f"nur{n} hier{n}") for n in range(60)]
    (said,) = [remark for remark in prepared(written(tmp_path / "a.jsonl", rows)).remarks() if "know" in remark]
    assert "'word' doesn't know" in said and "of the translations of valid" in said and "of train" not in said


def test_texts_are_cut_and_rows_that_lack_a_side_are_left_out_and_told(tmp_path: Path) -> None:
    rows = [*ROWS, ("only this", ""), (None, "only that")]
    data = prepared(written(tmp_path / "pairs.jsonl", rows), length=4, valid=0.0, test=0.0, tokenizer="char")
    assert [f"{part.count} {part.what}" for part in data.left_out()] == ["1 row", "1 row"]
    assert any("cut to their first task.data.length=4 tokens" in remark for remark in data.remarks())
    split = data.split("train")
    assert split is not None and int(split.lengths.max()) == 4 and int(split.target_lengths.max()) == 5
    assert data.parse("abcdefgh")[0].shape == (1, 4) and "cut to the first 4" in data.noticed()[0]


def test_capitals_that_are_marked_are_written_as_capitals(tmp_path: Path) -> None:
    data = prepared(written(tmp_path / "pairs.jsonl"), case="mark", tokenizer="char", valid=0.0, test=0.0)
    split = data.split("train")
    assert split is not None
    batch = split.fetch(torch.tensor([1]), 0, 0)
    assert data.show(batch.inputs) == ["the Last number 0"]
    assert data.written(batch.targets[0].tolist()) == "Last numéro 0"


def test_what_was_learned_is_kept(tmp_path: Path) -> None:
    data = prepared(written(tmp_path / "pairs.jsonl"))
    (tmp_path / "kept").mkdir()
    data.save(tmp_path / "kept")
    other = TextPairs(path=tmp_path / "gone")
    other.load(tmp_path / "kept")
    assert other.ports() == data.ports() and isinstance(other.ports()[0], Tokens)
    assert torch.equal(other.parse("the first number 3")[0], data.parse("the first number 3")[0])
    assert data.parse("zebra")[0].tolist() == [[1]]  # not known


@pytest.mark.long
def test_a_translation_resumes_exactly_and_is_written_from_the_run_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "pairs.jsonl")
    small = [f"task.data.path={file}", "model.width=32", "model.depth=1", "train.batch_size=8", "log=[]"]
    whole = ["task.data.valid=0.0", "task.data.test=0.0"]
    experiment = lw.Experiment.from_recipe("nlp/translation", [*small, "train.epochs=2", "model.dropout=0.1"])
    assert verify_resume(experiment, 5).exact
    lw.Experiment.from_recipe("nlp/translation", [*small, "train.epochs=30", *whole]).run(tmp_path / "run")
    file.unlink()
    monkeypatch.setattr(sys, "argv", ["labwright", "predict", str(tmp_path / "run"), "--text", "the last number 7"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    assert told.out.startswith("the last number 7\tlast numéro ")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"path": "gone.jsonl"}, r"task\.data\.path: there is no file or folder"),
        ({"text": "english"}, "there is no column 'english'.* task.data.text says which one"),
        ({"translation": "translatoin"}, "there is no column 'translatoin'; did you mean 'translation'"),
        (
            {"tokenizer": "pretrained"},
            r"task\.data\.tokenizer: .pretrained. is the tokenizer of what the run starts from",
        ),
        ({"valid": 0.6, "test": 0.5}, "leave nothing to learn from"),
        ({"tokenizer": "bpe", "vocabulary": 100}, r"task\.data\.vocabulary: 'bpe' starts from 256 bytes"),
        ({"valid": 0.001}, "too few to hold out 0.001 of them: raise task.data.valid"),
    ],
)
def test_what_cannot_be_read_is_told(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    written(tmp_path / "pairs.jsonl")
    path = tmp_path / settings.pop("path", "pairs.jsonl")
    with pytest.raises(LabwrightError, match=words):
        prepared(path, **settings)


def of_authors(path: Path) -> Path:
    """60 pairs of 12 authors, with weights and days."""
    rows = [
        {"text": f"text {n}", "translation": f"texte {n} " * (1 + n % 3), "w": n % 4, "who": n % 12, "day": n * 7 % 60}
        for n in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numbers(data: Any, part: str) -> list[int]:
    split = data.split(part)
    return [int(text.split()[1]) for text in data.show(split.fetch(torch.arange(len(split)), 0, 0).inputs)]


def test_the_loss_is_the_mean_over_tokens_that_weigh_what_their_pair_does(tmp_path: Path) -> None:
    path = of_authors(tmp_path / "pairs.jsonl")
    task = SequenceToSequence(TextPairs(path=path, weight="w", valid=0.0, test=0.0))
    task.prepare()
    torch.manual_seed(0)
    model = Transformer(*task.ports(), width=8, depth=1, heads=1, dropout=0.0).double()
    train = task.data.split("train")
    assert train is not None
    batch = train.fetch(torch.arange(8), 0, 0)
    assert isinstance(batch, WeightedBatch) and batch.weights.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    criterion = CrossEntropy()

    nats, tokens = [], []
    for row in range(8):  # each pair alone, and without its weight
        alone = train.fetch(torch.tensor([row]), 0, 0)
        tokens.append(int((alone.targets != lw.LEFT_OUT).sum()))
        nats.append(task.loss(model, lw.Batch(alone.inputs, alone.targets), criterion, "train") * tokens[-1])
    weighed = sum(weight * of_pair for weight, of_pair in zip(batch.weights.tolist(), nats, strict=True))
    total = sum(weight * count for weight, count in zip(batch.weights.tolist(), tokens, strict=True))
    torch.testing.assert_close(task.loss(model, batch, criterion, "train"), weighed / total)
    assert task.weight(batch) == total and task.evaluate(model, batch)["tokens"] == sum(tokens)

    nothing = train.fetch(torch.tensor([0, 4]), 0, 0)
    loss = task.loss(model, nothing, criterion, "train")
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert float(loss.detach()) == 0 and gradients and not any(bool(gradient.any()) for gradient in gradients)


def test_a_weighted_translation_accumulates_as_one_batch(tmp_path: Path) -> None:
    path, losses = of_authors(tmp_path / "pairs.jsonl"), []
    for accumulate in (1, 4):
        experiment = lw.Experiment(
            task={"name": "sequence-to-sequence", "data": {"name": "nlp/text-pairs", "path": str(path), "weight": "w"}},
            model={"name": "nlp/transformer", "width": 8, "depth": 1, "heads": 1, "dropout": 0.0},
            loss="cross-entropy",
            optimizer="adamw",
            device={"name": "cpu", "accumulate": accumulate},
            train={"steps": 2, "batch_size": 16, "seed": 0},
            log=[],
        )
        experiment.run(tmp_path / str(accumulate))
        lines = (tmp_path / str(accumulate) / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines if '"loss"' in line])
    assert losses[0] and losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_pairs_of_a_group_stay_together_and_the_latest_are_held_out(tmp_path: Path) -> None:
    path = of_authors(tmp_path / "pairs.jsonl")
    data = prepared(path, group="who", tokenizer="char", valid=0.25, test=0.25)
    authors = {part: {n % 12 for n in numbers(data, part)} for part in ("train", "valid", "test")}
    assert sum(map(len, authors.values())) == len(set.union(*authors.values())) == 12
    data = prepared(path, time="day", tokenizer="char", valid=0.2, test=0.2)
    days = {part: sorted(n * 7 % 60 for n in numbers(data, part)) for part in ("train", "valid", "test")}
    assert days == {"train": [*range(36)], "valid": [*range(36, 48)], "test": [*range(48, 60)]}
    pairs = TextPairs(path=path, group="who", tokenizer="char", valid=0.0, test=0.0)
    fold = Fold(pairs, number=1, of=3, valid=0.0)
    fold.prepare()
    authors = {part: {n % 12 for n in numbers(fold, part)} for part in ("train", "test")}
    assert len(authors["test"]) == 4 and not authors["train"] & authors["test"]
    with pytest.raises(LabwrightError, match="there is no column 'whom'; did you mean 'who'"):
        prepared(path, group="whom")
