"""The user's own pictures: classes from sub-folders, parts that stay as they are, a clear message for each fault."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from labwright.errors import LabwrightError
from labwright.ports import Classes, Image
from labwright_vision.data.image_folder import ImageFolder
from PIL import Image as Pillow

Paint = Callable[..., Path]
COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def colours(tmp_path: Path, paint: Paint) -> Path:
    """Twenty pictures of each of three colours, in different sizes and formats."""
    for name, colour in COLOURS.items():
        for number in range(20):
            suffix = ("png", "jpg", "bmp", "JPEG")[number % 4]
            paint(f"{name}/{number}.{suffix}", size=(10 + number, 30 - number), colour=colour)
    return tmp_path


def prepared(folder: Path, **settings: object) -> ImageFolder:
    data = ImageFolder(folder=folder, **{"size": 8, "valid": 0.2, "test": 0.1} | settings)
    data.prepare()
    return data


def names(data: ImageFolder, part: str) -> set[str]:
    split = data.split(part)
    return set() if split is None else {f"{path.parent.name}/{path.name}" for path in split.paths}


def test_sub_folders_are_classes_and_shares_are_held_out_in_proportion(colours: Path) -> None:
    data = prepared(colours)
    assert data.ports() == (Image(3, 8, 8), Classes(("blue", "green", "red")))
    counts = {}
    for part in ("train", "valid", "test"):
        split = data.split(part)
        assert split is not None
        counts[part] = split.labels.bincount().tolist()
    assert counts == {"train": [14] * 3, "valid": [4] * 3, "test": [2] * 3}
    assert len(names(data, "train") | names(data, "valid") | names(data, "test")) == 60


def test_the_parts_follow_from_the_names_of_the_files(colours: Path, tmp_path: Path) -> None:
    first = prepared(colours)
    shutil.copytree(colours, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("elsewhere"))
    second = prepared(tmp_path / "elsewhere")
    for part in ("train", "valid", "test"):
        assert names(first, part) == names(second, part)


def test_a_new_picture_moves_few_of_the_old_ones(colours: Path, paint: Paint) -> None:
    before = prepared(colours)
    paint("red/another.png")
    after = prepared(colours)
    moved = sum(len(names(before, part) - names(after, part)) for part in ("train", "valid", "test"))
    assert moved <= 2  # at most one at each border between parts


def test_a_batch_holds_the_pictures_asked_for_scaled_as_pretrained_networks_expect(colours: Path) -> None:
    split = prepared(colours).split("train")
    assert split is not None
    indices = torch.tensor([0, len(split) - 1])
    batch = split.fetch(indices, 0, 0)
    assert batch.inputs[0].shape == (2, 3, 8, 8) and batch.inputs[0].dtype == torch.float32
    assert batch.targets.tolist() == [0, 2]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # torchvision's
    blue, red = (torch.tensor(COLOURS[name]) / 255 for name in ("blue", "red"))
    expected = (torch.stack([blue, red]) - mean) / deviation
    torch.testing.assert_close(batch.inputs[0].mean(dim=(2, 3)), expected, rtol=0, atol=0.05)  # jpeg's rounding


def test_a_picture_is_cut_around_its_middle_and_turned_upright(tmp_path: Path, colours: Path) -> None:
    data = prepared(colours, channels=1)
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:4, 4:12] = 255  # the middle square: white above, black below
    picture = Pillow.fromarray(pixels)
    picture.save(tmp_path / "upright.png")
    turned = picture.transpose(Pillow.Transpose.ROTATE_90)
    exif = Pillow.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    for name in ("upright.png", "turned.png"):
        (x_BCHW,) = data.read(tmp_path / name)
        assert x_BCHW.shape == (1, 1, 8, 8)
        assert (x_BCHW[0, 0, :4] > 0).all() and (x_BCHW[0, 0, 4:] < 0).all(), name


def test_folders_named_train_valid_and_test_are_taken_as_they_are(tmp_path: Path, paint: Paint) -> None:
    for part, count in (("train", 5), ("val", 3), ("test", 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                paint(f"{part}/{name}/{number}.png")
    data = prepared(tmp_path)
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [10, 6, 4]
    shutil.rmtree(tmp_path / "test")
    data = prepared(tmp_path, test=0.2)
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [8, 6, 2]
    assert prepared(tmp_path, test=0.0).split("test") is None


def test_what_was_learned_is_enough_to_read_a_picture_without_the_folder(colours: Path, tmp_path: Path) -> None:
    data = prepared(colours, channels=1)
    kept = tmp_path / "kept"
    kept.mkdir()
    data.save(kept)
    loaded = ImageFolder(folder=tmp_path / "gone", size=8, channels=1)
    loaded.load(kept)
    assert loaded.ports() == data.ports()
    path = colours / "red" / "0.png"
    assert torch.equal(loaded.read(path)[0], data.read(path)[0])


def test_files_lists_pictures_only(colours: Path) -> None:
    (colours / "red" / "notes.txt").write_text("x")
    found = prepared(colours).files(colours / "red")
    assert len(found) == 20 and found == sorted(found)


def test_augmentation_is_the_same_whatever_the_batch(colours: Path) -> None:
    split = prepared(colours, rotate=10.0, flip=True).split("train")
    assert split is not None
    whole = split.fetch(torch.arange(len(split)), 2, 5).inputs[0]
    part = split.fetch(torch.tensor([7, 3]), 2, 5).inputs[0]
    torch.testing.assert_close(part, whole[[7, 3]], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("made", "settings", "words"),
    [
        ([], {}, "has no sub-folders"),
        (["1.png"], {}, "has no sub-folders"),
        (["cat/1.png", "cat/2.png"], {}, "one class only, 'cat'"),
        (["cat/1.png", "dog/notes.txt"], {}, r"no pictures of dog: .*1 file: \.txt"),
        (["cat/1.png", "dog/1.png"], {"valid": 0.1, "test": 0.0}, r"raise task\.data\.valid"),
        (["cat/1.png", "dog/1.png", "dog/2.png"], {"valid": 0.0, "test": 0.6}, "no picture of cat is left"),
        (["cat/1.png", "dog/1.png"], {"valid": 0.5, "test": 0.5}, "leave nothing to learn from"),
        (["train/cat/1.png", "train/dog/1.png", "test/cow/1.png"], {"valid": 0.0}, "test has classes .*: cow"),
        (["train/cat/1.png", "train/dog/1.png", "valid/cat/x.txt"], {"test": 0.0}, "valid has no pictures"),
    ],
)
def test_a_folder_that_cannot_be_used_is_answered_with_what_is_wrong(
    tmp_path: Path, paint: Paint, made: list[str], settings: dict[str, float], words: str
) -> None:
    for name in made:
        if name.endswith(".png"):
            paint(name)
        else:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
    with pytest.raises(LabwrightError, match=words):
        prepared(tmp_path, **settings)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match=r"there is no folder .*nowhere"):
        prepared(tmp_path / "nowhere")
