"""What a person can get wrong with recordings: each slip gets one message, no traceback."""

from __future__ import annotations

import json
import re
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
    "an empty transcript": (texts(change=row(text="  ")), r"rows\.jsonl: none of its 1 rows has a path and a text"),
    "a transcript too long for its recording": (
        texts(change=row(text="SEVENTY SEVEN THOUSAND SEVEN HUNDRED")),
        r"25 frames per second; the transcript of words/a/1\.wav needs \d+",
    ),
    "no manifest": (texts("task.data.manifest=row.jsonl"), r"there is no file 'row\.jsonl'"),
    "a manifest of another kind": (
        texts("task.data.manifest=words.toml"),
        r"words\.toml: a table is read from \.csv, \.json",
    ),
    "a text that is null": (
        texts(change=lambda here: (here / "rows.jsonl").write_text('{"path": "a/1.wav", "text": null}')),
        r"rows\.jsonl: none of its 1 rows has a path and a text",
    ),
    "a manifest in another encoding": (
        texts(change=lambda here: (here / "rows.jsonl").write_text('{"path": "ä"}', encoding="latin-1")),
        r"rows\.jsonl, line 1: the byte 0xe4 is no utf-8",
    ),
    "a bonus that is no number": (texts("task.lm_bonus=nan"), r"task\.lm_bonus: given nan; it should be a finite"),
    "a speaker nobody is": (
        texts('task.data.test_speakers=["ann"]'),
        r"to hold out speakers, they must be known",
    ),
    "a language model without a search": (texts("task.lm_weight=0.5"), r"task\.lm_weight: .*set task\.beam too"),
    "a file to predict that holds no sound": (
        lambda here: (emptied(here), ["predict", "run", "words/a/3.wav"])[1],
        r"words/a/3\.wav holds no sound",
    ),
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
