"""What lies about in folders of pictures: used, left out with a count, or refused in one message; never a class by
mistake, never a traceback."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from labwright import LabwrightError
from labwright_vision.data.digits import Digits
from labwright_vision.data.image_folder import ImageFolder
from PIL import Image

SHADES = itertools.count()
CLASSES = ("cat", "dog")


def picture(path: Path) -> None:
    """A picture unlike all others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = next(SHADES)
    Image.fromarray(np.array([[shade % 256, shade // 256], [7, 8]], np.uint8)).save(path, "png")


def fill(root: Path, *folders: str, count: int = 10) -> Path:
    """Pictures of cats and dogs in each of these folders below `root`, or right there."""
    for folder in folders or ("",):
        for name in CLASSES:
            for number in range(count):
                picture(root / folder / name / f"{number}.png")
    return root


def write(root: Path, *names: str) -> Path:
    """Files that are none: empty, or pictures where the name ends in png."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(root / name) if name.endswith(".png") else (root / name).write_bytes(b"")
    return root


def prepared(root: Path, **settings: object) -> ImageFolder:
    data = ImageFolder(folder=root, **{"size": 4} | settings)
    data.prepare()
    return data


def sizes(data: ImageFolder) -> dict[str, int]:
    return {part: len(split) for part in ("train", "valid", "test") if (split := data.split(part)) is not None}


def left_out(data: ImageFolder) -> list[str]:
    return [f"{one.count} {one.what}: {one.why}" for one in data.left_out()]


HELD_OUT = {"train": 16, "valid": 2, "test": 2}


@pytest.mark.parametrize(
    ("strange", "said"),
    [
        ([".DS_Store", "cat/.DS_Store", "Thumbs.db"], ["2 files: hidden, such as .DS_Store", "1 file: .db"]),
        (["cat/._0.png", "dog/._1.png"], ["2 files: hidden, such as cat/._0.png"]),
        (["__MACOSX/cat/._0.png", "__MACOSX/._x"], ["2 files: hidden, such as __MACOSX"]),
        (["cat/.ipynb_checkpoints/0-checkpoint.png"], ["1 file: hidden, such as cat/.ipynb_checkpoints"]),
        ([".ipynb_checkpoints/a-checkpoint.py"], ["1 file: hidden, such as .ipynb_checkpoints"]),
        ([".git/objects/1", ".git/HEAD", "dog/@eaDir/0.png"], ["3 files: hidden, such as .git"]),
        (["cat/1.heic", "cat/2.HEIC", "dog/notes.txt"], ["2 files: .heic", "1 file: .txt"]),
        (["cat/scan", "README", "labels.csv"], ["2 files: without a suffix", "1 file: .csv"]),
        (["0.png", "1.png"], ["2 pictures: in no class's folder, such as 0.png"]),
        (["cat/film.mp4", "cat/page.pdf", "cat/plot.eps"], ["1 file: .mp4", "1 file: .pdf", "1 file: .eps"]),
        (
            [f"cat/x.{one}" for one in "abcdefgh"],
            [f"1 file: .{one}" for one in "abcdef"] + ["2 files: of other suffixes"],
        ),
        (["cat/empty/"], []),
    ],
    ids=lambda value: str(value[0]) if value else "nothing",
)
def test_what_is_no_picture_is_left_out_with_a_count(tmp_path: Path, strange: list[str], said: list[str]) -> None:
    fill(tmp_path)
    for name in strange:
        (tmp_path / name).mkdir(parents=True) if name.endswith("/") else write(tmp_path, name)
    data = prepared(tmp_path)
    assert data.names == CLASSES and sizes(data) == HELD_OUT
    assert left_out(data) == said


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("Training", "Validation", "Testing"),
        ("train", "val", "test"),
        ("TRAIN", "dev", "TEST"),
        ("training", "validation", "testing"),
    ],
    ids="-".join,
)
def test_parts_are_taken_by_any_of_their_names(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for name, count in zip(names, (5, 3, 2), strict=True):
        fill(tmp_path, name, count=count)
    data = prepared(tmp_path)
    assert data.names == CLASSES and sizes(data) == {"train": 10, "valid": 6, "test": 4}
    assert left_out(data) == []


@pytest.mark.parametrize("other", ["train.old", "train_2", "eval", "backup"])
def test_a_folder_beside_train_that_is_no_part_is_named_as_unused(tmp_path: Path, other: str) -> None:
    data = prepared(fill(tmp_path, "train", other))
    assert data.names == CLASSES and sizes(data) == HELD_OUT
    assert left_out(data) == [f"20 files: in {other}, which is no part's name"]


def test_a_part_without_folders_of_classes_is_named_as_unused_and_held_out(tmp_path: Path) -> None:
    data = prepared(write(fill(tmp_path, "train"), "test/1.png", "test/2.png"))
    assert sizes(data) == HELD_OUT
    assert left_out(data) == ["2 pictures: in test, which has no folders of classes"]


def test_a_class_may_be_called_like_a_part_below_train(tmp_path: Path) -> None:
    for number in range(10):
        picture(tmp_path / "train" / "train" / f"{number}.png")
        picture(tmp_path / "train" / "bus" / f"{number}.png")
    assert prepared(tmp_path).names == ("bus", "train")


@pytest.mark.parametrize(
    ("folders", "strange", "words"),
    [
        (["train", "val", "valid"], [], "several folders for the part 'valid': val, valid"),
        (["train", "Train"], [], "several folders for the part 'train': Train, train"),
        (["train", "test", "testing"], [], "several folders for the part 'test'"),
        (["", "test"], [], "has test, but no folder train or training"),
        (["Validation", "Testing"], [], "has Testing, Validation, but no folder train"),
        ([""], ["test/1.png"], "has test, but no folder train"),
        ([""], ["train/1.png", "train/2.png"], r"train has no sub-folders \(but 2 pictures\)"),
        (["train/train", "train/test"], [], "has parts in it again, test, train: task.data.folder=.*train is what is"),
        (
            ["archive"],
            [],
            "one class only, 'archive'.* If cat, dog in it are what is meant: task.data.folder=.*archive",
        ),
        (["archive/train", "archive/test"], [], "If test, train in it are what is meant"),
        (
            ["train"],
            ["train/cat/test/1.png"],
            "test is called like a part, and parts stand above classes: move .*test/cat",
        ),
        ([], ["cat/train/1.png", "cat/val/1.png", "dog/train/1.png"], "parts stand above classes"),
        (["train"], ["test/cat/x.txt"], "test has no pictures"),
        (["train"], ["val/x.txt"], "val has no pictures"),
        (["train"], ["test/Cat/1.png"], "classes that are not among the training pictures: Cat; did you mean 'cat'"),
        ([""], ["labels/1.txt", "labels/2.txt"], "no pictures of labels: .*Left out were 2 files: .txt"),
        ([""], ["cow/1.heic"], "no pictures of cow: .*1 file: .heic"),
        ([], ["cat/1.png", "cat/2.png"], "one class only, 'cat'"),
        ([], ["1.png", "2.png"], r"no sub-folders \(but 2 pictures\)"),
        ([], [".cat/1.png", "__MACOSX/1.png"], "has no sub-folders:"),
        ([], ["cat\n/1.png", "dog/1.png"], r"'cat\\n' is a class whose name can't be shown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value) or "nothing",
)
def test_a_layout_that_can_be_meant_in_two_ways_is_refused(
    tmp_path: Path, folders: list[str], strange: list[str], words: str
) -> None:
    if folders:
        fill(tmp_path, *folders, count=2)
    write(tmp_path, *strange)
    with pytest.raises(LabwrightError, match=words):
        prepared(tmp_path)


def test_links_are_followed_and_those_that_lead_nowhere_are_counted(tmp_path: Path) -> None:
    root, elsewhere = fill(tmp_path / "root"), tmp_path / "elsewhere"
    for number in range(10):
        picture(elsewhere / f"{number}.png")
        picture(tmp_path / "cows" / f"{number}.png")
    (root / "cat" / "more").symlink_to(elsewhere)
    (root / "cow").symlink_to(tmp_path / "cows")
    (root / "cat" / "one.png").symlink_to(elsewhere / "gone.png")
    (root / "cat" / "itself.png").symlink_to("itself.png")
    (root / "dog" / "up").symlink_to(root)
    (root / "dog" / "here").symlink_to(".")
    data = prepared(root)
    assert data.names == ("cat", "cow", "dog") and sum(sizes(data).values()) == 40
    assert sorted(left_out(data)) == [
        "2 links: back to a folder above it, such as dog/here",
        "2 links: broken, such as cat/itself.png",
    ]


def test_a_pipe_called_like_a_picture_stops_nothing(tmp_path: Path) -> None:
    os.mkfifo(fill(tmp_path) / "cat" / "pipe.png")
    assert left_out(prepared(tmp_path)) == ["1 file: a pipe, socket or device, such as cat/pipe.png"]


def test_a_name_is_the_same_in_both_forms_of_unicode(tmp_path: Path) -> None:
    for part, form in (("train", "NFC"), ("test", "NFD")):
        for name in ("caf\u00e9", "tea"):
            for number in range(4):
                picture(tmp_path / part / unicodedata.normalize(form, name) / f"{number}.png")
    data = prepared(tmp_path, valid=0.25)
    assert data.names == ("caf\u00e9", "tea") and sizes(data) == {"train": 6, "valid": 2, "test": 8}


def test_the_parts_held_out_are_the_same_in_both_forms_of_unicode(tmp_path: Path) -> None:
    names = []
    for form in ("NFC", "NFD"):
        root = tmp_path / form
        for number in range(20):
            for name in ("\u00e4", "\u00f6"):
                picture(root / unicodedata.normalize(form, name) / unicodedata.normalize(form, f"\u00fc{number}.png"))
        names.append([one.rpartition(" ")[0] for one in prepared(root).identity("test")])
    assert names[0] == names[1]


def test_the_folder_one_is_in_holds_the_same_samples_as_by_its_whole_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fill(tmp_path, "train"))
    whole = list(prepared(tmp_path).identity("train"))
    assert whole[0].startswith("train/cat/")
    for folder in (".", f"../{tmp_path.name}", f"{tmp_path}/", "./"):
        assert list(prepared(Path(folder)).identity("train")) == whole, folder


def test_two_folders_of_one_name_in_two_forms_are_refused(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        picture(tmp_path / unicodedata.normalize(form, "caf\u00e9") / "1.png")
    with pytest.raises(LabwrightError, match="two folders called 'caf\u00e9', in different forms of Unicode"):
        prepared(tmp_path)


def test_file_names_that_are_no_text_are_read_and_class_names_refused(tmp_path: Path) -> None:
    strange = Path(os.fsdecode(b"\xff.png"))
    (fill(tmp_path) / "cat" / "0.png").rename(tmp_path / "cat" / strange)
    data = prepared(tmp_path)
    assert sizes(data) == HELD_OUT and len(list(data.identity("train"))) == 16
    (tmp_path / "cat").rename(tmp_path / strange)
    with pytest.raises(LabwrightError, match="is a class whose name can't be shown"):
        prepared(tmp_path)


@pytest.mark.parametrize("folder", ["x" * 300, "a\0b", "nowhere", "~nobody-of-that-name/x"])
def test_a_folder_that_is_not_there_is_one_message(tmp_path: Path, folder: str) -> None:
    with pytest.raises(LabwrightError, match=r"task\.data\.folder: "):
        prepared(tmp_path / folder if folder[0] != "~" else Path(folder))


def test_what_is_no_archive_is_answered(tmp_path: Path) -> None:
    (tmp_path / "pictures.zip").write_bytes(b"PK")
    with pytest.raises(LabwrightError, match=r"pictures\.zip' is neither a folder nor a zip archive"):
        prepared(tmp_path / "pictures.zip")


def test_a_folder_of_inputs_is_searched_in_the_same_way(tmp_path: Path) -> None:
    write(tmp_path, "b/2.png", "1.png", "._1.png", ".cache/3.png", "notes.txt", "__MACOSX/1.png")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    expected = [tmp_path / "1.png", tmp_path / "b" / "2.png"]
    for data in (ImageFolder(folder=tmp_path), Digits()):
        assert data.files(tmp_path) == expected


# ------------------------------------------------------------------------------------------------------------ remarks


def the_remark(root: Path, **settings: object) -> str:
    (only,) = prepared(root, **settings).remarks()
    return only


def copy(root: Path, source: str, to: Iterable[str]) -> Path:
    for name in to:
        (root / name).write_bytes((root / source).read_bytes())
    return root


def test_nothing_is_remarked_on_ordinary_pictures(tmp_path: Path) -> None:
    assert list(prepared(fill(tmp_path)).remarks()) == []


def test_the_same_picture_in_two_parts_is_remarked(tmp_path: Path) -> None:
    fill(tmp_path, "train", "valid", "test", count=3)
    copy(tmp_path, "train/cat/1.png", ["test/cat/1.png", "test/cat/2.png"])
    assert the_remark(tmp_path).startswith(
        "2 of 6 pictures of test are in another part as well, such as test/cat/1.png in train (train/cat/1.png)"
    )


def test_the_same_picture_under_two_classes_is_remarked(tmp_path: Path) -> None:
    copy(fill(tmp_path, "train"), "train/cat/1.png", ["train/dog/1.png"])
    said = the_remark(tmp_path, valid=0.0, test=0.0)
    assert said.startswith("1 picture under two classes, such as train/dog/1.png and train/cat/1.png")


def test_a_class_that_a_part_lacks_is_remarked(tmp_path: Path) -> None:
    fill(tmp_path, "train")
    picture(tmp_path / "test" / "cat" / "1.png")
    assert the_remark(tmp_path) == "test has no picture of dog."


def test_classes_that_differ_in_case_alone_are_remarked(tmp_path: Path) -> None:
    fill(tmp_path)
    for number in range(10):
        picture(tmp_path / "Cat" / f"{number}.png")
    assert "the classes 'Cat' and 'cat' differ in case or spaces alone" in the_remark(tmp_path)


def test_folders_of_the_same_names_in_every_class_are_remarked(tmp_path: Path) -> None:
    said = the_remark(fill(tmp_path, "2023", "2024"))
    assert said.startswith("each class has the folders cat, dog in it, which are not told apart")
