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


@pytest.mark.parametrize("tokenizer", ["word", "char", "bpe"])
def test_between_a_pair_stands_a_mark(tmp_path: Path, tokenizer: str) -> None:
    data = prepared(tmp_path, text=("title", "body"), pair=True, tokenizer=tokenizer, vocabulary=400)
    assert shown(data, 1) == ["t0 | body 0"]
    typed, read = data.parse("t0\tbody 0")[0], data.split("train").fetch(torch.tensor([0]), 0, 0).inputs[0]  # type: ignore[union-attr]
    assert torch.equal(typed, read)
    with pytest.raises(LabwrightError, match="a pair is two texts with a tab between them"):
        data.parse("t0 body 0")


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
