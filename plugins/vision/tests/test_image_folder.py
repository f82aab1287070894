"""The user's own pictures: classes from sub-folders, parts that stay as they are, a clear message for each fault."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from labwright import Classes, Image, LabwrightError
from labwright_vision.data.image_folder import ImageFolder
from labwright_vision.data.reading import Facts
from labwright_vision.data.seen import Picture, of_pictures
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


def test_crops_and_colours_are_settings_of_a_folder(colours: Path) -> None:
    plain = prepared(colours).split("train")
    assert plain is not None
    everything = torch.arange(len(plain))
    for setting, value in (("crop", 0.8), ("jitter", 0.5), ("grey", 1.0)):
        split = prepared(colours, **{setting: value}).split("train")
        assert split is not None
        shown, as_they_are = split.fetch(everything, 2, 5).inputs[0], plain.fetch(everything, 2, 5).inputs[0]
        # each picture is of one colour, so that no crop of it is another
        assert torch.allclose(shown, as_they_are, atol=1e-5) == (setting == "crop")
    with pytest.raises(LabwrightError, match="grey: pictures of one channel are grey as they are"):
        ImageFolder(folder=colours, channels=1, grey=0.2)


def test_pictures_are_measured_as_they_are(colours: Path) -> None:
    data, moved = prepared(colours), prepared(colours, rotate=10.0, flip=True)
    plain, augmented = data.split("train"), moved.split("train")
    assert plain is not None and augmented is not None
    everything = torch.arange(len(plain))
    expected = plain.fetch(everything, 0, 0).inputs[0]
    assert torch.equal(augmented.plain().fetch(everything, 3, 7).inputs[0], expected)
    assert not torch.equal(augmented.fetch(everything, 3, 7).inputs[0], expected)
    assert torch.equal(augmented.plain().labels, augmented.labels)


def damage(folder: Path) -> Path:
    """Three of the sixty can't be read: one is cut in half, one is empty, one is a text."""
    path = folder / "green" / "1.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Pillow.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    (folder / "red" / "0.png").write_bytes(b"")
    (folder / "red" / "2.bmp").write_text("no picture")
    return folder


def test_damaged_pictures_are_found_before_the_first_step(colours: Path) -> None:
    with pytest.raises(LabwrightError) as caught:
        prepared(damage(colours))
    message = str(caught.value)
    assert "3 of 60 pictures can't be read" in message and "task.data.on_damaged=leave-out" in message
    assert "green/1.jpg: image file is truncated" in message
    assert "red/0.png: it is empty" in message and "red/2.bmp: it is no picture that Pillow knows" in message


def test_damaged_pictures_are_left_out_if_that_is_asked_for(colours: Path) -> None:
    data = prepared(damage(colours), on_damaged="leave-out")
    (only,) = data.left_out()
    assert (only.count, only.what) == (3, "pictures") and only.why.startswith("damaged, such as green/1.jpg")
    assert sum(len(data.split(part) or ()) for part in ("train", "valid", "test")) == 57
    for part in ("train", "valid", "test"):
        split = data.split(part)
        assert split is not None
        assert len(split.fetch(torch.arange(len(split)), 0, 0)) == len(split)


def test_a_class_of_damaged_pictures_alone_is_refused(colours: Path) -> None:
    for path in (colours / "red").iterdir():
        path.write_bytes(b"")
    with pytest.raises(LabwrightError, match=r"no pictures of red: .*20 pictures: damaged, such as red/0\.png"):
        prepared(colours, on_damaged="leave-out")


def test_a_picture_that_goes_during_a_run_is_named(colours: Path) -> None:
    split = prepared(colours).split("train")
    assert split is not None
    split.paths[0].unlink()
    with pytest.raises(LabwrightError, match=rf"{split.paths[0].name} can't be read as a picture: .*No such file"):
        split.fetch(torch.tensor([0]), 0, 0)


def deepen(folder: Path, top: float, kind: type) -> Path:
    """Every blue picture becomes one of grey values from 0 to `top`."""
    for number, path in enumerate(sorted((folder / "blue").iterdir())):
        path.unlink()
        values = np.linspace(0, top, 64).reshape(8, 8) * (1 - number / 100)
        Pillow.fromarray(values.astype(kind)).save(path.with_suffix(".tif"))
    return folder


@pytest.mark.parametrize(
    ("top", "kind", "white"),
    [(1, np.float32, 1), (0.7, np.float32, 1), (255, np.float32, 255), (200, np.int32, 255), (3000, np.int32, 4095)],
)
def test_values_without_a_known_white_are_refused_with_a_white_that_suits(
    colours: Path, top: float, kind: type, white: int
) -> None:
    deepen(colours, top, kind)
    with pytest.raises(LabwrightError, match=rf"20 pictures of .*, such as blue/.*task\.data\.white={white} would"):
        prepared(colours)
    data = prepared(colours, white=white, valid=0.0, test=0.0)
    split = data.split("train")
    assert split is not None
    assert len(split.fetch(torch.arange(20), 0, 0)) == 20
    (read,) = data.read(split.paths[0])
    assert torch.equal(read, split.fetch(torch.tensor([0]), 0, 0).inputs[0])


def test_values_beyond_white_and_below_black_are_refused(colours: Path) -> None:
    with pytest.raises(LabwrightError, match=r"0 to 300, such as .*: more than task\.data\.white=255; raise it"):
        prepared(deepen(colours, 300, np.float32), white=255.0)
    with pytest.raises(LabwrightError, match=r"0 to 5000, such as .*: more than task\.data\.white=4095"):
        prepared(deepen(colours, 5000, np.uint16), white=4095.0)
    with pytest.raises(LabwrightError, match="values below 0 have no shade"):
        prepared(deepen(colours, -5, np.float32), white=255.0)


def test_sixteen_bits_of_which_few_are_used_are_remarked(colours: Path) -> None:
    deepen(colours, 4000, np.uint16)
    (said,) = prepared(colours).remarks()
    assert "20 pictures with values up to 4000 where 65535 is white" in said and "task.data.white=4095" in said
    assert list(prepared(colours, white=4095.0).remarks()) == []


def test_alpha_that_is_a_channel_is_not_said_to_be_shown_on_a_background() -> None:
    picture = Picture(Path("x.png"), 0, Facts("", transparent=True), "x.png", 0)
    assert of_pictures([picture], background="white", white=None, channels=4) == []
    (said,) = of_pictures([picture], background="white", white=None, channels=3)
    assert said.startswith("1 picture with transparency, shown on white")


def test_transparent_pictures_are_remarked_with_the_background_that_shows_them(colours: Path) -> None:
    for number, path in enumerate(sorted((colours / "blue").iterdir())):
        path.unlink()
        pixels = np.zeros((24, 24, 4), np.uint8)  # black on nothing
        pixels[: number + 1, :, 3] = 255
        Pillow.fromarray(pixels).save(path.with_suffix(".png"))
    (said,) = prepared(colours).remarks()
    assert "20 pictures with transparency, shown on white" in said
    (said,) = prepared(colours, background="black").remarks()
    assert "20 pictures of which nothing is seen on black" in said and "task.data.background=white" in said


def test_samples_are_told_from_others_by_name_and_content(colours: Path) -> None:
    before = list(prepared(colours).identity("train"))
    assert list(prepared(colours, rotate=5.0).identity("train")) == before and len(before) == 42
    (colours / "red").rename(colours / "rot")
    assert list(prepared(colours).identity("train")) != before
    (colours / "rot").rename(colours / "red")
    assert list(prepared(colours).identity("train")) == before
    path = colours / before[0].rpartition(" ")[0]
    Pillow.new("RGB", (20, 20), (1, 2, 3)).save(path)
    assert list(prepared(colours).identity("train")) != before


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
    with pytest.raises(LabwrightError, match=rf"there is no folder '{tmp_path}/nowhere'\.$"):
        prepared(tmp_path / "nowhere")


def test_a_relative_folder_is_looked_for_in_the_working_folder_and_the_message_says_in_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabwrightError, match=rf"there is no folder 'nowhere' in {tmp_path}\.$"):
        prepared(Path("nowhere"))


def zipped(folder: Path, archive: Path, top: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as written:
        for path in sorted(folder.rglob("*")):
            written.write(path, f"{top}{path.relative_to(folder).as_posix()}")
        written.writestr(f"__MACOSX/{top}._1.png", b"")
    return archive


def batches(data: ImageFolder) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    found = {}
    for part in ("train", "valid", "test"):
        split = data.split(part)
        assert split is not None
        batch = pickle.loads(pickle.dumps(split)).fetch(torch.arange(len(split)), 0, 0)
        found[part] = (batch.inputs[0], batch.targets)
    return found


def test_an_archive_is_read_as_the_folder_that_was_packed(
    colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("packed")
    folder = batches(prepared(colours))
    for top in ("", "pictures/", "./"):
        packed = prepared(zipped(colours, out / "colours.zip", top))
        for part, (x_BCHW, labels_B) in batches(packed).items():
            assert torch.equal(x_BCHW, folder[part][0]) and torch.equal(labels_B, folder[part][1])
        told = [(kind.count, kind.why) for kind in packed.left_out()]
        assert top == "pictures/" or told == [(1, "hidden, such as __MACOSX")]


def test_each_part_may_be_an_archive(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("packed")
    zipped(colours, out / "train.zip")
    zipped(colours / "red", out / "val.zip", "red/")
    (out / "README.md").write_text("where it is from")
    data = prepared(out, test=0.0)
    assert len(data.split("train") or ()) == 60 and len(data.split("valid") or ()) == 20
    assert str(data.split("valid").paths[0]).endswith("val.zip/red/0.png")  # type: ignore[union-attr]
    assert [(kind.count, kind.why) for kind in data.left_out() if kind.why == ".md"] == [(1, ".md")]
    (out / "train").mkdir()
    (out / "train" / "red").mkdir()
    with pytest.raises(LabwrightError, match="several folders for the part 'train'"):
        prepared(out)


def test_a_damaged_picture_in_an_archive_is_named(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (colours / "red" / "torn.png").write_bytes(b"no picture")
    archive = zipped(colours, tmp_path_factory.mktemp("packed") / "colours.zip")
    with pytest.raises(LabwrightError, match=r"1 of 61 pictures can't be read \(red/torn\.png: it is no picture"):
        prepared(archive)
    assert len(prepared(archive, on_damaged="leave-out", valid=0.0, test=0.0).split("train") or ()) == 60
