"""Manifests: stretches of files, what rows lack, what columns aren't used, and labels alike in every kind of table."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from labwright import LabwrightError
from labwright_speech.data.manifest import ManifestTranscripts, ManifestWords

Sing = Callable[..., Path]
Row = Mapping[str, object]


@pytest.fixture
def clips(sing: Sing, tmp_path: Path) -> Path:
    """Six recordings of 0.5 seconds, 0.wav to 5.wav."""
    for number in range(6):
        sing(f"{number}.wav", hertz=200 + 50 * number, seconds=0.5)
    return tmp_path


def listed(folder: Path, rows: Sequence[Row], kind: str = "jsonl") -> Path:
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def texts(manifest: Path, **settings: object) -> ManifestTranscripts:
    data = ManifestTranscripts(manifest=manifest, **{"rate": 8000, "valid": 0.0, "test": 0.0} | settings)
    data.prepare()
    return data


def words(manifest: Path, **settings: object) -> ManifestWords:
    data = ManifestWords(manifest=manifest, **{"rate": 8000, "seconds": 0.5, "valid": 0.0, "test": 0.0} | settings)
    data.prepare()
    return data


def said(data: ManifestTranscripts, part: str = "train") -> list[str]:
    split = data.split(part)
    return [] if split is None else split.texts


def left_out(data: ManifestTranscripts | ManifestWords) -> list[str]:
    return [f"{one.count} {one.what}: {one.why}" for one in data.left_out()]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_labels_speakers_and_stretches_are_read_alike_from_every_kind_of_table(clips: Path, kind: str) -> None:
    rows = [
        {
            "path": f"{number}.wav",
            "label": number % 2,
            "speaker": 7,
            "split": "Train" if number else "DEV",
            "offset": 0.1,
        }
        for number in range(6)
    ]
    data = words(listed(clips, rows, kind), speaker="speaker", split="split")
    assert data.names == ("0", "1")
    train, valid = data.split("train"), data.split("valid")
    assert train is not None and valid is not None
    assert train.labels.tolist() == [1, 0, 1, 0, 1] and valid.labels.tolist() == [0]
    assert train.fetch(torch.arange(5), 0, 0).inputs[1].tolist() == [3200] * 5
    truths = [{"path": f"{number}.wav", "label": bool(number % 2)} for number in range(6)]
    assert words(listed(clips, truths, kind)).names == ("false", "true")


def test_rows_are_stretches_of_their_files(clips: Path) -> None:
    rows = [
        {"path": "0.wav", "text": "a", "offset": 0.0, "duration": 0.2},
        {"path": "0.wav", "text": "b", "offset": 0.2, "duration": 0.3},
        {"path": "1.wav", "text": "ab", "offset": None, "duration": None},
        {"path": "1.wav", "text": "ba", "offset": 0.125, "duration": None},
    ]
    split = texts(listed(clips, rows)).split("train")
    assert split is not None and split.lengths.tolist() == [1600, 2400, 4000, 3000]
    x_BT, _ = split.fetch(torch.arange(4), 0, 0).inputs
    assert torch.equal(torch.cat([x_BT[0, :1600], x_BT[1, :2400]]), whole(clips / "0.wav"))
    assert torch.equal(x_BT[3, :3000], x_BT[2, 1000:4000])
    assert len(set(split.identities)) == 4
    other = [dict(row) | {"begin": row["offset"], "long": row["duration"]} for row in rows]
    named = texts(listed(clips, other), offset="begin", duration="long").split("train")
    assert named is not None and named.lengths.tolist() == [1600, 2400, 4000, 3000]
    unused = texts(listed(clips, rows), offset="", duration="").split("train")
    assert unused is not None and unused.lengths.tolist() == [4000] * 4


def whole(path: Path) -> torch.Tensor:
    from labwright_speech.data.sound import read_file

    return read_file(path, 8000)


@pytest.mark.parametrize(
    ("stretch", "fault"),
    [
        ({"offset": 0.2, "duration": 0.5}, r"has 0\.50 seconds, not those from 0\.2 to 0\.7; .*line 1 lists it"),
        ({"offset": 0.6}, r"has 0\.50 seconds, not those from 0\.6 to its end"),
        ({"duration": 500}, r"has 0\.50 seconds, not those from 0 to 500"),
        ({"duration": 0}, r"holds no sound"),
        ({"offset": -1}, r"line 1: task\.data\.offset: '-1' is no number of seconds"),
        ({"duration": "long"}, r"line 1: task\.data\.duration: 'long' is no number of seconds"),
        ({"duration": "inf"}, r"line 1: task\.data\.duration: 'inf' is no number of seconds"),
    ],
)
def test_a_stretch_that_a_file_does_not_have_is_refused_or_left_out(clips: Path, stretch: Row, fault: str) -> None:
    manifest = listed(clips, [{"path": "0.wav", "text": "a", **stretch}, {"path": "1.wav", "text": "b"}])
    with pytest.raises(LabwrightError, match=fault):
        texts(manifest)
    data = texts(manifest, on_damaged="leave-out")
    assert said(data) == ["b"] and data.left_out()[0].count == 1


def test_stretches_of_a_file_stay_together_when_a_share_is_held_out(sing: Sing, tmp_path: Path) -> None:
    rows = []
    for number in range(10):
        sing(f"{number}.wav", hertz=200 + 20 * number, seconds=0.4)
        rows += [{"path": f"{number}.wav", "text": "ab", "offset": start, "duration": 0.2} for start in (0.0, 0.2)]
    data = texts(listed(tmp_path, rows), valid=0.3, test=0.3)
    files = []
    for part in ("train", "valid", "test"):
        split = data.split(part)
        assert split is not None
        files.append({one.label for one in split.entries})
    assert sum(map(len, files)) == len(set.union(*files)) == 10 and [len(one) for one in files[1:]] == [3, 3]


def test_recordings_that_are_not_there_are_counted_with_the_damaged_ones(clips: Path) -> None:
    (clips / "2.wav").write_bytes(b"x")
    (clips / "9.m4a").write_bytes(b"x")
    rows = [{"path": name, "text": "ab"} for name in ("0.wav", "2.wav", "7.wav", "9.m4a", "1")]
    manifest = listed(clips, rows)
    with pytest.raises(
        LabwrightError, match=r"3 of 5 recordings can't be used: .*line 3: there is no recording '7\.wav'"
    ):
        texts(manifest)
    data = texts(manifest, on_damaged="leave-out")
    assert said(data) == ["ab", "ab"]
    damaged, unlisted = data.left_out()
    assert damaged.count == 3 and "9.m4a is none of the recordings there" in damaged.why
    assert unlisted.count == 3 and unlisted.why == "not in rows.jsonl"


def test_rows_without_a_path_or_a_text_are_left_out_with_a_count(clips: Path) -> None:
    rows = [{"path": "0.wav", "text": "a"}, {"path": "1.wav", "text": " "}, {"path": None, "text": "b"}]
    data = texts(listed(clips, rows))
    assert said(data) == ["a"]
    assert any(one.startswith("1 row: no text, as in ") for one in left_out(data))
    assert any(one.startswith("1 row: no path, as in ") for one in left_out(data))


def test_paths_are_found_however_they_are_written(clips: Path, sing: Sing) -> None:
    sing(f"deep/{unicodedata.normalize('NFD', 'übung')}.wav")
    paths = ["./0.wav", str(clips / "1.wav"), "deep\\übung.wav", "deep/../2.wav", "3"]
    data = texts(listed(clips, [{"path": path, "text": "a"} for path in paths]))
    assert len(said(data)) == 5
    sing("3.flac")
    with pytest.raises(LabwrightError, match=r"'3' may be any of 3\.flac, 3\.wav; write its ending"):
        texts(listed(clips, [{"path": "3", "text": "a"}]))


def test_columns_that_say_something_and_are_not_used_are_named(clips: Path) -> None:
    rows = [{"path": f"{number}.wav", "text": "a", "split": "test", "start": 0.5} for number in range(2)]
    first, second = sorted(texts(listed(clips, rows)).remarks())
    assert first.startswith("column 'split' names parts and isn't used: set task.data.split=split")
    assert second.startswith("column 'start' isn't used") and "task.data.offset" in second
    rows = [{"path": "0.wav", "text": "a", "split": "train"}, {"path": "1.wav", "text": "a", "split": ""}]
    (remark,) = texts(listed(clips, rows), split="split").remarks()
    assert remark == "1 row has no part in column 'split': taken for training."


def test_the_same_sound_in_two_parts_is_remarked_on(clips: Path) -> None:
    (clips / "copy.wav").write_bytes((clips / "0.wav").read_bytes())
    rows = [{"path": name, "text": "a", "split": part} for name, part in (("0.wav", "train"), ("copy.wav", "test"))]
    (remark,) = texts(listed(clips, rows), split="split").remarks()
    assert "1 of 1 recordings of test are among the training ones" in remark and "copy.wav" in remark


def test_transcripts_are_composed_and_apostrophes_made_one(clips: Path) -> None:
    given = ["don't", "don\u2019t", unicodedata.normalize("NFD", "schön"), "schön", "do\u200bn't"]
    manifest = listed(clips, [{"path": f"{number}.wav", "text": text} for number, text in enumerate(given)])
    data = texts(manifest)
    assert said(data) == ["don't", "don't", "schön", "schön", "don't"]
    (remark,) = data.remarks()
    assert remark.startswith("2 transcripts are read with ' for a printed apostrophe, without invisible characters: ")
    kept = texts(manifest, alphabet="don'\u2019tschö")
    assert said(kept)[1] == "don\u2019t" and len(kept.remarks()) == 1


def test_letters_that_training_lacks_are_counted_with_the_alphabet_that_has_them(clips: Path) -> None:
    pairs = [("ab", "train"), ("ba", "train"), ("äb", "valid"), ("cä", "test"), ("a", "test")]
    rows = [{"path": f"{number}.wav", "text": text, "split": part} for number, (text, part) in enumerate(pairs)]
    with pytest.raises(LabwrightError, match=r"line 3: the transcript 'äb' has 'ä', .*'ä' in 2, 'c' in 1\.") as raised:
        texts(listed(clips, rows), split="split")
    assert "task.data.alphabet='abcä'" in str(raised.value)
    assert said(texts(listed(clips, rows), split="split", alphabet="abcä"), "test") == ["cä", "a"]


def test_a_held_out_transcript_that_nobody_could_say_in_the_time_is_named(clips: Path) -> None:
    rows = [{"path": "0.wav", "text": "ab", "split": "train"}, {"path": "1.wav", "text": "ab" * 20, "split": "valid"}]
    (remark,) = texts(listed(clips, rows), split="split").remarks()
    assert (
        remark.startswith("1 of 1 transcripts of valid have over 25 symbols a second") and "1.wav: 40 in 0.50" in remark
    )


def test_a_plain_split_has_the_same_recordings_as_they_are(clips: Path) -> None:
    rows = [{"path": f"{number}.wav", "text": "ab", "label": number % 2} for number in range(6)]
    for data in (
        texts(listed(clips, rows), noise=0.2, speed=0.2),
        words(listed(clips, rows), noise=0.2, shift=0.1, speed=0.2),
    ):
        split = data.split("train")
        assert split is not None
        plain = split.plain()
        everything = torch.arange(6)
        x_BT = plain.fetch(everything, 0, 0).inputs[0]
        assert torch.equal(x_BT, torch.stack([whole(clips / f"{number}.wav") for number in range(6)]))
        assert torch.equal(x_BT, plain.fetch(everything, 5, 1).inputs[0])
        assert list(plain.identities) == list(split.identities) and len(plain) == 6
        assert split.fetch(everything, 0, 0).inputs[0].shape != x_BT.shape or not torch.equal(
            split.fetch(everything, 0, 0).inputs[0], x_BT
        )


def test_recordings_weigh_what_a_column_says(clips: Path) -> None:
    rows = [{"path": f"{n}.wav", "label": "ab"[n % 2], "sure": n / 2} for n in range(6)]
    data = words(listed(clips, rows), weight="sure")
    split = data.split("train")
    assert split is not None
    assert split.fetch(torch.arange(6), 0, 0).weights.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]  # type: ignore[attr-defined]
    assert "rows weigh 0 to 2.5 in the loss, by 'sure'; metrics count each row alike." in data.remarks()
    rows[1]["sure"] = "very"
    with pytest.raises(LabwrightError, match=r"rows\.jsonl, line 2: the weight is 'very'"):
        words(listed(clips, rows), weight="sure")
