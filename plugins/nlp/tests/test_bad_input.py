"""What a person can get wrong with texts and tables of them: each slip gets its one message, and no traceback."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from slips_of_texts import CSV, GOOD, Command, answered, labelled, running


def _zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "text,label\ngood,1\nbad,0\n")
    return content.getvalue()


def laid_out(*names: str, content: str = GOOD) -> Command:
    """`labwright run nlp/polarity-bag` on a folder `set` with these files, those that end in / being folders."""

    def args(here: Path) -> list[str]:
        (here / "set").mkdir()
        for name in names:
            path = here / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if name.endswith("/") else path.write_text(content)
        return ["run", "nlp/polarity-bag", f"task.data.path={here / 'set'}", "log=[]"]

    return args


def linked(target: str) -> Command:
    """The same on a link called rows.csv."""

    def args(here: Path) -> list[str]:
        (here / "rows.csv").symlink_to(target)
        return ["run", "nlp/polarity-bag", f"task.data.path={here / 'rows.csv'}", "log=[]"]

    return args


def parquet(**columns: list[Any]) -> Command:
    def args(here: Path) -> list[str]:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet as files

        files.write_table(pyarrow.table(columns), here / "rows.parquet")
        return ["run", "nlp/polarity-bag", f"task.data.path={here / 'rows.parquet'}", "log=[]"]

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
        labelled("text,label\ngood,1\nna\xefve,0\n".encode("latin-1"), "task.data.encoding=utf-8", name="rows.csv"),
        r"rows\.csv, line 3: the byte 0xef is no utf-8\. Set task\.data\.encoding",
    ),
    "an encoding with two bytes a letter": (
        labelled("text,label\ngood,1\n".encode("utf-16")[:-1] + b"\xd8", name="rows.csv"),
        r"rows\.csv, line 2: the byte 0x\w\w is no utf-16\. Its first bytes say that it is; it may be cut off",
    ),
    "an encoding that isn't there": (labelled(GOOD, "task.data.encoding=uft-8"), r"no encoding of text 'uft-8'"),
    "a missing column": (
        labelled(GOOD, "task.data.text=txt"),
        r"rows\.jsonl: there is no column 'txt'; did you mean 'text'\? It has label, text; task\.data\.text says",
    ),
    "no text in any row": (
        labelled('{"text": " ", "label": 1}\n' * 9),
        r"rows\.jsonl: none of its 9 rows has a text and a",
    ),
    "no label in any row": (
        labelled('{"text": "a", "label": null}\n' * 9),
        r"none of its 9 rows has a text and a label",
    ),
    "one label only": (labelled(GOOD.replace('"label": 0', '"label": 1')), r"all 32 training samples are of class '1'"),
    "a label that is only in valid": (
        unknown_in_valid,
        r"valid\.jsonl, line 2: no training row has the label 'good'.* Labels are 0, 1",
    ),
    "a file that isn't JSON Lines": (labelled(GOOD + "good,1\n"), r"rows\.jsonl, line 41: no JSON"),
    "a list on a line": (labelled('["good", 1]\n'), r"rows\.jsonl, line 1: a list; each line is an object"),
    "a row with a comma too many": (
        labelled("text,label\ngood, very,1\n", name="rows.csv"),
        r"rows\.csv, line 2: 3 cells below a header of 2",
    ),
    "semicolons between columns": (
        labelled("text;label\ngood;1\nbad;0\n", "task.data.delimiter=,", name="rows.csv"),
        r"no column 'text'\. It has text;label; .* Set task\.data\.delimiter to ';', which seems to part them",
    ),
    "no header": (
        labelled("good film,1\nbad film,0\n", name="rows.csv"),
        r"no column 'text'\. .* The first row looks like data: name its columns .*columns='\[\"text\", \"label\"",
    ),
    "a header that columns are named for": (
        labelled("sentence,stars\na,1\nb,2\nc,3\n", "task.data.columns=['text', 'label']", name="rows.csv"),
        r"rows\.csv, line 1: sentence, stars in the first row, where other rows have numbers: it seems to be a header",
    ),
    "columns for what names its own": (
        labelled(GOOD, "task.data.columns=['text', 'label']"),
        r"task\.data\.columns: .*rows\.jsonl says itself what its columns are",
    ),
    "quotes that nobody reads": (
        labelled(GOOD, "task.data.quote=backtick"),
        r"task\.data\.quote: given 'backtick'; it should be 'double', 'single' or 'none'",
    ),
    "a file that an archive lacks": (
        labelled(_zipped("train.csv"), "task.data.path=rows.zip/tran.csv", name="rows.zip"),
        r"rows\.zip has no file 'tran\.csv'; did you mean 'train\.csv'",
    ),
    "a pair of one column": (
        labelled(GOOD, "task.data.pair=true"),
        r"task\.data\.pair: a pair has two columns, and task\.data\.text names 1",
    ),
    "several files in an archive": (
        labelled(_zipped("a.csv", "b.csv"), name="rows.zip"),
        r"task\.data\.path: .*rows\.zip has a\.csv, b\.csv\. Name one, such as task\.data\.path=.*rows\.zip/a\.csv",
    ),
    "an archive with a broken file in it": (
        labelled(_zipped("a.csv").replace(b"text,label", b"text,lable"), name="rows.zip"),
        r"rows\.zip/a\.csv can't be read: .*CRC",
    ),
    "a part's column that isn't there": (
        labelled(GOOD, "task.data.parts.column=spilt"),
        r"rows\.jsonl: there is no column 'spilt'.* task\.data\.parts\.column says",
    ),
    "a part's column of other words": (
        labelled(CSV, "task.data.parts.column=label", name="rows.csv"),
        r"rows\.csv, line 2: column 'label' says '\d'\. It is one of dev, test, testing",
    ),
    "a list of other names": (
        labelled(CSV, "task.data.parts.column=text", "task.data.parts.test=pyproject.toml", name="rows.csv"),
        r"task\.data\.parts(\.test: there is no file|: none of the [\d,]+ names on the lists)",
    ),
    "a split for a folder of parts": (
        labelled(GOOD, "task.data.parts.test=other.jsonl", name="set/train.jsonl"),
        r"task\.data\.parts: the files in .*set are parts already; leave it out, or name one file",
    ),
    "a training part twice": (
        labelled(GOOD, "task.data.parts.train=other.jsonl"),
        r"task\.data\.parts\.train: task\.data\.path is the file to learn from",
    ),
    "two columns of a name": (
        labelled("text,text,label\na,b,1\nc,d,0\n", name="rows.csv"),
        r"rows\.csv: 2 columns are called 'text'; rename all but one",
    ),
    "a torn gzip file": (labelled(b"\x1f\x8b\x08\x00abc", name="rows.jsonl.gz"), r"rows\.jsonl\.gz can't be read"),
    "a kind of file that isn't read": (
        labelled(GOOD, name="rows.xlsx"),
        r"rows\.xlsx is a spreadsheet: save it as \.csv",
    ),
    "an empty file": (labelled(""), r"rows\.jsonl has no rows"),
    "a folder without a training file": (
        labelled(GOOD, name="set/rows.jsonl"),
        r"has no file `train`, or `training` .*rows\.jsonl",
    ),
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
        r" has no text file, which ends in \.txt; it has none at all",
    ),
    "heads that don't divide the width": (running("To be " * 200, "model.heads=3"), r"3 heads don't divide"),
    "a classifier for running text": (
        running("To be " * 200, "model=nlp/lstm"),
        r"model 'nlp/lstm' returns Classes or Values; data 'nlp/plain-text' has targets NextTokens",
    ),
    "labelled texts for a language model": (
        running("x", "task.data=nlp/languages"),
        r"a language model needs running text; Languages has targets Classes",
    ),
    "a quote that swallows rows": (
        labelled('label,text\n0,"Heroes\n1,fine\n0,no heroes"\n' + "1,a\n0,b\n" * 20, name="rows.csv"),
        r"rows\.csv, line 2: a quote opens a cell that goes on to line 4, and each line of it looks like a row",
    ),
    "a quote that isn't closed": (
        labelled(CSV + '"Heroes,1\nfine,0\n', name="rows.csv"),
        r"line 42: a quote opens a cell",
    ),
    "quotes with a backslash": (labelled(CSV + '"a \\"b\\"",1\n', name="rows.csv"), r"line 42: behind a quote .*'b"),
    "a row with a cell too few": (labelled(CSV + "fine\n", name="rows.csv"), r"line 42: 1 cells below a header of 2"),
    "a row with a tab too many": (
        labelled("text\tlabel\na\tb\t1\n", name="rows.tsv"),
        r"line 2: 3 cells .* has no place between tabs",
    ),
    "a column called otherwise": (labelled(GOOD.replace('"text"', '"Text"')), r"no column 'text'; did you mean 'Text'"),
    "a file without a header": (labelled("fine,1\nbad,0\n", name="rows.csv"), r"no column 'text'\. It has 1, fine"),
    "a header and no rows": (labelled("text,label\n", name="rows.csv"), r"rows\.csv has no rows"),
    "blank lines": (labelled("\n\n \n", name="rows.csv"), r"rows\.csv has no rows"),
    "a JSON file that is one list": (
        labelled("[" + GOOD.replace("\n", ","), name="rows.json"),
        r"rows\.json: no JSON",
    ),
    "a line cut off": (labelled(GOOD[:-9]), r"rows\.jsonl, line 40: no JSON"),
    "a text of parts": (labelled('{"text": ["a", "b"], "label": 1}\n'), r"line 1: column 'text' has a list; a cell is"),
    "a label of parts": (labelled('{"text": "a", "label": {"id": 1}}\n'), r"line 1: column 'label' has an object"),
    "a name twice in an object": (
        labelled('{"text": "a", "text": "b", "label": 1}\n'),
        r"line 1: no JSON .*'text' is in it",
    ),
    "a label too large to be exact": (labelled('{"text": "a", "label": 1e17}\n'), r"line 1: column 'label' has 1e\+17"),
    "deep nesting": (labelled("[" * 100_000), r"line 1: no JSON"),
    "bytes of Windows": (
        labelled(CSV.encode() + b"it\x92s,1\n", "task.data.encoding=utf-8", name="rows.csv"),
        r"line 42: the byte 0x92 .* such as cp1252",
    ),
    "a broken letter in UTF-8": (
        labelled((CSV + "Größe überall,1\n").encode() + b"na\xefve,0\n", name="rows.csv"),
        r"line 43: .* The rest of it is UTF-8",
    ),
    "a spreadsheet called CSV": (labelled(b"PK\x03\x04\x14\x00\xff\xfe", name="rows.csv"), r"It seems to be no text"),
    "an encoding that isn't one of text": (labelled(GOOD, "task.data.encoding=hex"), r"no encoding of text 'hex'"),
    "half a gzip file": (
        labelled(gzip.compress(GOOD.encode())[:-20], name="rows.jsonl.gz"),
        r"rows\.jsonl\.gz can't be read",
    ),
    "a torn Parquet file": (labelled(b"PAR1\x00\x01", name="rows.parquet"), r"rows\.parquet can't be read as Parquet"),
    "Parquet with lists": (parquet(text=[["a"], ["b"]], label=[0, 1]), r"row 1: column 'text' has a list"),
    "Parquet without the column": (parquet(words=["a"], label=[0]), r"rows\.parquet: there is no column 'text'"),
    "Parquet without rows": (parquet(text=[], label=[]), r"rows\.parquet has no rows"),
    "a broken link": (linked("nowhere.csv"), r"task\.data\.path: there is no file or folder"),
    "a link to a device": (linked("/dev/null"), r"rows\.csv is a device, a pipe or a socket"),
    "a link to itself": (linked("rows.csv"), r"rows\.csv"),
    "a folder called like a table": (laid_out("train.csv/", "test.csv"), r"set has no file `train`"),
    "an empty folder": (laid_out(), r"set has no file `train`.*it has none\. One file is given by its name"),
    "hidden files only": (laid_out(".train.jsonl", "._train.jsonl"), r"set has no file `train`.*it has none"),
    "folders of classes": (laid_out("pos/1.txt", "neg/2.txt"), r"set has no file `train`.*it has neg, pos"),
    "parts without one to learn from": (
        laid_out("valid.jsonl", "test.jsonl"),
        r"no file `train`.*test\.jsonl, valid\.jsonl",
    ),
    "two files for a part": (
        laid_out("train.jsonl", "val.jsonl", "validation.jsonl"),
        r"two files for 'valid': val\.jsonl",
    ),
    "a part in two kinds of file": (laid_out("train.jsonl", "Training.JSONL.GZ"), r"two files for 'train'"),
    "an empty part": (laid_out("train.jsonl", content=""), r"train\.jsonl has no rows"),
    "shares of everything": (
        labelled(GOOD, "task.data.valid=0.5", "task.data.test=0.5"),
        r"valid 0\.5|test 0\.5.* leave",
    ),
    "a share above one": (labelled(GOOD, "task.data.valid=1.5"), r"task\.data\.valid"),
    "a length of nothing": (labelled(GOOD, "task.data.length=0"), r"task\.data\.length"),
    "a case that isn't there": (labelled(GOOD, "task.data.case=upper"), r"task\.data\.case"),
    "a vocabulary of nothing": (labelled(GOOD, "task.data.vocabulary=1"), r"task\.data\.vocabulary"),
    "a folder for a tokenizer that is learned": (
        labelled(GOOD, "task.data.pretrained=x"),
        r"a tokenizer of kind 'word' is learned",
    ),
    "a running text that isn't there": (
        lambda here: ["run", "nlp/shakespeare", f"task.data.path={here / 'txet.txt'}"],
        r"there is no file .*txet\.txt",
    ),
    "a stop text of nothing": (running("To be " * 200, 'task.stop=[""]'), r"task\.stop.*given.*character"),
    "no share for top-p": (
        running("To be " * 200, "task.top_p=0"),
        r"task\.top_p: given 0; it should be greater than 0",
    ),
    "a min-p above 1": (running("To be " * 200, "task.min_p=2"), r"task\.min_p: given 2"),
    "a penalty of nothing": (
        running("To be " * 200, "task.repetition_penalty=0"),
        r"task\.repetition_penalty: given 0",
    ),
    "a search that would draw": (
        running("To be " * 200, "task.beams=2", "task.top_k=3"),
        r"a search of 2 beams draws nothing, and task\.top_k is about what is drawn",
    ),
    "a length penalty without a search": (
        running("To be " * 200, "task.length_penalty=1.0"),
        r"task\.length_penalty: a search has one; set task\.beams too",
    ),
    "an empty running text": (running(""), r"text\.txt has no text to learn from"),
    "a blank running text": (running(" \n" * 90), r"text\.txt has no text to learn from"),
    "a running text of bytes": (
        running(b"%PDF-1.7\n\x00\xe2\xe3"),
        r"It seems to be no text; a spreadsheet or a document",
    ),
    "a running text cut off": (
        running(gzip.compress(b"To be" * 99)[:-9], name="t.txt.gz"),
        r"t\.txt\.gz can't be read",
    ),
    "a running text all held out": (
        running("To be " * 99, "task.data.valid=0.6", "task.data.test=0.4"),
        r"leave nothing",
    ),
    "a device as a running text": (
        lambda here: ["run", "nlp/shakespeare", "task.data.path=/dev/zero"],
        r"/dev/zero is a device, a pipe or a socket",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_a_slip_is_answered_with_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(CASES[what], tmp_path, capsys, monkeypatch)
