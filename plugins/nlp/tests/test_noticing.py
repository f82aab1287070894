"""What is said of texts: those cut, tokens nobody knows, rows and files left out, and which samples a run has read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from labwright import LabwrightError, LeftOut, Plugins
from labwright.cli import main
from labwright.runs.resume import resume
from labwright_nlp.data.languages import Languages
from labwright_nlp.data.plain_text import PlainText
from labwright_nlp.data.text_files import TextFiles

Write = Callable[..., Path]


def prepared(path: Path, **settings: Any) -> TextFiles:
    data = TextFiles(path=path, **{"valid": 0.1, "test": 0.1} | settings)
    data.prepare()
    return data


def test_texts_that_are_cut_are_counted_in_each_part_and_the_length_they_need_is_named(write: Write) -> None:
    rows = [("a b c d e f"[: 3 if number % 2 else 11] + f" {number}", number % 2) for number in range(100)]
    (said,) = prepared(write("rows.jsonl", rows), length=5).remarks()  # half have 7 words, half 3
    assert said == (
        "texts are cut to their first task.data.length=5 tokens: 40 of 80 in train, 5 of 10 in test, 5 of 10 in valid; "
        "7 cuts none."
    )
    rows[0] = ("a " * 900, 0)
    (said,) = prepared(write("rows.jsonl", rows), length=5).remarks()
    assert said.endswith("; 7 would cut 1 in 100, 900 none.")
    assert prepared(write("rows.jsonl", rows), length=900).remarks() == []


def test_a_part_of_unknown_tokens_is_named_with_the_tokenizers_that_know_them(write: Write) -> None:
    rows = [(f"这是一个电影{number}好看", number % 2) for number in range(100)]  # a word each, for want of spaces
    (said,) = prepared(write("rows.jsonl", rows)).remarks()
    assert said.startswith(
        "the tokenizer 'word' doesn't know 100% of test, 100% of valid: task.data.tokenizer=char or bpe"
    )
    assert prepared(write("rows.jsonl", rows), tokenizer="char").remarks() == []
    (said,) = prepared(write("rows.jsonl", rows), tokenizer="char", vocabulary=4).remarks()
    assert "of train" in said and "task.data.tokenizer=byte" in said
    text = write("rows.jsonl", rows).with_name("text.txt")
    text.write_text("plain words " * 50 + "ganz andere als vorher " * 26)
    running = PlainText(path=text, tokenizer="word", context=4, valid=0.6)
    running.prepare()
    (said,) = running.remarks()
    assert "of valid" in said


def test_rows_and_files_left_out_are_counted(tmp_path: Path, write: Write) -> None:
    rows: list[tuple[str, object]] = [(f"text {number}", number % 2) for number in range(40)]
    write("set/Training.jsonl", [*rows, (" ", 1), ("no label", None)])
    write("set/validation.jsonl", rows[:6])
    write("set/Testing.jsonl", rows[:8])
    for name in ("train.old.jsonl", "train.old", ".DS_Store", "._Training.jsonl", "README.md", "more/train.jsonl"):
        write(f"set/{name}", rows)
    (tmp_path / "set" / "__MACOSX").mkdir()
    data = prepared(tmp_path / "set")
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [40, 6, 8]
    where = f"{tmp_path}/set/Training.jsonl, line"
    assert set(data.left_out()) == {
        LeftOut(4, "files", "no part's name: README.md, more, train.old and 1 more"),
        LeftOut(3, "files", "hidden"),
        LeftOut(1, "row", f"no text, as in {where} 41"),
        LeftOut(1, "row", f"no label, as in {where} 42"),
    }
    write("set/val.jsonl", rows)
    with pytest.raises(LabwrightError, match=r"has two files for 'valid': val\.jsonl and validation\.jsonl"):
        prepared(tmp_path / "set")


def test_names_that_languages_share_are_counted() -> None:
    data = Languages()
    data.prepare()
    (left_out,) = data.left_out()
    assert left_out.what == "names" and left_out.count > 1000


def test_other_texts_are_other_samples_even_where_the_tokens_are_the_same(write: Write) -> None:
    rows = [(f"word number {number}", number % 2) for number in range(40)]
    one = prepared(write("rows.jsonl", rows), vocabulary=4)
    same = prepared(write("again.jsonl", rows), vocabulary=4, length=4)
    other = prepared(write("other.jsonl", [(f"word number {number + 40}", label) for (_, label), number in
                                           zip(rows, range(40), strict=True)]), vocabulary=4)  # fmt: skip
    assert one.identity("train") == same.identity("train") != other.identity("train")
    assert len({tuple(one.identity(part)) for part in ("train", "valid", "test")}) == 3


def test_a_run_does_not_go_on_with_other_texts(write: Write, tmp_path: Path) -> None:
    rows = [(f"w{number % 7} v{number % 5}", number % 2) for number in range(60)]
    path = write("rows.jsonl", rows)
    settings = [f"task.data.path={path}", "task.data.vocabulary=6", "train.epochs=4", "log=[]"]
    trainer = lw.Experiment.from_recipe("nlp/polarity-bag", settings).trainer(tmp_path / "run")
    trainer.fit(until=trainer.intervals.total // 2)
    write("rows.jsonl", [(f"u{number % 7} t{number % 5}", label) for number, (_, label) in enumerate(rows)])
    with pytest.raises(LabwrightError, match=r"learns something else|holds other samples"):
        resume(tmp_path / "run", Plugins.discover())


def test_what_a_prediction_took_for_one_text_and_what_it_cut_is_said_once(
    fruits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [f"task.data.path={fruits}", "task.data.length=6", "train.epochs=1", "log=[]"]
    lw.Experiment.from_recipe("nlp/polarity-bag", settings).run(tmp_path / "run")
    capsys.readouterr()

    def told(*inputs: str) -> tuple[list[str], str]:
        monkeypatch.setattr(sys, "argv", ["labwright", "predict", str(tmp_path / "run"), *inputs, "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code == 0, said.err
        return [json.loads(line)["input"] for line in said.out.splitlines()], said.err

    (tmp_path / "lines.txt").write_text("a ripe pear\n\na plum\n" * 1000)
    answered, said = told(str(tmp_path / "lines.txt"))
    assert answered == [str(tmp_path / "lines.txt")]
    lines = (
        f"{tmp_path}/lines.txt of 2,000 lines was read as one text; `labwright predict RUN - < {tmp_path}/lines.txt`"
    )
    assert (
        lines in said
        and "1 text was cut to the first 6 tokens, the run's task.data.length; the longest has 5,000" in said
    )
    assert told("--text", "a ripe pear")[1] == ""
    folder = tmp_path / "folder"
    for name in ("a.txt", "b.TXT", ".c.txt", "._a.txt", "__MACOSX/d.txt", ".ipynb_checkpoints/e.txt", "f.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("plum")
    answered, said = told(str(folder))
    assert answered == [str(folder / "a.txt"), str(folder / "b.TXT")]
