"""Folds of texts: a vocabulary knows nothing of what its fold holds out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from labwright import Data, Experiment, LabwrightError
from labwright_nlp.data.parquet_texts import ParquetTexts
from labwright_nlp.data.text_files import TextFiles
from labwright_nlp.data.text_pairs import TextPairs
from labwright_tasks.fold_data import Fold
from labwright_tasks.weights import WeightedBatch

NAMES = ("apple", "pear", "plum")
ROWS = [(f"number {number} is a ripe {NAMES[number % 3]}", NAMES[number % 3]) for number in range(60)]


def fold_of(data: Data) -> Fold:
    fold = Fold(data, number=1, of=3, by="nothing", valid=0.2)
    fold.prepare()
    return fold


def rows_of(fold: Fold, part: str) -> list[int]:
    split = fold.split(part)
    assert split is not None
    return split.rows.tolist()


def written_with(path: Path, poisoned: list[int], keys: tuple[str, str]) -> Path:
    rows = [
        (f"{text} poison{row}", label) if row in poisoned else (text, label) for row, (text, label) in enumerate(ROWS)
    ]
    if path.suffix == ".parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        texts, labels = zip(*rows, strict=True)
        parquet.write_table(pyarrow.table(dict(zip(keys, (texts, labels), strict=True))), path, row_group_size=7)
    else:
        path.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows))
    return path


def texts(path: Path, **settings: Any) -> Data:
    return TextFiles(path=path, valid=0.0, test=0.0, **settings)


def grouped(path: Path, **settings: Any) -> Data:
    return ParquetTexts(path=path, valid=0.0, test=0.0, **settings)


def pairs(path: Path, **settings: Any) -> Data:
    return TextPairs(path=path, valid=0.0, test=0.0, **settings)


@pytest.mark.parametrize(
    ("make", "file", "keys"),
    [
        (texts, "texts.jsonl", ("text", "label")),
        (grouped, "texts.parquet", ("text", "label")),
        (pairs, "pairs.jsonl", ("text", "translation")),
    ],
)
@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe", "wordpiece", "unigram"])
def test_words_of_what_is_held_out_are_in_no_vocabulary(
    make: Callable[..., Data], file: str, keys: tuple[str, str], tokenizer: str, tmp_path: Path
) -> None:
    def kept(data: Data, name: str) -> dict[str, str]:
        folder = tmp_path / name
        folder.mkdir()
        data.save(folder)
        names = ("tokenizer.json", "characters.json")
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.name in names}

    clean = fold_of(make(written_with(tmp_path / file, [], keys), tokenizer=tokenizer, vocabulary=300))
    held_out = [row for part in ("valid", "test") for row in rows_of(clean, part)]
    poisoned = fold_of(make(written_with(tmp_path / file, held_out, keys), tokenizer=tokenizer, vocabulary=300))
    assert rows_of(poisoned, "train") == rows_of(clean, "train") and len(held_out) > 20
    vocabulary = kept(clean, "clean")
    assert vocabulary and kept(poisoned, "poisoned") == vocabulary

    # without folds the same words are learned, so that the test can tell
    whole = make(tmp_path / file, tokenizer=tokenizer, vocabulary=300)
    whole.prepare()
    assert kept(whole, "whole") != vocabulary


def test_samples_stay_where_they_were_and_what_is_new_to_a_fold_is_unknown(tmp_path: Path) -> None:
    path = written_with(tmp_path / "texts.jsonl", [], ("text", "label"))
    fold = fold_of(texts(path))
    test = fold.split("test")
    assert test is not None
    batch = test.fetch(torch.arange(len(test)), 0, 0)
    for row, shown, label in zip(rows_of(fold, "test"), fold.show(batch.inputs), batch.targets.tolist(), strict=True):
        # each number is in one text alone, so that no fold has seen those it holds out
        assert shown == ROWS[row][0].replace(f"number {row} ", "number <unk> ")
        assert NAMES[label] == ROWS[row][1]


def test_what_is_left_out_is_known_although_the_texts_are_read_again(tmp_path: Path) -> None:
    for part, labels in (("train", [["sweet"], ["sour"]]), ("valid", [["sweet", "bitter"], ["sour"]])):
        rows = [{"text": f"{part} {row}", "label": labels[row % 2]} for row in range(20)]
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = TextFiles(path=tmp_path, targets="several", test=0.0)
    data.prepare()
    before = data.left_out()
    assert [(part.count, part.why) for part in before] == [(10, "no row to learn from has bitter")]
    data.checks()
    assert data.left_out() == before
    assert fold_of(TextFiles(path=tmp_path, targets="several", test=0.0)).left_out() == before


def test_weights_groups_and_several_labels_go_together_in_a_fold(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"text": f"{name} {row}", "label": [name], "sure": row % 4, "author": row // 5}
        for row, (_, name) in enumerate(ROWS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = TextFiles(path=path, targets="several", weight="sure", group="author", valid=0.0, test=0.0)
    fold = Fold(data, number=1, of=3, valid=0.25)
    fold.prepare()
    authors = {part: {row // 5 for row in rows_of(fold, part)} for part in ("train", "valid", "test")}
    assert sum(map(len, authors.values())) == len(set.union(*authors.values())) == 12
    train = fold.split("train")
    assert train is not None
    batch = train.fetch(torch.arange(len(train)), 0, 0)
    assert isinstance(batch, WeightedBatch)
    assert batch.weights.tolist() == [row % 4 for row in rows_of(fold, "train")]
    assert batch.targets["plum"].tolist() == [int(row % 3 == 2) for row in rows_of(fold, "train")]


def test_texts_to_learn_from_that_weigh_nothing_are_refused_whatever_others_weigh(tmp_path: Path) -> None:
    for part, weight in (("train", 0), ("test", 1)):
        rows = [{"text": f"{part} {row}", "label": NAMES[row % 2], "sure": weight} for row in range(10)]
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(LabwrightError, match=r"train\.jsonl: no row to learn from weighs more than 0"):
        TextFiles(path=tmp_path, weight="sure", valid=0.0).prepare()


def test_folds_of_pairs_are_what_a_task_of_pairs_learns_from(tmp_path: Path) -> None:
    path = written_with(tmp_path / "pairs.jsonl", [], ("text", "translation"))
    data = {"name": "fold", "number": 1, "of": 3, "data": {"name": "nlp/text-pairs", "path": str(path), "test": 0.0}}
    outcome = Experiment(
        task={"name": "sequence-to-sequence", "data": data},
        model={"name": "nlp/transformer", "width": 8, "depth": 1, "heads": 1},
        loss="cross-entropy",
        optimizer="adamw",
        train={"steps": 1},
    ).run(tmp_path / "run")
    assert {"cross_entropy", "exact_match"} <= outcome.metrics["test"].keys()
