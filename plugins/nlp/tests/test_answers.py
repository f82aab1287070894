"""What is said of texts: numbers, several labels, rows without any; and texts of several columns."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from labwright import LEFT_OUT, Classes, Heads, LabwrightError, LeftOut, Values
from labwright_nlp.data.text_files import TextFiles
from labwright_tasks.answers import several

ROWS = [
    {"title": f"t{n}", "body": f"body {n}", "score": n / 2, "good": n % 2, "kind": None if n % 5 == 0 else "abc"[n % 3]}
    for n in range(40)
]


def prepared(folder: Path, rows: list[dict[str, Any]] = ROWS, **settings: Any) -> TextFiles:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = TextFiles(
        path=folder / "rows.jsonl", **{"text": "body", "label": "good", "valid": 0.0, "test": 0.0} | settings
    )
    data.prepare()
    return data


def shown(data: TextFiles, count: int) -> list[str]:
    split = data.split("train")
    assert split is not None
    return data.show(split.fetch(torch.arange(count), 0, 0).inputs)


def test_several_columns_are_put_together(tmp_path: Path) -> None:
    data = prepared(tmp_path, text=("title", "body"))
    assert shown(data, 2) == ["t0 body 0", "t1 body 1"]
    rows = [{"title": None, "body": "alone", "good": 1}, {"title": "", "body": " ", "good": 0}, *ROWS]
    data = prepared(tmp_path, rows, text=("title", "body"))
    assert data.left_out() == [LeftOut(1, "row", f"no text title or text body, as in {tmp_path}/rows.jsonl, line 2")]
    assert len(data.split("train") or ()) == 41


@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe", "wordpiece", "unigram"])
def test_between_a_pair_stands_a_mark(tmp_path: Path, tokenizer: str) -> None:
    data = prepared(tmp_path, text=("title", "body"), pair=True, tokenizer=tokenizer, vocabulary=400)
    assert shown(data, 1) == ["t0 | body 0"]
    typed, read = data.parse("t0\tbody 0")[0], data.split("train").fetch(torch.tensor([0]), 0, 0).inputs[0]  # type: ignore[union-attr]
    assert torch.equal(typed, read)
    with pytest.raises(LabwrightError, match="a pair is two texts with a tab between them"):
        data.parse("t0 body 0")


def test_pairs_of_a_table_are_asked_as_they_were_learned(tmp_path: Path) -> None:
    rows = [{**row, "body": f"a\ttab {number}"} for number, row in enumerate(ROWS)]
    data = prepared(tmp_path, rows, text=("title", "body"), pair=True)
    asked = [read for _, read in data.inputs(tmp_path / "rows.jsonl") or ()]
    assert torch.equal(asked[0]()[0], data.split("train").fetch(torch.tensor([0]), 0, 0).inputs[0])  # type: ignore[union-attr]
    (tmp_path / "bare.jsonl").write_text('{"title": "t0", "body": ""}\n')
    ((_, read),) = [*data.inputs(tmp_path / "bare.jsonl")]  # type: ignore[misc]
    with pytest.raises(LabwrightError, match="lacks one of the two texts of a pair"):
        read()


def test_numbers_are_read_as_they_are(tmp_path: Path) -> None:
    data = prepared(tmp_path, label="score", targets="numbers", test=0.25)
    assert data.target is Values and data.ports()[1] == Values(1)
    found = [float(value) for part in ("train", "test") for value in data.split(part).labels]  # type: ignore[union-attr]
    assert sorted(found) == [row["score"] for row in ROWS] and len(data.split("test")) == 10  # type: ignore[arg-type]
    with pytest.raises(LabwrightError, match=r"jsonl, line 2: the label is 'b'; with task\.data\.targets=numbers"):
        prepared(tmp_path, label="kind", targets="numbers")
    kept = TextFiles(path=Path("gone"), label="score", targets="numbers")
    data.save(tmp_path)
    kept.load(tmp_path)
    assert kept.ports() == data.ports()


def test_several_columns_of_labels_are_heads(tmp_path: Path) -> None:
    data = prepared(tmp_path, label=("good", "kind"))
    assert data.target is Heads
    assert data.ports()[1] == Heads({"good": Classes(("0", "1")), "kind": Classes(("a", "b", "c"))})
    targets = data.split("train").fetch(torch.arange(6), 0, 0).targets  # type: ignore[union-attr]
    assert targets["good"].tolist() == [0, 1, 0, 1, 0, 1]
    assert targets["kind"].tolist() == [LEFT_OUT, 1, 2, 0, 1, LEFT_OUT]
    kept = TextFiles(path=Path("gone"), label=("good", "kind"))
    data.save(tmp_path)
    kept.load(tmp_path)
    assert kept.ports() == data.ports()


def test_rows_without_a_label_are_left_out_or_kept(tmp_path: Path) -> None:
    data = prepared(tmp_path, label="kind")
    assert data.left_out() == [LeftOut(8, "rows", f"no label, as in {tmp_path}/rows.jsonl, line 1")]
    kept = prepared(tmp_path, label="kind", unlabelled="keep")
    labels = kept.split("train").labels  # type: ignore[union-attr]
    assert len(labels) == 40 and int((labels == LEFT_OUT).sum()) == 8
    with pytest.raises(LabwrightError, match="no row to learn from has a label"):
        prepared(tmp_path, [{"body": "a", "good": None}] * 4, unlabelled="keep")


def test_many_short_texts_take_a_few_times_their_file_in_memory(tmp_path: Path) -> None:
    words = [f"{letter}{number}" for letter in "abcdefgh" for number in range(500)]
    rows = (" ".join(words[(n * 7919 + k * 104_729) % 4000] for k in range(4 + n % 10)) for n in range(8_000))
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(f"{row},{n % 5}\n" for n, row in enumerate(rows)))
    prepared(tmp_path)  # what is imported and learned once
    tracemalloc.start()
    data = TextFiles(path=file)
    data.prepare()
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = file.stat().st_size
    assert len(data.split("train") or ()) > 6_000
    assert most < 6 * size and kept < 3 * size, (most / size, kept / size)


GENRES: list[dict[str, Any]] = [
    {"plot": f"plot number {n}", "genres": [name for name in ("war", "love", "sci.fi") if n % (2 + len(name)) == 0]}
    for n in range(60)
]


def of_genres(folder: Path, name: str, **settings: Any) -> TextFiles:
    data = TextFiles(
        path=folder / name,
        **{"text": "plot", "label": "genres", "targets": "several", "valid": 0.0, "test": 0.0} | settings,
    )
    data.prepare()
    return data


def labels(data: TextFiles, part: str = "train") -> dict[str, list[int]]:
    split = data.split(part)
    assert split is not None and isinstance(split.labels, dict)
    return {head: values.tolist() for head, values in split.labels.items()}


def test_several_labels_in_a_cell_are_heads_whatever_the_file(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GENRES))
    cells = [f"{row['plot']},{' ; '.join(row['genres'])}" for row in GENRES]
    (tmp_path / "rows.csv").write_text("\n".join(["plot,genres", *cells]) + "\n")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(GENRES), tmp_path / "rows.parquet")
    expected = {name: [int(n % (2 + len(name)) == 0) for n in range(60)] for name in ("love", "sci.fi", "war")}
    for name in ("rows.jsonl", "rows.csv", "rows.parquet"):
        data = of_genres(tmp_path, name, unlabelled="negative")
        assert data.target is Heads
        assert labels(data) == {"love": expected["love"], "sci-fi": expected["sci.fi"], "war": expected["war"]}
        assert data.left_out() == []


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("war;love", ["war", "love"]),
        ('["war", "love", null]', ["war", "love"]),
        ("['war', 'love', None]", ["war", "love"]),  # as pandas writes lists into CSV
        ("[1, 2.0, 1]", ["1", "2"]),
        ("[draft];love", ["[draft]", "love"]),
        ("['war", ["['war"]),
        ("[]", []),
    ],
)
def test_a_list_in_a_cell_is_read_however_it_is_written(cell: str, labels: list[str]) -> None:
    assert several(cell, ";") == labels


def test_texts_without_any_of_several_labels_are_left_out_kept_or_have_none(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in GENRES))
    bare = sum(not row["genres"] for row in GENRES)
    left_out = of_genres(tmp_path, "rows.jsonl")
    assert [(part.count, part.what) for part in left_out.left_out()] == [(bare, "rows")]
    assert len(labels(left_out)["war"]) == 60 - bare
    kept = of_genres(tmp_path, "rows.jsonl", unlabelled="keep")
    assert labels(kept)["war"].count(LEFT_OUT) == bare
    with pytest.raises(LabwrightError, match=r"'negative' says that a text has none of task\.data\.targets=several"):
        TextFiles(path=tmp_path / "rows.jsonl", unlabelled="negative")


def test_labels_that_no_text_to_learn_from_has_are_counted(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("plot,genres\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20)))
    (tmp_path / "new.csv").write_text("plot,genres\nnew,a;c\nother,b;c\n")
    data = of_genres(tmp_path, "rows.csv")
    other = data.on(tmp_path / "new.csv")
    assert labels(other, "test") == {"a": [1, 0], "b": [0, 1]}
    assert other.left_out() == [LeftOut(2, "labels", "no row to learn from has c")]


def test_weights_groups_and_times_of_texts(tmp_path: Path) -> None:
    rows = [
        {"body": f"body {n}", "good": n % 2, "w": n / 4, "who": n % 12, "when": f"2024-01-{1 + n % 28:02d}"}
        for n in range(80)
    ]
    data = prepared(tmp_path, rows, weight="w", group="who", test=0.25)
    train, test = data.split("train"), data.split("test")
    assert train is not None and test is not None
    assert not set(train.groups.tolist()) & set(test.groups.tolist())  # type: ignore[attr-defined]
    assert not data.independent and prepared(tmp_path, rows).independent  # rows of a group are alike
    batch = train.fetch(torch.tensor([0, 1]), 0, 0)
    assert torch.equal(batch.weights, train.weights[:2])  # type: ignore[attr-defined]
    data = prepared(tmp_path, rows, time="when", test=0.25)
    assert data.split("train").times.max() < data.split("test").times.min()  # type: ignore[union-attr]
    pairs = prepared(tmp_path, rows, text=("body", "who"), pair=True, weight="w", time="when", test=0.25)
    weights = pairs.split("train").weights  # type: ignore[union-attr]
    assert {f"body {round(4 * float(w))} | {round(4 * float(w)) % 12}" for w in weights} == {
        *shown(pairs, len(weights))
    }
    rows[3]["w"] = -1
    with pytest.raises(LabwrightError, match=r"rows\.jsonl, line 4: the weight is '-1'"):
        prepared(tmp_path, rows, weight="w")


def test_how_texts_to_predict_for_were_read_is_told(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    (tmp_path / "new.csv").write_text("id;body\n1;one more\n2;and another\n")
    assert len(list(data.inputs(tmp_path / "new.csv") or ())) == 2
    assert any("read with semicolons between cells" in sentence for sentence in data.noticed())
