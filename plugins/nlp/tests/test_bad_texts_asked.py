"""What a person can get wrong in asking a run about texts: each slip is told why, exit code 2, no traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import labwright as lw
import pytest
from slips_of_texts import CSV, GOOD, labelled, running, told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of texts with labels, and one of running text."""
    folder = tmp_path_factory.mktemp("runs")
    args = labelled(GOOD, "train.epochs=1")(folder)
    lw.Experiment.from_recipe(args[1], args[2:]).run(folder / "labels")
    args = running(
        "To be, or not to be. " * 50,
        "train.steps=2",
        "train.epochs=",
        "model.depth=1",
        "model.width=16",
        "task.data.context=8",
    )(folder)
    lw.Experiment.from_recipe(args[1], args[2:]).run(folder / "running")
    return folder


ASKED: dict[str, tuple[str, Callable[[Path], list[str]], str]] = {
    # what it is: (the run, what is asked, a pattern of the message)
    "a file that isn't there": ("labels", lambda here: ["no.txt"], r"there is no file or folder 'no\.txt'"),
    "a table": ("labels", lambda here: [wrote(here / "a.csv", CSV)], r"a\.csv is a table\. A file is read as one text"),
    "an empty file": ("labels", lambda here: [wrote(here / "a.txt", "\n")], r"a\.txt has no text in it"),
    "a document": (
        "labels",
        lambda here: [wrote(here / "a.pdf", b"%PDF\x00\xff")],
        r"a\.pdf, .* It seems to be no text",
    ),
    "a file of Windows": (
        "labels",
        lambda here: [wrote(here / "a.txt", b"it\x92s")],
        r"It may be cp1252: convert it by",
    ),
    "a folder without texts": (
        "labels",
        lambda here: [str(folder_of(here, "a.md", ".b.txt"))],
        r"no file that TextFiles",
    ),
    "bytes that are no UTF-8": (
        "labels",
        lambda here: ["--text", os.fsdecode(b"na\xefve")],
        r"has bytes that are no UTF-8",
    ),
    "another option": ("labels", lambda here: ["--txt", "fine"], r"no option --txt; did you mean 'text'"),
    "no text": ("labels", lambda here: ["--text", ""], r"--text needs a text"),
    "an empty prompt": ("running", lambda here: ["--prompt", ""], r"--prompt needs a text"),
    "a prompt of bytes": (
        "running",
        lambda here: ["--prompt", os.fsdecode(b"na\xefve")],
        r"has bytes that are no UTF-8",
    ),
    "an empty file for a prompt": ("running", lambda here: [wrote(here / "a.txt", "")], r"has no token"),
}


def wrote(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def folder_of(here: Path, *names: str) -> Path:
    for name in names:
        (here / name).write_text("fine")
    return here


@pytest.mark.parametrize("what", ASKED)
def test_a_question_that_cannot_be_answered_is_told_why(
    what: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, asked, pattern = ASKED[what]
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    said = told(["predict", str(run / name), *asked(tmp_path)], capsys, monkeypatch)
    assert re.search(pattern, said), said
