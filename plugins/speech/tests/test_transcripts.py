"""Recordings with transcripts: tables of any kind, YESNO's names, alphabets, speakers held out."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from labwright import Audio, LabwrightError
from labwright_speech.data.manifest import ManifestTranscripts
from labwright_speech.data.transcripts import Transcripts
from labwright_speech.data.yesno import YesNo
from labwright_speech.ports import Transcript

Sing = Callable[..., Path]
ROWS = [("a.wav", "ONE  TWO", "ann"), ("b.wav", "TWO", "ann"), ("c.wav", "ONE", "bob"), ("d.wav", "TWO ONE", "cyd")]


@pytest.fixture
def table(sing: Sing, tmp_path: Path) -> Path:
    """Four recordings of 0.3 to 0.6 seconds and a manifest of them."""
    for number, (name, *_) in enumerate(ROWS):
        sing(f"audio/{name}", seconds=0.3 + 0.1 * number)
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(dict(zip(("path", "text", "who"), row, strict=True))) for row in ROWS))
    return path


def prepared(table: Path, **settings: object) -> ManifestTranscripts:
    defaults = {"audio": table.parent / "audio", "rate": 8000, "valid": 0.0, "test": 0.0}
    data = ManifestTranscripts(manifest=table, **defaults | settings)
    data.prepare()
    return data


def texts(data: Transcripts, part: str) -> list[str]:
    split = data.split(part)
    return [] if split is None else split.texts


def test_rows_become_recordings_with_tidy_texts(table: Path) -> None:
    data = prepared(table)
    assert texts(data, "train") == ["ONE TWO", "TWO", "ONE", "TWO ONE"]
    inputs, outputs = data.ports()
    assert inputs == Audio(8000, 4800)
    assert isinstance(outputs, Transcript)
    assert outputs.alphabet == tuple(" ENOTW") and outputs.longest == 7
    assert outputs.densest == pytest.approx(7 / 0.3) and outputs.of.endswith("a.wav")


def test_a_batch_holds_waveforms_and_ids_with_their_lengths(table: Path) -> None:
    split = prepared(table).split("train")
    assert split is not None
    batch = split.fetch(torch.tensor([2, 0]), 0, 0)
    x_BT, lengths_B = batch.inputs
    assert x_BT.shape == (2, 4000) and lengths_B.tolist() == [4000, 2400]
    assert batch.target_lengths.tolist() == [3, 7]
    assert batch.targets.tolist() == [[4, 3, 2, 0, 0, 0, 0], [4, 3, 2, 1, 5, 6, 4]]


@pytest.mark.parametrize("kind", ["csv", "tsv", "csv.gz", "jsonl.gz"])
def test_every_kind_of_table_says_the_same(table: Path, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"other.{kind}"
    if kind.startswith("jsonl"):
        content = table.read_text()
    else:
        lines = [("path", "text", "who"), *ROWS]
        with (tmp_path / "x").open("w", newline="") as file:
            csv.writer(file, delimiter="\t" if kind == "tsv" else ",").writerows(lines)
        content = (tmp_path / "x").read_text()
    path.write_bytes(gzip.compress(content.encode()) if kind.endswith("gz") else content.encode())
    assert texts(prepared(path), "train") == texts(prepared(table), "train")


def test_paths_may_lack_their_ending_and_lie_in_an_archive(table: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "audio.zip", "w") as archive:
        for name, *_ in ROWS:
            archive.write(tmp_path / "audio" / name, name)
    (tmp_path / "short.jsonl").write_text(table.read_text().replace(".wav", ""))
    data = prepared(tmp_path / "short.jsonl", audio=tmp_path / "audio.zip")
    split, same = data.split("train"), prepared(table).split("train")
    assert split is not None and same is not None
    everything = torch.arange(4)
    assert torch.equal(split.fetch(everything, 0, 0).inputs[0], same.fetch(everything, 0, 0).inputs[0])


def test_speakers_are_held_out_whole(table: Path) -> None:
    data = prepared(table, speaker="who", by="speaker", valid=0.34, test=0.34)
    assert sorted(len(texts(data, part)) for part in ("train", "valid", "test")) == [1, 1, 2]
    assert texts(prepared(table, speaker="who", test_speakers=("ann",)), "test") == ["ONE TWO", "TWO"]


def test_the_split_column_names_the_parts(table: Path, tmp_path: Path) -> None:
    parts = ["train", "dev", "train", "test"]
    rows = [json.loads(line) | {"part": part} for line, part in zip(table.read_text().splitlines(), parts, strict=True)]
    (tmp_path / "parts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = prepared(tmp_path / "parts.jsonl", split="part", valid=0.5, test=0.5)
    assert [texts(data, part) for part in ("train", "valid", "test")] == [["ONE TWO", "ONE"], ["TWO"], ["TWO ONE"]]


def test_texts_can_be_brought_to_one_case(table: Path) -> None:
    assert texts(prepared(table, case="lower"), "train")[0] == "one two"


def test_an_alphabet_may_have_letters_that_no_text_has(table: Path) -> None:
    port = prepared(table, alphabet="ABENOTW ").ports()[1]
    assert isinstance(port, Transcript) and port.alphabet == tuple("ABENOTW ")


def test_augmentation_makes_a_transcript_denser_and_the_port_says_so(table: Path) -> None:
    port = prepared(table, speed=0.2, shift=0.05).ports()[1]
    assert isinstance(port, Transcript) and port.densest == pytest.approx(7 / (0.3 / 1.2 - 0.05))


def test_a_letter_said_twice_needs_a_frame_between(table: Path, tmp_path: Path) -> None:
    (tmp_path / "twice.jsonl").write_text(json.dumps({"path": "a.wav", "text": "OTTO"}))
    port = prepared(tmp_path / "twice.jsonl").ports()[1]
    assert isinstance(port, Transcript) and port.densest == pytest.approx(5 / 0.3)


def test_what_was_learned_is_enough_to_write_down_without_the_manifest(table: Path, tmp_path: Path) -> None:
    data = prepared(table)
    (tmp_path / "kept").mkdir()
    data.save(tmp_path / "kept")
    loaded = ManifestTranscripts(manifest=tmp_path / "gone.jsonl")
    loaded.load(tmp_path / "kept")
    inputs, outputs = loaded.ports()
    assert inputs == data.ports()[0] and isinstance(outputs, Transcript)
    assert outputs.alphabet == tuple(" ENOTW")
    x_BT, lengths_B = loaded.read(tmp_path / "audio" / "d.wav")
    assert x_BT.shape == (1, 4800) and lengths_B.tolist() == [4800]


def test_the_names_of_yesno_are_its_words(sing: Sing, tmp_path: Path) -> None:
    names = ["0_0_0_0_1_1_1_1", "0_1_0_1_1_0_1_0", "1_1_1_1_0_0_0_0", "1_0_1_0_1_0_1_0", "0_0_1_1_0_0_1_1"]
    for name in names:
        sing(f"waves_yesno/{name}.wav", seconds=6.0)
    data = YesNo(folder=tmp_path / "waves_yesno", valid=0.2, test=0.2)
    data.prepare()
    assert [len(texts(data, part)) for part in ("train", "valid", "test")] == [3, 1, 1]
    said = {text for part in ("train", "valid", "test") for text in texts(data, part)}
    assert "NO NO NO NO YES YES YES YES" in said and len(said) == 5
    port = data.ports()[1]
    assert isinstance(port, Transcript) and port.alphabet == tuple(" ENOSY")
    sing("waves_yesno/maybe.wav")
    with pytest.raises(LabwrightError, match=r"maybe\.wav: a name in YESNO is its words"):
        YesNo(folder=tmp_path / "waves_yesno").prepare()


def test_an4_is_read_with_its_speakers_apart(an4: Path) -> None:
    data = ManifestTranscripts(
        manifest=an4 / "transcripts.jsonl.gz",
        audio=an4 / "audio.zip",
        path="id",
        speaker="speaker",
        split="split",
        by="speaker",
        valid=0.1,
    )
    recordings = data.manifest.read().recordings
    parts = data.held_out.split(recordings, "an4")
    assert {part: len(some) for part, some in parts.items() if part == "test"} == {"test": 98}
    speakers = [{one.speaker for one in some} for some in parts.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 50


@pytest.mark.parametrize(
    ("changed", "settings", "words"),
    [
        (("", ""), {"text": "txt"}, r"rows\.jsonl: there is no column 'txt'; did you mean 'text'\? It has path"),
        (("b.wav", "x.wav"), {}, r"rows\.jsonl, line 2: there is no recording 'x\.wav' in .*audio"),
        (
            ('"TWO"', '"TWØ"'),
            {"alphabet": "ENOTW "},
            r"rows\.jsonl, line 2: the transcript 'TWØ' has 'Ø'.*task\.data\.alphabet",
        ),
        (('{"path": "c', "{path: c"), {}, r"rows\.jsonl, line 3: no JSON"),
        (("", ""), {"split": "who"}, r"rows\.jsonl, line 1: column 'who' says 'ann'.* It is one of dev, test"),
        (("", ""), {"audio": Path("nowhere")}, r"no folder or archive 'nowhere'"),
        (("", ""), {"by": "speaker", "test": 0.2}, r"to hold out speakers, they must be known"),
    ],
)
def test_a_table_that_cannot_be_used_is_answered_with_the_row(
    table: Path, changed: tuple[str, str], settings: dict[str, object], words: str
) -> None:
    table.write_text(table.read_text().replace(*changed) if changed[0] else table.read_text())
    with pytest.raises(LabwrightError, match=words):
        prepared(table, **settings)
