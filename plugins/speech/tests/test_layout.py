"""What lies in a folder of recordings: parts by their names, classes, what is left out of it, what is refused."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from labwright import Classes, LabwrightError
from labwright_speech.data.folder import RecordingFolder
from labwright_speech.data.yesno import YesNo

Sing = Callable[..., Path]


@pytest.fixture
def lay(sing: Sing, tmp_path: Path) -> Callable[..., Path]:
    """Two recordings of each class in each folder named: `lay("train", "test")`; all of them differ."""
    count = 0

    def laid(*folders: str, classes: tuple[str, ...] = ("a", "b"), each: int = 2) -> Path:
        nonlocal count
        for folder in folders:
            for name in classes:
                for number in range(each):
                    count += 1
                    sing(f"data/{folder}/{name}/{number}.wav", hertz=200 + 7 * count, seconds=0.1)
        return tmp_path / "data"

    return laid


def prepared(folder: Path, **settings: object) -> RecordingFolder:
    data = RecordingFolder(folder=folder, **{"rate": 8000, "seconds": 0.2, "valid": 0.0, "test": 0.0} | settings)
    data.prepare()
    return data


def sizes(data: RecordingFolder) -> list[int]:
    return [len(data.split(part) or ()) for part in ("train", "valid", "test")]


def left_out(data: RecordingFolder) -> list[str]:
    return [f"{one.count} {one.what}: {one.why}" for one in data.left_out()]


def zipped(folder: Path, archive: Path, top: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return archive


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "val", "test"),
        ("training", "dev", "TEST"),
    ],
)
def test_parts_are_parts_by_any_of_their_names(lay: Callable[..., Path], train: str, valid: str, test: str) -> None:
    folder = lay(train, each=3)
    lay(valid, each=1)
    data = prepared(lay(test))
    assert sizes(data) == [6, 2, 4] and data.ports()[1] == Classes(("a", "b")) and not left_out(data)
    assert sizes(prepared(zipped(folder, folder.parent / "data.zip"))) == [6, 2, 4]
    assert sizes(prepared(zipped(folder, folder.parent / "inner.zip", "corpus/v1/"))) == [6, 2, 4]


def test_what_lies_beside_parts_is_left_out_with_a_count_and_never_a_class(
    lay: Callable[..., Path], sing: Sing
) -> None:
    data = lay("train", "train.old", "test")
    sing("data/loose.wav")
    found = prepared(data)
    assert sizes(found) == [4, 0, 4] and found.names == ("a", "b")
    assert left_out(found) == ["1 recording: beside the parts", "4 recordings: in train.old, which is no part's name"]


def test_hidden_files_and_what_systems_leave_behind_are_left_out_with_a_count(lay: Callable[..., Path]) -> None:
    data = lay(".")
    for name in (
        "a/._0.wav",
        ".DS_Store",
        ".ipynb_checkpoints/0.wav",
        "__MACOSX/a/0.wav",
        "a/Thumbs.db",
        "@eaDir/x.wav",
    ):
        path = data / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"x")
    (data / "_background_noise_").mkdir()
    (data / "_background_noise_" / "0.wav").write_bytes((data / "a" / "0.wav").read_bytes())
    for found in (prepared(data), prepared(zipped(data, data.parent / "data.zip"))):
        assert sizes(found) == [4, 0, 0] and found.names == ("a", "b")
        assert left_out(found) == ["6 files: hidden", "1 recording: below or with a name that begins with _"]


def test_files_that_are_no_recordings_are_counted_by_suffix(lay: Callable[..., Path]) -> None:
    data = lay(".")
    for name in ("a/0.m4a", "a/1.M4A", "b/0.wma", "notes.txt", "LICENSE"):
        (data / name).write_bytes(b"x")
    found = left_out(prepared(data))
    assert found[0] == "2 files: .m4a"
    assert set(found[1:]) == {"1 file: .txt", "1 file: .wma", "1 file: without a suffix"}


def test_links_are_followed_and_those_that_go_in_circles_are_left_out(lay: Callable[..., Path], sing: Sing) -> None:
    data = lay(".")
    for number in range(2):
        sing(f"elsewhere/{number}.wav", hertz=900 + number)
    (data / "c").symlink_to(data.parent / "elsewhere", target_is_directory=True)
    (data / "a" / "up").symlink_to(data, target_is_directory=True)
    os.mkfifo(data / "b" / "pipe.wav")
    found = prepared(data)
    assert found.names == ("a", "b", "c") and sizes(found) == [6, 0, 0]
    assert sorted(left_out(found)) == ["1 file: a link to a folder above it", "1 file: a pipe, socket or device"]
    (data / "a" / "gone.wav").symlink_to(data / "nowhere.wav")
    with pytest.raises(LabwrightError, match=r"gone\.wav can't be read as sound: No such file"):
        prepared(data)


def test_one_folder_around_all_the_others_is_no_class(lay: Callable[..., Path]) -> None:
    data = lay("corpus/words")
    found = prepared(data)
    assert found.names == ("a", "b")
    assert prepared(zipped(data, data.parent / "data.zip")).names == ("a", "b")
    assert sizes(prepared(lay("other/train", "other/test").parent / "data" / "other")) == [4, 0, 4]


def test_recordings_deeper_than_their_class_are_of_it_and_that_is_said(lay: Callable[..., Path], sing: Sing) -> None:
    data = lay(".")
    sing("data/a/session/0.wav")
    found = prepared(data)
    assert found.names == ("a", "b") and sizes(found) == [5, 0, 0]
    assert any("deeper than their class's folder" in text and "'a'" in text for text in found.remarks())


def test_names_of_classes_are_composed_alike(sing: Sing, tmp_path: Path) -> None:
    for number, form in enumerate(("NFC", "NFD")):
        sing(f"data/{unicodedata.normalize(form, 'für')}/{number}.wav", hertz=300 + number)
    sing("data/gegen/0.wav", hertz=500)
    found = prepared(tmp_path / "data")
    assert found.names == (unicodedata.normalize("NFC", "für"), "gegen") and sizes(found) == [3, 0, 0]


def test_names_that_differ_in_case_alone_are_classes_and_that_is_said(lay: Callable[..., Path]) -> None:
    found = prepared(lay(".", classes=("Yes", "yes", "no")))
    assert found.remarks() == ["'Yes' and 'yes' are different classes; give them one name if they mean the same."]


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train", "val", "valid"], r"several folders for the part 'valid': val, valid"),
        (["train", "Training"], r"several folders for the part 'train': Training, train"),
        (["test", "validation"], r"has test, validation, but no folder train or training"),
        (
            ["x/train", "x/test", "y/train"],
            r"the folder '(train|test)' is called like a part, and parts stand above classes",
        ),
        (["train/valid", "train/c"], r"the folder 'valid' is called like a part"),
    ],
)
def test_parts_that_can_be_taken_in_two_ways_are_refused(
    lay: Callable[..., Path], folders: list[str], words: str
) -> None:
    data = lay(*folders)
    with pytest.raises(LabwrightError, match=words):
        prepared(data)


def test_an_archive_of_a_part_beside_the_folder_it_was_unpacked_to_is_not_read_twice(lay: Callable[..., Path]) -> None:
    data = lay("train", "test")
    zipped(data / "train", data / "train.zip")
    found = prepared(data)
    assert sizes(found) == [4, 0, 4] and left_out(found) == ["1 file: .zip"]


def test_damaged_recordings_are_refused_with_their_number_or_left_out(lay: Callable[..., Path]) -> None:
    data = lay(".", each=4)
    for name, content in (
        ("a/0.wav", b""),
        ("a/1.wav", b"RIFF"),
        ("b/0.wav", (data / "b" / "0.wav").read_bytes()[:900]),
    ):
        (data / name).write_bytes(content)
    with pytest.raises(LabwrightError) as raised:
        prepared(data)
    said = str(raised.value)
    assert said.startswith("3 of 8 recordings can't be used: ") and "a/0.wav is empty: it has 0 bytes" in said
    assert "b/0.wav is cut off" in said and said.endswith("task.data.on_damaged=leave-out goes on without them.")
    found = prepared(data, on_damaged="leave-out")
    assert sizes(found) == [5, 0, 0]
    (one,) = found.left_out()
    assert one.count == 3 and one.what == "recordings" and one.why.startswith("damaged: ")


def test_silence_and_recordings_of_two_parts_are_remarked_on(lay: Callable[..., Path], tmp_path: Path) -> None:
    data = lay("train", "test")
    soundfile.write(data / "train" / "a" / "9.wav", [0.0] * 800, 8000)
    soundfile.write(data / "test" / "a" / "9.wav", [0.0] * 800, 8000)
    (data / "test" / "b" / "7.wav").write_bytes((data / "train" / "a" / "1.wav").read_bytes())
    silent, shared = prepared(data).remarks()
    assert silent.startswith("2 recordings are digital silence: ")
    assert shared.startswith(
        f"1 of 6 recordings of test are among the training ones: {data}/test/b/7.wav is {data}/train/a/1"
    )


def test_recordings_longer_than_an_input_are_counted(lay: Callable[..., Path]) -> None:
    (text,) = prepared(lay("."), seconds=0.08).remarks()
    assert text.startswith(
        "4 of 4 recordings are longer than task.data.seconds=0.08 and cut to their middle; the longest has 0.10"
    )


def test_lists_that_name_what_is_not_there_are_remarked_on(lay: Callable[..., Path]) -> None:
    data = lay(".")
    (data / "testing_list.txt").write_text("a/0.wav\na/7.wav\n")
    found = prepared(data)
    assert sizes(found) == [3, 0, 1] and not left_out(found)
    assert found.remarks() == ["Lists name 1 recordings that aren't there: a/7.wav in testing_list.txt."]
    assert sizes(prepared(zipped(data, data.parent / "data.zip"))) == [3, 0, 1]


def test_an_identity_follows_names_sizes_and_classes_and_not_the_place(
    lay: Callable[..., Path], tmp_path: Path
) -> None:
    data = lay("train", "test")
    before = {part: list(prepared(data).identity(part) or ()) for part in ("train", "test")}
    assert [len(some) for some in before.values()] == [4, 4]
    data.rename(tmp_path / "moved")
    assert list(prepared(tmp_path / "moved").identity("train") or ()) == before["train"]
    assert prepared(tmp_path / "moved").identity("valid") is None
    (tmp_path / "moved" / "train" / "a").rename(tmp_path / "moved" / "train" / "A")
    (tmp_path / "moved" / "test" / "a").rename(tmp_path / "moved" / "test" / "A")
    assert list(prepared(tmp_path / "moved").identity("train") or ()) != before["train"]


def test_yesno_leaves_damaged_recordings_out_too(sing: Sing, tmp_path: Path) -> None:
    for number in range(6):
        sing(f"waves/0_1_{number % 2}_{number // 2 % 2}_{number // 4}.wav", hertz=200 + number, seconds=6.0)
    (tmp_path / "waves" / "1_1_1.wav").write_bytes(b"x")
    with pytest.raises(LabwrightError, match=r"1_1_1\.wav can't be read as sound.*on_damaged"):
        YesNo(folder=tmp_path / "waves", test=0.0, valid=0.0).prepare()
    data = YesNo(folder=tmp_path / "waves", test=0.0, valid=0.0, on_damaged="leave-out")
    data.prepare()
    assert len(data.split("train") or ()) == 6 and [one.count for one in data.left_out()] == [1]
