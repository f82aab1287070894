"""Recordings with classes: folders, names, archives, SPEECHCOMMANDS' lists, tables; what is held out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from labwright import Audio, Classes, LabwrightError
from labwright_speech.data.folder import RecordingFolder
from labwright_speech.data.manifest import ManifestWords
from labwright_speech.data.sound import Recording, Waveforms
from labwright_speech.data.words import Words
from labwright_tasks.fold_data import Fold

Sing = Callable[..., Path]


def prepared(folder: Path, **settings: object) -> RecordingFolder:
    data = RecordingFolder(folder=folder, **{"rate": 8000, "seconds": 0.2, "valid": 0.2, "test": 0.2} | settings)
    data.prepare()
    return data


def recordings(data: Words, part: str) -> list[Recording]:
    split = data.split(part)
    if split is None:
        return []
    assert isinstance(split.sounds, Waveforms)
    return list(split.sounds.recordings)


def sizes(data: Words) -> list[int]:
    return [len(data.split(part) or ()) for part in ("train", "valid", "test")]


@pytest.fixture
def tones(sing: Sing, tmp_path: Path) -> Path:
    """Ten recordings of each of two classes."""
    for number in range(10):
        sing(f"tones/low/{number}.wav", hertz=200 + number, seconds=0.1 + 0.03 * number)
        sing(f"tones/high/{number}.flac", hertz=900 + number, rate=16_000)
    return tmp_path / "tones"


def test_sub_folders_are_classes_and_shares_are_held_out_in_proportion(tones: Path) -> None:
    data = prepared(tones)
    assert data.ports() == (Audio(8000, 1600), Classes(("high", "low")))
    assert sizes(data) == [12, 4, 4]
    for part in ("train", "valid", "test"):
        split = data.split(part)
        assert split is not None and split.labels.bincount().tolist() == [len(split) // 2] * 2
    names = [{one.name for one in recordings(data, part)} for part in ("train", "valid", "test")]
    assert len(set.union(*names)) == 20


def test_a_recording_is_resampled_cut_to_its_middle_or_filled_up(tones: Path) -> None:
    split = prepared(tones, valid=0.0, test=0.0).split("train")
    assert split is not None
    batch = split.fetch(torch.arange(20), 0, 0)
    x_BT, lengths_B = batch.inputs
    assert x_BT.shape == (20, 1600)
    assert lengths_B.tolist() == [1600] * 10 + [min(1600, round(8000 * (0.1 + 0.03 * number))) for number in range(10)]
    assert batch.targets.tolist() == [0] * 10 + [1] * 10
    assert x_BT[10, lengths_B[10] :].abs().max() == 0 and x_BT[10].abs().max() > 0.4


def test_folders_and_archives_named_train_valid_and_test_are_taken_as_they_are(sing: Sing, tmp_path: Path) -> None:
    for part, count in (("train", 5), ("dev", 2)):
        for number in range(count):
            sing(f"data/{part}/a/{number}.wav")
            sing(f"data/{part}/b/{number}.wav")
    with zipfile.ZipFile(tmp_path / "data" / "test.zip", "w") as archive:
        for name in ("a", "b"):
            archive.write(sing(f"{name}.wav"), f"{name}/1.wav")
    assert sizes(prepared(tmp_path / "data")) == [10, 4, 2]


def test_names_tell_class_and_speaker_by_a_pattern(sing: Sing, tmp_path: Path) -> None:
    for speaker in ("ann", "bob", "cyd", "dan", "eve"):
        for digit in (0, 1):
            for number in range(2):
                sing(f"{digit}_{speaker}_{number}.wav")
    pattern = r"(?P<label>\d)_(?P<speaker>[a-z]+)_\d+"
    data = prepared(tmp_path, pattern=pattern)
    assert data.ports()[1] == Classes(("0", "1"))
    data = prepared(tmp_path, pattern=pattern, by="speaker")
    speakers = {part: {one.speaker for one in recordings(data, part)} for part in ("train", "valid", "test")}
    assert [len(speakers[part]) for part in speakers] == [3, 1, 1] and len(set.union(*speakers.values())) == 5
    data = prepared(tmp_path, pattern=pattern, test_speakers=("eve",), valid_speakers=("bob", "dan"))
    assert {one.speaker for one in recordings(data, "test")} == {"eve"}
    assert {one.speaker for one in recordings(data, "valid")} == {"bob", "dan"}
    assert {one.speaker for one in recordings(data, "train")} == {"ann", "cyd"}
    data = prepared(tmp_path, pattern=pattern, by="speaker", valid_speakers=("bob",), test=0.25)
    test = {one.speaker for one in recordings(data, "test")}
    assert len(test) == 1 and "bob" not in test  # a share of the others, as ever


def test_a_speaker_left_out_is_left_out_of_every_part_the_data_has(sing: Sing, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for speaker in ("ann", "bob", "cyd"):
            sing(f"data/{part}/0_{speaker}_1.wav")
            sing(f"data/{part}/1_{speaker}_1.wav")
    data = prepared(tmp_path / "data", pattern=r"(?P<label>\d)_(?P<speaker>[a-z]+)", test_speakers=("bob",), valid=0.0)
    assert sizes(data) == [8, 0, 4]
    assert {one.speaker for one in recordings(data, "test")} == {"bob"}
    assert "bob" not in {one.speaker for one in recordings(data, "train")}


def test_the_layout_of_speechcommands(sing: Sing, tmp_path: Path) -> None:
    for word in ("yes", "no"):
        for who in ("0a7c2a8d", "1b4c9b89", "2e75d37a", "3c4aa5ef"):
            sing(f"data/{word}/{who}_nohash_0.wav", rate=16_000, seconds=1.0)
    sing("data/_background_noise_/hiss.wav")
    (tmp_path / "data" / "validation_list.txt").write_text("yes/1b4c9b89_nohash_0.wav\nno/1b4c9b89_nohash_0.wav\n")
    (tmp_path / "data" / "testing_list.txt").write_text("yes/2e75d37a_nohash_0.wav\n")
    data = prepared(tmp_path / "data", rate=16_000, seconds=1.0)
    assert data.ports() == (Audio(16_000, 16_000), Classes(("no", "yes")))
    assert sizes(data) == [5, 2, 1]
    assert [one.name for one in recordings(data, "test")] == ["yes/2e75d37a_nohash_0.wav"]
    assert {one.speaker for one in recordings(data, "valid")} == {"1b4c9b89"}
    left_out = prepared(tmp_path / "data", test_speakers=("3c4aa5ef",), valid=0.0)
    assert sizes(left_out) == [6, 0, 2]


def test_a_table_tells_classes_speakers_and_parts(sing: Sing, tmp_path: Path) -> None:
    rows = [("1.wav", "a", "ann", "train"), ("2.wav", "b", "bob", "train"), ("3.wav", "a", "cyd", "test")]
    for name, *_ in rows:
        sing(f"audio/{name}")
    (tmp_path / "table.csv").write_text("file,kind,who,part\n" + "\n".join(",".join(row) for row in rows))
    columns = {"path": "file", "label": "kind", "speaker": "who", "split": "part"}
    data = ManifestWords(manifest=tmp_path / "table.csv", audio=tmp_path / "audio", rate=8000, valid=0.0, **columns)
    data.prepare()
    assert sizes(data) == [2, 0, 1] and data.ports()[1] == Classes(("a", "b"))
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(json.dumps(dict(zip(columns.values(), row, strict=True))) for row in rows)
    )
    again = ManifestWords(manifest=tmp_path / "rows.jsonl", audio=tmp_path / "audio", rate=8000, valid=0.0, **columns)
    again.prepare()
    assert sizes(again) == sizes(data)


def test_augmentation_is_the_same_whatever_the_batch_and_only_in_training(tones: Path) -> None:
    data = prepared(tones, speed=0.1, shift=0.02, noise=0.1)
    split = data.split("train")
    assert split is not None
    whole = split.fetch(torch.arange(12), 2, 5).inputs[0]
    assert torch.equal(split.fetch(torch.tensor([7, 3]), 2, 5).inputs[0], whole[[7, 3]])
    assert not torch.equal(split.fetch(torch.arange(12), 3, 5).inputs[0], whole)
    test = data.split("test")
    assert test is not None
    assert torch.equal(test.fetch(torch.arange(4), 0, 0).inputs[0], test.fetch(torch.arange(4), 1, 1).inputs[0])


def test_what_was_learned_is_enough_to_hear_a_file_without_the_folder(tones: Path, tmp_path: Path) -> None:
    data = prepared(tones)
    kept = tmp_path / "kept"
    kept.mkdir()
    data.save(kept)
    loaded = RecordingFolder(folder=tmp_path / "gone")
    loaded.load(kept)
    assert loaded.ports() == data.ports()
    for one, other in zip(loaded.read(tones / "low" / "9.wav"), data.read(tones / "low" / "9.wav"), strict=True):
        assert torch.equal(one, other)
    assert [path.name for path in data.files(tones / "low")] == [f"{number}.wav" for number in range(10)]


def test_a_report_shows_spectrograms_without_the_silence_behind(tones: Path) -> None:
    data = prepared(tones)
    pictures = data.show(data.read(tones / "low" / "0.wav"))
    assert [tuple(picture.shape) for picture in pictures] == [(1, 64, 11)]
    loudest = int(pictures[0][0, :, 5].argmax())
    assert loudest > 50  # 200 Hz: near the bottom


def test_spoken_digits_are_read_from_their_archives(fsdd: Path) -> None:
    data = prepared(fsdd, pattern=r"(?P<label>\d)_(?P<speaker>[a-z]+)_\d+", seconds=0.8, valid=0.0)
    assert sizes(data) == [1500, 0, 300] and data.ports()[1] == Classes(tuple("0123456789"))
    assert len({one.speaker for one in recordings(data, "test")}) == 6


@pytest.mark.parametrize(
    ("made", "settings", "words"),
    [
        ([], {}, "has no recordings"),
        (["1.wav", "2.wav"], {}, "is in no sub-folder"),
        (["a/1.wav", "a/2.wav"], {"valid": 0.0, "test": 0.0}, "one class only, 'a'"),
        (["a/1.wav", "b/1.wav"], {"test": 0.1}, r"so few recordings that 0\.1 of them is none.*task\.data\.test"),
        (["a/1.wav", "b/1.wav"], {"by": "speaker"}, r"to hold out speakers, they must be known"),
        (["1_x.wav", "2_y.wav"], {"pattern": r"(?P<label>\d"}, "is no regular expression"),
        (["1_x.wav", "2_y.wav"], {"pattern": r"\d"}, r"has no group \(\?P<label>"),
        (["1_x.wav", "z_y.wav"], {"pattern": r"(?P<label>\d)"}, r"isn't found in 'z_y\.wav'"),
        (
            ["1_ann.wav", "2_bob.wav"],
            {"pattern": r"(?P<label>\d)_(?P<speaker>[a-z]+)", "test_speakers": ("bop",)},
            r"nobody is called 'bop'; did you mean 'bob'",
        ),
        (
            ["1_ann.wav", "2_ann.wav"],
            {"pattern": r"(?P<label>\d)_(?P<speaker>[a-z]+)", "test_speakers": ("ann",)},
            r"no recording is left to learn from",
        ),
        (["train/a/1.wav", "train/b/1.wav", "test/c/1.wav"], {"valid": 0.0}, "class 'c' of test is not among"),
    ],
)
def test_a_folder_that_cannot_be_used_is_answered_with_what_is_wrong(
    sing: Sing, tmp_path: Path, made: list[str], settings: dict[str, object], words: str
) -> None:
    (tmp_path / "data").mkdir()
    for name in made:
        sing(f"data/{name}")
    with pytest.raises(LabwrightError, match=words):
        prepared(tmp_path / "data", **settings)


def test_folds_keep_the_recordings_of_a_speaker_together(tmp_path):
    rows = []
    for number in range(24):
        name = f"{'yes' if number % 2 else 'no'}-{number}.wav"
        wave = np.random.default_rng(number).standard_normal(1600).astype(np.float32) * 0.1
        soundfile.write(tmp_path / name, wave, 8000)
        rows.append({"path": name, "label": name.split("-")[0], "speaker": f"s{number // 4}"})
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"rate": 8000, "seconds": 0.2, "valid": 0.0, "test": 0.0, "speaker": "speaker"}
    manifest = ManifestWords(manifest=tmp_path / "all.jsonl", audio=tmp_path, **settings)
    fold = Fold(manifest, number=1, of=3, valid=0.25)
    fold.prepare()
    places = {
        name: [fold.place(name, at) for at in range(len(fold.split(name)))] for name in ("train", "valid", "test")
    }
    speakers = {name: {int(place.split("-")[1].split(".")[0]) // 4 for place in some} for name, some in places.items()}
    assert sum(map(len, speakers.values())) == 6 == len(set.union(*speakers.values()))
    assert "dealt out by group" in fold.remarks()[-1]
