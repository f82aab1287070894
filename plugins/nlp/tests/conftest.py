"""What the tests share: the data kept beside the repository, and small files of labelled texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


def shared(name: str, file: str) -> Path:
    folder = SHARED / name
    if not (folder / file).is_file():
        pytest.skip(f"needs {folder / file}, which is kept beside the repository, not in it")
    return folder


@pytest.fixture
def polarity() -> Path:
    """10,662 sentences of film reviews: train, valid and test as jsonl.gz."""
    return shared("mr_polarity", "train.jsonl.gz")


@pytest.fixture
def shakespeare() -> Path:
    """1,115,394 characters of plays."""
    return shared("tiny_shakespeare", "input.txt.gz") / "input.txt.gz"


@pytest.fixture
def wnut17() -> Path:
    """5,690 sentences with tags of entities (Derczynski et al. 2017): train, valid and test as jsonl.gz."""
    return shared("wnut17_ner", "train.jsonl.gz")


@pytest.fixture
def xquad() -> Path:
    """1,190 questions about 240 texts (Artetxe et al. 2020): train and test as jsonl.gz."""
    return shared("xquad_en", "train.jsonl.gz")


@pytest.fixture
def multi30k() -> Path:
    """31,014 captions in English and German (Elliott et al. 2016): train, valid and test as jsonl.gz."""
    return shared("multi30k_en_de", "train.jsonl.gz")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write("train.jsonl", [("a text", "its label"), ...])`: a file of labelled texts below tmp_path."""

    def written(name: str, rows: Sequence[tuple[str, object]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return written


@pytest.fixture
def fruits(write: Callable[..., Path]) -> Path:
    """90 short texts of three classes that a word tells apart."""
    names = ("apple", "pear", "plum")
    rows = [(f"number {number} is a ripe {names[number % 3]} !", names[number % 3]) for number in range(90)]
    return write("fruits.jsonl", rows)
