"""What a person can get wrong with texts: each slip gets its one message, exit code 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from labwright.cli import main
from labwright_nlp.data import hub

Command = Callable[[Path], list[str]]
GOOD = "".join(f'{{"text": "text {number}", "label": {number % 2}}}\n' for number in range(40))


def labelled(content: str | bytes, *overrides: str, name: str = "rows.jsonl") -> Command:
    """`labwright run nlp/polarity-bag` on a file with this content."""

    def args(here: Path) -> list[str]:
        file = here / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        path = file.parent if file.parent != here else file
        return ["run", "nlp/polarity-bag", f"task.data.path={path}", "log=[]", *overrides]

    return args


def running(content: str, *overrides: str) -> Command:
    """`labwright run nlp/shakespeare` on a text with this content."""

    def args(here: Path) -> list[str]:
        (here / "text.txt").write_text(content)
        return ["run", "nlp/shakespeare", f"task.data.path={here / 'text.txt'}", "log=[]", *overrides]

    return args


def pretrained(files: Sequence[str], *overrides: str) -> Command:
    """`labwright run nlp/polarity-bag` with an encoder out of a folder with these files."""

    def args(here: Path) -> list[str]:
        (here / "encoder").mkdir()
        for name in files:
            (here / "encoder" / name).write_text("{}")
        settings = ["model=nlp/encoder", f"model.pretrained={here / 'encoder'}", *overrides]
        return [*labelled(GOOD)(here), *settings]

    return args


def unknown_in_valid(here: Path) -> list[str]:
    args = labelled(GOOD, name="set/train.jsonl")(here)
    (here / "set" / "valid.jsonl").write_text('{"text": "a", "label": 1}\n{"text": "b", "label": "good"}\n')
    return args


CASES: dict[str, tuple[Command, str]] = {
    # what it is: (the command, a pattern of its message)
    "a file that isn't there": (
        lambda here: ["run", "nlp/polarity-bag", f"task.data.path={here / 'rows.jsonl'}"],
        r"task\.data\.path: there is no file or folder .*rows\.jsonl",
    ),
    "another encoding": (
        labelled("text,label\ngood,1\nna\xefve,0\n".encode("latin-1"), name="rows.csv"),
        r"rows\.csv, line 3: the byte 0xef is no utf-8\. Set task\.data\.encoding",
    ),
    "an encoding with two bytes a letter": (
        labelled("text,label\ngood,1\n".encode("utf-16"), name="rows.csv"),
        r"rows\.csv, line 1: the byte 0xff is no utf-8\. Set .*, utf-16 by its first bytes\.",
    ),
    "an encoding that isn't there": (labelled(GOOD, "task.data.encoding=uft-8"), r"no encoding of text 'uft-8'"),
    "a missing column": (
        labelled(GOOD, "task.data.text=txt"),
        r"rows\.jsonl, line 1: there is no column 'txt'; did you mean 'text'\? It has label, text; task\.data\.text",
    ),
    "an empty text": (labelled(GOOD + '{"text": " ", "label": 1}\n'), r"rows\.jsonl, line 41: the text is empty"),
    "no label": (labelled(GOOD + '{"text": "a", "label": null}\n'), r"line 41: the label is None"),
    "one label only": (labelled(GOOD.replace('"label": 0', '"label": 1')), r"all 32 training samples are of class '1'"),
    "a label that is only in valid": (
        unknown_in_valid,
        r"valid\.jsonl, line 2: no training text has the label 'good'.* Labels are 0, 1",
    ),
    "a file that isn't JSON Lines": (labelled(GOOD + "good,1\n"), r"rows\.jsonl, line 41: no JSON"),
    "a list on a line": (labelled('["good", 1]\n'), r"rows\.jsonl, line 1: a list; each line is an object"),
    "a row with a comma too many": (
        labelled("text,label\ngood, very,1\n", name="rows.csv"),
        r"rows\.csv, line 2: 3 cells below a header of 2",
    ),
    "semicolons between columns": (
        labelled("text;label\ngood;1\nbad;0\n", name="rows.csv"),
        r"no column 'text'\. It has text;label; .* A \.csv file has commas between its columns",
    ),
    "two columns of a name": (
        labelled("text,text,label\na,b,1\nc,d,0\n", name="rows.csv"),
        r"rows\.csv: 2 columns are called 'text'; rename all but one",
    ),
    "a torn gzip file": (labelled(b"\x1f\x8b\x08\x00abc", name="rows.jsonl.gz"), r"rows\.jsonl\.gz can't be read"),
    "a kind of file that isn't read": (labelled(GOOD, name="rows.xlsx"), r"rows\.xlsx: texts .* \.csv, \.jsonl, \.tsv"),
    "an empty file": (labelled(""), r"rows\.jsonl has no rows"),
    "a folder without a training file": (labelled(GOOD, name="set/rows.jsonl"), r"has no file `train`.*rows\.jsonl"),
    "too few rows to hold any out": (labelled("".join(GOOD.splitlines(True)[:4])), r"4 rows, 4 .* too few to hold out"),
    "one text of each class, repeated": (
        labelled('{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n' * 20),
        r"40 rows, 2 of them different, are too few",
    ),
    "a tokenizer that isn't there": (labelled(GOOD, "task.data.tokenizer=words"), r"did you mean 'word'"),
    "merges with too small a vocabulary": (
        labelled(GOOD, "task.data.tokenizer=bpe", "task.data.vocabulary=100"),
        r"'bpe' starts from 256 bytes",
    ),
    "a context longer than the text": (
        running("To be, or not to be" * 3, "task.data.context=64"),
        r"the train part of .*text\.txt has 51 tokens; with task\.data\.context=64 it needs 65",
    ),
    "a folder for a running text": (
        lambda here: ["run", "nlp/shakespeare", f"task.data.path={here}"],
        r" is a folder; a running text is one file",
    ),
    "heads that don't divide the width": (running("To be " * 200, "model.heads=3"), r"3 heads don't divide"),
    "a classifier for running text": (
        running("To be " * 200, "model=nlp/lstm"),
        r"model 'nlp/lstm' returns Classes; data 'nlp/plain-text' has targets NextTokens",
    ),
    "labelled texts for a language model": (
        running("x", "task.data=nlp/languages"),
        r"a language model needs running text; Languages has targets Classes",
    ),
    "a pretrained folder that isn't there": (
        pretrained([], "model.pretrained=no/where"),
        r"model\.pretrained: there is no folder 'no/where'\. Nothing is downloaded",
    ),
    "a pretrained folder without weights": (pretrained(["config.json"]), r"has no \*\.safetensors; it has no weights"),
    "a pretrained folder with pickled weights": (
        pretrained(["config.json", "pytorch_model.bin"]),
        r"its weights, pytorch_model\.bin, aren't safetensors and may run code",
    ),
    "an architecture transformers lacks": (
        labelled(GOOD, "model=nlp/encoder", "model.architecture=distlbert"),
        r"has no model type 'distlbert'; did you mean 'distilbert'",
    ),
    "the datasets library missing": (
        lambda here: ["run", "nlp/polarity-bag", "task.data=nlp/datasets", "task.data.dataset=imdb"],
        r"needs the datasets library: `pip install 'labwright-nlp\[datasets\]'`",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_slip_is_answered_with_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import re

    command, pattern = CASES[what]
    monkeypatch.chdir(tmp_path)
    if "library missing" in what:
        monkeypatch.setattr(hub, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["labwright", *command(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert re.search(pattern, said.replace("\n       ", " ")), said
    assert said.count("error:") == 1 and "Traceback" not in said
    assert not (tmp_path / "runs").exists()  # nothing was begun
