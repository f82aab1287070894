"""Labelled texts: what a file says, what is held out, what a batch holds, and what is kept for predictions."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from labwright import Classes, LabwrightError, LeftOut, Tokens
from labwright_nlp.data.languages import LOCALES, Languages
from labwright_nlp.data.text_files import TextFiles
from labwright_nlp.data.texts import Texts

Write = Callable[..., Path]
ROWS = [("good, very good", "1"), ('bad\n"quoted"', "0"), ("good and bad", "1"), ("never again", "0")]


def prepared(path: Path, **settings: Any) -> TextFiles:
    data = TextFiles(path=path, **{"valid": 0.0, "test": 0.0} | settings)
    data.prepare()
    return data


def shown(data: Texts, part: str) -> list[str]:
    split = data.split(part)
    return [] if split is None else data.show(split.fetch(torch.arange(len(split)), 0, 0).inputs)


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, write: Write) -> None:
    plain = write("plain.jsonl", ROWS)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("label", "id", "text"), *((b, 7, a) for a, b in ROWS)])
    with (tmp_path / "table.tsv").open("w", newline="", encoding="utf-16") as file:  # quoted in the header, as R does
        tabs = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        tabs.writerows([("label", "id", "text"), *((b, 7, a) for a, b in ROWS)])
    (tmp_path / "latin.csv").write_text("text,label\nGröße,1\nklein,0\n", encoding="latin-1")
    for name in ("plain.jsonl", "packed.jsonl.gz", "table.csv", "table.tsv"):
        data = prepared(tmp_path / name, tokenizer="byte")
        split = data.split("train")
        assert split is not None
        assert shown(data, "train") == [text for text, _ in ROWS], name
        assert data.ports()[1] == Classes(("0", "1")) and split.labels.tolist() == [1, 0, 1, 0]
    assert shown(prepared(tmp_path / "latin.csv", tokenizer="byte", encoding="latin-1"), "train") == ["Größe", "klein"]


def test_a_file_that_is_asked_is_read_in_the_encoding_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n\u0434\u0430,1\n\u043d\u0435\u0442,0\n", encoding="koi8-r")
    (tmp_path / "asked.txt").write_text("\u043d\u0435\u0442", encoding="koi8-r")
    data = prepared(tmp_path / "rows.csv", tokenizer="char", encoding="koi8-r")
    assert [data.show(data.read(tmp_path / "asked.txt"))] == [["\u043d\u0435\u0442"]]


def test_a_folder_has_a_file_for_each_part_and_what_is_missing_is_held_out(tmp_path: Path, write: Write) -> None:
    rows = [(f"text {number}", number % 2) for number in range(40)]
    write("set/train.jsonl", rows)
    write("set/dev.jsonl", rows[:6])
    write("set/notes.csv", [])
    data = prepared(tmp_path / "set", valid=0.3, test=0.25)
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [30, 6, 10]
    assert prepared(tmp_path / "set").split("test") is None


def test_equal_texts_of_a_class_are_never_on_both_sides(write: Write) -> None:
    rows = [(f"text {number}", label) for number in range(30) for label in ("a", "b") for _ in range(1 + number % 4)]
    data = prepared(write("rows.jsonl", rows), tokenizer="byte", valid=0.2, test=0.1)
    parts = [set(shown(data, part)) for part in ("train", "valid", "test")]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 30
    assert sum(len(data.split(part) or ()) for part in ("train", "valid", "test")) == len(rows)


def test_shares_are_held_out_of_each_class_and_come_in_any_order(tmp_path: Path, write: Write) -> None:
    rows = [(f"text {number}", "rare" if number % 5 == 0 else "usual") for number in range(200)]
    data = prepared(write("rows.jsonl", rows), tokenizer="byte", valid=0.2, test=0.1)
    counts = {part: data.split(part).labels.bincount().tolist() for part in ("train", "valid", "test")}  # type: ignore
    assert counts == {"train": [28, 112], "valid": [8, 32], "test": [4, 16]}
    parts = [set(shown(data, part)) for part in ("train", "valid", "test")]
    assert len(set.union(*parts)) == 200
    more = prepared(write("more.jsonl", [*rows[::-1], ("another", "rare")]), tokenizer="byte", valid=0.2, test=0.1)
    moved = sum(
        len(part - set(shown(more, name))) for name, part in zip(("train", "valid", "test"), parts, strict=True)
    )
    assert moved <= 2  # at most one at each border between parts


def test_a_batch_is_as_long_as_its_longest_text_and_padded_behind(write: Write) -> None:
    data = prepared(write("rows.jsonl", [("a b c d e", "x"), ("b", "y"), ("c a", "x")]), length=4)
    assert data.ports() == (Tokens(7, 4, 0), Classes(("x", "y")))
    batch = data.split("train").fetch(torch.tensor([0, 1, 2]), 0, 0)  # type: ignore[union-attr]
    assert batch.inputs[0].tolist() == [[2, 3, 4, 5], [3, 0, 0, 0], [4, 2, 0, 0]]  # cut to 4; by frequency, then name
    assert batch.inputs[1].tolist() == [4, 1, 2] and batch.targets.tolist() == [0, 1, 0]
    short = data.split("train").fetch(torch.tensor([2, 1]), 0, 0)  # type: ignore[union-attr]
    assert short.inputs[0].shape == (2, 2)


def test_a_text_without_a_known_token_is_one_unknown_token(write: Write) -> None:
    for kind in ("word", "char"):
        data = prepared(write("rows.jsonl", [("a b", "x"), ("b c", "y")]), tokenizer=kind)
        assert [one.tolist() for one in data.parse("")] == [[[1]], [1]]
        assert [one.tolist() for one in data.parse("Ω")] == [[[1]], [1]]


def test_labels_that_are_numbers_are_in_the_order_of_numbers(write: Write) -> None:
    data = prepared(write("rows.jsonl", [("a", 10), ("b", 9), ("c", -1), ("d", True), ("e", "x")]))
    assert data.ports()[1] == Classes(("-1", "9", "10", "true", "x"))


def test_marked_capitals_share_their_letters_with_small_ones_and_are_shown_as_written(write: Write) -> None:
    data = prepared(write("rows.jsonl", [("Oslo", "x"), ("SOLO", "y"), ("olso", "y")]), tokenizer="char", case="mark")
    assert data.ports()[0] == Tokens(6, 128, 0)  # padding, unknown, the mark, and l, o, s
    assert sorted(shown(data, "train")) == ["Oslo", "SOLO", "olso"]
    assert data.parse("oSLO")[1].item() == 7


def test_a_pretrained_tokenizer_takes_no_marks(tmp_path: Path) -> None:
    with pytest.raises(
        LabwrightError, match=r"task\.data\.case: a pretrained tokenizer knows no marks; set case='keep'"
    ):
        TextFiles(path=tmp_path, tokenizer="pretrained", pretrained=tmp_path, case="mark").prepare()


def test_what_was_learned_is_enough_for_predictions(fruits: Path, tmp_path: Path) -> None:
    data = prepared(fruits, case="lower")
    (tmp_path / "kept").mkdir()
    data.save(tmp_path / "kept")
    again = TextFiles(path=tmp_path / "gone", case="lower")
    again.load(tmp_path / "kept")
    assert again.ports() == data.ports()
    for a, b in zip(again.parse("A ripe PLUM, isn't it"), data.parse("a ripe plum, isn't it"), strict=True):
        assert torch.equal(a, b)
    (tmp_path / "one.txt").write_text("a ripe plum")
    assert torch.equal(again.read(tmp_path / "one.txt")[0], data.parse("a ripe plum")[0])
    assert {path.suffix for path in (tmp_path / "kept").iterdir()} == {".json"}


def test_names_in_30_languages_are_each_of_one_language_and_in_one_part() -> None:
    data = Languages()
    data.prepare()
    assert data.ports()[1] == Classes(tuple(sorted(LOCALES))) and len(LOCALES) == 30
    parts = {part: len(data.split(part) or ()) for part in ("train", "valid", "test")}
    whole = sum(parts.values())
    assert abs(parts["test"] / whole - 0.1) < 0.002 and abs(parts["valid"] / whole - 0.1) < 0.002
    shown_names = {text for part in parts for text in shown(data, part)}
    assert "deutschland" in shown_names and "panama" not in shown_names  # which many languages share
    again = Languages(valid=0.0)
    again.prepare()
    assert torch.equal(again.split("test").labels, data.split("test").labels)  # type: ignore[union-attr]
    assert shown(again, "test") == shown(data, "test")
    other = Languages(valid=0.0, seed=1)
    other.prepare()
    both = set(shown(other, "test")) & set(shown(data, "test"))
    assert len(both) < 0.15 * parts["test"]  # by chance: a tenth


def test_a_dataset_of_the_hub_is_read_from_a_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from labwright_nlp.data.hub import Datasets

    labels = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"sentence": datasets.Value("string"), "label": labels})
    made = {
        name: datasets.Dataset.from_dict(
            {"sentence": [f"{name} {number}" for number in range(size)], "label": [n % 2 for n in range(size)]},
            features=features,
        )
        for name, size in (("train", 20), ("validation", 4), ("test", 6))
    }
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "whole"))
    made["train"].save_to_disk(str(tmp_path / "part"))
    data = Datasets(dataset=str(tmp_path / "whole"), text="sentence", tokenizer="byte")
    data.prepare()
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [20, 4, 6]
    assert data.ports()[1] == Classes(("bad", "good")) and shown(data, "valid")[3] == "validation 3"
    alone = Datasets(dataset=str(tmp_path / "part"), text="sentence", valid=0.2, test=0.1)
    alone.prepare()
    assert [len(alone.split(part) or ()) for part in ("train", "valid", "test")] == [14, 4, 2]
    with pytest.raises(LabwrightError, match=r"no column 'text'.*label, sentence; task\.data\.text"):
        Datasets(dataset=str(tmp_path / "whole")).prepare()
    with pytest.raises(LabwrightError, match=r"there is no folder .*nowhere"):
        Datasets(dataset=str(tmp_path / "nowhere")).prepare()


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 1] * 20, ("0", "1")),
        ([1.0, 0.0] * 20, ("0", "1")),
        ([True, False] * 20, ("false", "true")),
        (["good", "bad "] * 20, ("bad", "good")),
        ([None, *[0, 1] * 19, 1], ("0", "1")),
    ],
)
def test_labels_of_the_hub_are_read_as_those_of_files(
    labels: list[Any], names: tuple[str, ...], tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    from labwright_nlp.data.hub import Datasets

    made = datasets.Dataset.from_dict({"text": [f"text {number}" for number in range(40)], "label": labels})
    made.save_to_disk(str(tmp_path / "hub"))
    data = Datasets(dataset=str(tmp_path / "hub"))
    data.prepare()
    assert data.ports()[1] == Classes(names)
    origin = f"dataset {str(tmp_path / 'hub')!r}, split 'train', row 0"
    assert data.left_out() == [LeftOut(1, "row", f"no label, as in {origin}")] * labels.count(None)


def test_a_part_whose_labels_are_secret_is_held_out_of_the_others_and_splits_of_other_names_are_counted(
    tmp_path: Path,
) -> None:
    datasets = pytest.importorskip("datasets")
    from labwright_nlp.data.hub import Datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    made = {
        name: datasets.Dataset.from_dict(
            {"text": [f"{name} {n}" for n in range(20)], "label": labels}, features=features
        )
        for name, labels in (
            ("train", [0, 1] * 10),
            ("dev", [1, 0] * 10),
            ("test", [-1] * 20),  # as the hub marks them
            ("unsupervised", [-1] * 20),
        )
    }
    datasets.DatasetDict(made).save_to_disk(str(tmp_path / "hub"))
    data = Datasets(dataset=str(tmp_path / "hub"), tokenizer="byte")
    data.prepare()
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [18, 20, 2]
    assert all(text.startswith("train") for text in shown(data, "test"))
    assert data.left_out() == [
        LeftOut(20, "rows", "no label in any of split 'test'"),
        LeftOut(20, "rows", "of no part's name, split 'unsupervised'"),
    ]


def test_a_dataset_out_of_reach_is_told_in_the_librarys_words(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    from labwright_nlp.data.hub import Datasets

    def unreachable(*arguments: object) -> None:
        raise ConnectionError("Couldn't reach 'imdb' on the Hub\n  File ...")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    words = r"^task\.data\.dataset: 'imdb' can't be loaded: ConnectionError: Couldn't reach 'imdb' on the Hub\. It is"
    with pytest.raises(LabwrightError, match=words):
        Datasets(dataset="imdb").prepare()


def test_the_shared_film_reviews_are_read_whole(polarity: Path) -> None:
    data = prepared(polarity, case="lower", length=64)
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [8530, 1066, 1066]  # its SOURCE.md
    assert (
        json.loads(gzip.decompress((polarity / "test.jsonl.gz").read_bytes()).splitlines()[0])["text"].split()[0]
        in shown(data, "test")[0]
    )
