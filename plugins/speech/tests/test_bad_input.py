"""What a person can get wrong with recordings: each slip gets one message, no traceback."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from labwright.cli import main

WORDS = """\
task = { name = "classification", data = { name = "speech/folder", folder = "words", rate = 8000, seconds = 0.3 } }
model = { name = "speech/m5", width = 4 }
loss = "cross-entropy"
optimizer = "adamw"
device = "cpu"
train = { steps = 1, batch_size = 4 }
log = []
"""
TEXTS = """\
task = { name = "speech/recognition", data = { name = "speech/manifest", manifest = "rows.jsonl", audio = "words", \
rate = 8000, valid = 0.0, test = 0.0 } }
model = { name = "speech/crnn", width = 8, channels = 4, layers = 1 }
loss = "speech/ctc"
optimizer = "adamw"
device = "cpu"
train = { steps = 1, batch_size = 4 }
log = []
"""
Make = Callable[[Path], list[str]]


def tone(path: Path, seconds: float = 0.4, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(round(seconds * rate)) * 0.4), rate)


def good(here: Path) -> None:
    """Two classes of ten recordings, a manifest of two of them, and the recipes."""
    for name in ("a", "b"):
        for number in range(10):
            tone(here / "words" / name / f"{number}.wav")
    rows = [{"path": "a/1.wav", "text": "ONE"}, {"path": "b/2.wav", "text": "TWO"}]
    (here / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (here / "words.toml").write_text(WORDS)
    (here / "texts.toml").write_text(TEXTS)


def words(*overrides: str, change: Callable[[Path], object] = lambda here: None) -> Make:
    def made(here: Path) -> list[str]:
        change(here)
        return ["run", "words.toml", *overrides]

    return made


def texts(*overrides: str, change: Callable[[Path], object] = lambda here: None) -> Make:
    def made(here: Path) -> list[str]:
        change(here)
        return ["run", "texts.toml", *overrides]

    return made


def emptied(here: Path) -> None:
    soundfile.write(here / "words/a/3.wav", np.zeros(0), 8000)


def corrupted(here: Path) -> None:
    (here / "words/b/4.wav").write_bytes(b"RIFF and no more")


def one_class(here: Path) -> None:
    for file in (here / "words/b").iterdir():
        file.unlink()


def no_zip(here: Path) -> None:
    (here / "words.zip").write_bytes(b"PK\x03\x04 and no more")


def damaged_zip(here: Path) -> None:
    with zipfile.ZipFile(here / "words.zip", "w") as archive:
        for name in ("a", "b"):
            archive.write(here / "words" / name / "1.wav", f"{name}/1.wav")
    content = bytearray((here / "words.zip").read_bytes())
    content[100:200] = bytes(100)
    (here / "words.zip").write_bytes(bytes(content))


def moved(name: str, to: str) -> Callable[[Path], object]:
    """Moves something of the folder `words`."""

    def move(here: Path) -> None:
        (here / "words" / to).parent.mkdir(parents=True, exist_ok=True)
        (here / "words" / name).rename(here / "words" / to)

    return move


def content(name: str, written: bytes) -> Callable[[Path], object]:
    return lambda here: (here / name).write_bytes(written)


def cut(name: str) -> Callable[[Path], object]:
    return lambda here: (here / name).write_bytes((here / name).read_bytes()[:1000])


def sound(name: str, samples: np.ndarray, rate: int = 8000, subtype: str = "FLOAT") -> Callable[[Path], object]:
    return lambda here: soundfile.write(here / name, samples, rate, subtype=subtype)


def zipped(here: Path, password: bool = False) -> None:
    with zipfile.ZipFile(here / "words.zip", "w") as archive:
        for path in sorted((here / "words").rglob("*.wav")):
            archive.write(path, path.relative_to(here / "words").as_posix())
    if password:  # the flag that says so, in both headers
        whole = bytearray((here / "words.zip").read_bytes())
        for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            start = whole.find(sign)
            while start >= 0:
                whole[start + place] |= 1
                start = whole.find(sign, start + 4)
        (here / "words.zip").write_bytes(bytes(whole))


def table(name: str, text: str) -> Callable[[Path], object]:
    return lambda here: (here / name).write_text(text, encoding="utf-8")


def row(**values: str) -> Callable[[Path], object]:
    return lambda here: (here / "rows.jsonl").write_text(json.dumps({"path": "a/1.wav", "text": "ONE"} | values))


CASES: dict[str, tuple[Make, str]] = {
    "a recording of no length": (words(change=emptied), r"words/a/3\.wav holds no sound: it has 0 samples"),
    "a corrupt recording": (words(change=corrupted), r"words/b/4\.wav can't be read as sound: "),
    "one class": (words(change=one_class), r"words has one class only, 'a'"),
    "no folder": (words("task.data.folder=wrods"), r"there is no folder or archive 'wrods'"),
    "a folder without recordings": (
        words("task.data.folder=empty", change=lambda here: (here / "empty").mkdir()),
        r"empty has no recordings: put some there \(.*\.wav",
    ),
    "an archive that is none": (words("task.data.folder=words.zip", change=no_zip), r"can't be read as a zip archive"),
    "a damaged archive": (
        words("task.data.folder=words.zip", "task.data.valid=0.0", "task.data.test=0.0", change=damaged_zip),
        r"a/1\.wav in words\.zip can't be read: the archive is damaged there",
    ),
    "a pattern that is not found": (
        words("task.data.pattern='(?P<label>x)'"),
        r"task\.data\.pattern: '\(\?P<label>x\)' isn't found in 'a/0\.wav'",
    ),
    "a rate of no simple ratio": (words("task.data.rate=8009"), r"8,000 samples per second, .* task\.data\.rate=8009"),
    "a rate too low": (words("task.data.rate=50"), r"task\.data\.rate: given 50; it should be greater than or equal"),
    "a length of nothing": (words("task.data.seconds=0"), r"task\.data\.seconds: given 0"),
    "a word model for transcripts": (
        texts("model=speech/m5"),
        r"model 'speech/m5' returns Classes; data 'speech/manifest' has targets Transcript",
    ),
    "a loss for classes": (texts("loss=cross-entropy"), r"loss 'cross-entropy' doesn't fit .*log_probs, targets"),
    "words for recognition": (
        texts('task.data={name="speech/folder",folder="words"}'),
        r"recognition needs transcripts; RecordingFolder has targets Classes",
    ),
    "a recording that isn't there": (
        texts(change=row(path="a/11.wav")),
        r"rows\.jsonl, line 1: there is no recording 'a/11\.wav' in words; did you mean 'a/1\.wav'",
    ),
    "a column that isn't there": (
        texts("task.data.text=txt"),
        r"rows\.jsonl: there is no column 'txt'; did you mean 'text'",
    ),
    "a letter the alphabet lacks": (
        texts("task.data.alphabet=ENOT"),
        r"rows\.jsonl, line 2: the transcript 'TWO' has 'W', which is not in task\.data\.alphabet",
    ),
    "a recording of no bytes": (
        words(change=content("words/a/3.wav", b"")),
        r"words/a/3\.wav is empty: it has 0 bytes",
    ),
    "a recording cut off": (words(change=cut("words/a/3.wav")), r"words/a/3\.wav is cut off: it ends after 0\.\d+ sec"),
    "a picture called a recording": (
        words(change=content("words/a/3.wav", b"\x89PNG\r\n\x1a\n" + bytes(99))),
        r"words/a/3\.wav can't be read as sound: Format not recognised",
    ),
    "several damaged recordings": (
        words(change=lambda here: (emptied(here), corrupted(here))),
        r"2 of 20 recordings can't be used: .*words/a/3\.wav .*words/b/4\.wav .*task\.data\.on_damaged=leave-out",
    ),
    "nothing but damaged recordings": (
        words(
            "task.data.on_damaged=leave-out",
            change=lambda here: [path.write_bytes(b"x") for path in (here / "words").rglob("*.wav")],
        ),
        r"none of 20 recordings can be used: .*words/a/0\.wav can't be read",
    ),
    "a value that is no number": (
        words(change=sound("words/a/3.wav", np.array([0.1, math.nan] * 500))),
        r"words/a/3\.wav holds values that are no finite numbers",
    ),
    "integers written as numbers with a point": (
        words(change=sound("words/a/3.wav", np.sin(np.arange(999)) * 32767)),
        r"words/a/3\.wav has values up to 32,7\d\d, where full scale is 1",
    ),
    "channels that cancel each other out": (
        words(change=sound("words/a/3.wav", np.outer(np.sin(np.arange(999)) / 2, [1, -1]))),
        r"words/a/3\.wav has channels in opposite phase",
    ),
    "a rate of nothing": (
        words(change=sound("words/a/3.wav", np.zeros(99), rate=8)),
        r"words/a/3\.wav has 8 samples per second, too far from task\.data\.rate=8000",
    ),
    "a link to nothing": (
        words(change=lambda here: (here / "words/a/x.wav").symlink_to("nowhere.wav")),
        r"words/a/x\.wav can't be read as sound: No such file",
    ),
    "a link to itself": (
        words(change=lambda here: (here / "words/a/x.wav").symlink_to("x.wav")),
        r"words/a/x\.wav can't be read as sound: ",
    ),
    "a folder of other files": (
        words("task.data.folder=.", change=lambda here: shutil.rmtree(here / "words")),
        r"\. has no recordings: .* It has .*1 file: \.jsonl",
    ),
    "a folder that is a file": (words("task.data.folder=words.toml"), r"words\.toml can't be read as a zip archive"),
    "an archive with a password": (
        words("task.data.folder=words.zip", change=lambda here: zipped(here, password=True)),
        r"a/0\.wav in words\.zip can't be read: .*encrypted",
    ),
    "parts without train": (words(change=moved("a", "test/a")), r"words has test, but no folder train or training"),
    "two folders for one part": (
        words(change=lambda here: [moved("a", "train/a")(here), moved("b", "Training/b")(here)]),
        r"several folders for the part 'train': Training, train",
    ),
    "a part below a class": (
        words(change=moved("a/1.wav", "a/valid/1.wav")),
        r"words/a/valid/1\.wav: the folder 'valid' is called like a part",
    ),
    "recordings in no class's folder": (words(change=moved("a/1.wav", "1.wav")), r"words/1\.wav is in no sub-folder"),
    "a class whose name can't be shown": (
        words(change=moved("a", "a\x07")),
        r"class 'a\\x07' has a name that can't be",
    ),
    "a list in another encoding": (
        words(change=content("words/testing_list.txt", b"a/\xe4.wav")),
        r"words/testing_list\.txt is not written in UTF-8",
    ),
    "a word for damaged recordings that nobody knows": (
        words("task.data.on_damaged=ignore"),
        r"task\.data\.on_damaged: .*ignore.*refuse.*leave-out",
    ),
    "shares that leave nothing": (words("task.data.valid=0.6", "task.data.test=0.6"), r"no recording is left to learn"),
    "a pattern that never ends": (words("task.data.pattern='(?P<label>'"), r"is no regular expression"),
    "a row that isn't an object": (texts(change=table("rows.jsonl", "[1, 2]\n")), r"rows\.jsonl, line 1: a list"),
    "a row with a key twice": (
        texts(change=table("rows.jsonl", '{"path": "a/1.wav", "path": "b/1.wav", "text": "A"}')),
        r"rows\.jsonl, line 1: .*'path' is in it twice",
    ),
    "a path that is a list": (
        texts(change=table("rows.jsonl", '{"path": ["a"], "text": "A"}')),
        r"rows\.jsonl, line 1: column 'path' has a list",
    ),
    "a path of a folder": (texts(change=row(path="a")), r"rows\.jsonl, line 1: there is no recording 'a'"),
    "a path above the folder": (
        texts(change=row(path="../rows.jsonl")),
        r"rows\.jsonl is none of the recordings there",
    ),
    "a row with a cell too many": (
        texts("task.data.manifest=rows.csv", change=table("rows.csv", "path,text\na/1.wav,YES, SIR\n")),
        r"rows\.csv, line 2: 3 cells below a header of 2",
    ),
    "a quote that isn't closed": (
        texts("task.data.manifest=rows.csv", change=table("rows.csv", 'path,text\na/1.wav,"YES\nb/2.wav,NO\n')),
        r"rows\.csv, line 2: ",
    ),
    "an empty manifest": (texts(change=table("rows.jsonl", "")), r"rows\.jsonl has no rows"),
    "a manifest that is a folder": (
        texts("task.data.manifest=words"),
        r"words is a folder; give the name of a file in it",
    ),
    "a part nobody knows": (
        texts("task.data.split=split", change=row(split="trian")),
        r"rows\.jsonl, line 1: column 'split' says 'trian'; did you mean 'train'",
    ),
    "no training rows": (texts("task.data.split=split", change=row(split="test")), r"no recording is left to learn"),
    "a stretch behind the end": (
        texts(change=row(offset="0.1", duration="9")),
        r"words/a/1\.wav has 0\.40 seconds, not those from 0\.1 to 9\.1; rows\.jsonl, line 1 lists it",
    ),
    "an offset that is a word": (texts(change=row(offset="soon")), r"line 1: task\.data\.offset: 'soon' is no number"),
    "a column of lengths that isn't there": (texts("task.data.duration=secs"), r"there is no column 'secs'"),
    "audio that isn't there": (texts("task.data.audio=wodrs"), r"task\.data\.audio: there is no folder .*'wodrs'"),
    "audio without recordings": (
        texts("task.data.audio=empty", change=lambda here: (here / "empty").mkdir()),
        r"empty has no recordings",
    ),
    "a damaged recording of a manifest": (
        texts(change=cut("words/b/2.wav")),
        r"words/b/2\.wav is cut off: .*; rows\.jsonl, line 2 lists it\. Mend it",
    ),
    "letters of testing that training lacks": (
        texts(
            "task.data.split=split",
            change=table(
                "rows.jsonl",
                '{"path": "a/1.wav", "text": "AB", "split": "train"}\n'
                '{"path": "b/2.wav", "text": "AÉ", "split": "test"}',
            ),
        ),
        r"line 2: the transcript 'AÉ' has 'É', .* task\.data\.alphabet='ABÉ'",
    ),
    "an empty transcript": (texts(change=row(text="  ")), r"rows\.jsonl: none of its 1 rows has a path and a text"),
    "a transcript too long for its recording": (
        texts(change=row(text="SEVENTY SEVEN THOUSAND SEVEN HUNDRED")),
        r"25 frames per second; the transcript of words/a/1\.wav needs \d+",
    ),
    "no manifest": (
        texts("task.data.manifest=row.jsonl"),
        r"task\.data\.manifest: there is no file or folder 'row\.jsonl'.* 'rows\.jsonl'",
    ),
    "a manifest of another kind": (
        texts("task.data.manifest=words.toml"),
        r"words\.toml: there is no column 'path'\. It has ",
    ),
    "a text that is null": (
        texts(change=lambda here: (here / "rows.jsonl").write_text('{"path": "a/1.wav", "text": null}')),
        r"rows\.jsonl: none of its 1 rows has a path and a text",
    ),
    "a manifest in another encoding": (
        texts(
            "task.data.encoding=utf-8",
            change=lambda here: (here / "rows.jsonl").write_text('{"path": "ä"}', encoding="latin-1"),
        ),
        r"rows\.jsonl, line 1: the byte 0xe4 is no utf-8",
    ),
    "a bonus that is no number": (
        texts("task.lm_bonus=nan"),
        r"task\.lm_bonus: .* is given nan, which no recipe can hold",
    ),
    "a speaker nobody is": (
        texts('task.data.test_speakers=["ann"]'),
        r"to hold out speakers, they must be known",
    ),
    "a language model without a search": (texts("task.lm_weight=0.5"), r"task\.lm_weight: .*set task\.beam too"),
    "a file to predict that holds no sound": (
        lambda here: (emptied(here), ["predict", "run", "words/a/3.wav"])[1],
        r"words/a/3\.wav holds no sound",
    ),
    "a file to predict that was cut off": (
        lambda here: (cut("words/a/3.wav")(here), ["predict", "run", "words/a/3.wav"])[1],
        r"words/a/3\.wav is cut off: ",
    ),
    "a file to predict that is in opposite phase": (
        lambda here: (
            sound("words/a/3.wav", np.outer(np.sin(np.arange(999)) / 2, [1, -1]))(here),
            ["predict", "run", "words/a/3.wav"],
        )[1],
        r"words/a/3\.wav has channels in opposite phase",
    ),
    "a file to predict that isn't there": (lambda here: ["predict", "run", "words/a/33.wav"], r"words/a/33\.wav"),
    "a file to predict that is no sound": (
        lambda here: ["predict", "run", "words.toml"],
        r"words\.toml can't be read as sound",
    ),
}


def answer(args: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["labwright", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("case", CASES)
def test_a_slip_gets_one_message(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good(tmp_path)
    make, pattern = CASES[case]
    if "predict" in case:
        assert answer(["run", "words.toml", "--folder", "run"], monkeypatch) == 0
    args = make(tmp_path)
    capsys.readouterr()
    assert answer(args, monkeypatch) in (1, 2)
    said = capsys.readouterr().err
    assert said.count("error: ") == 1 and "Traceback" not in said, said
    assert re.search(pattern, said, re.DOTALL), said


def test_what_is_right_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good(tmp_path)
    for recipe, stride in (("words.toml", []), ("texts.toml", ["model.stride=2"])):
        assert answer(["run", recipe, *stride], monkeypatch) == 0, capsys.readouterr().err
