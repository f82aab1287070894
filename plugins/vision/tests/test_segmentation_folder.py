"""Pictures and masks in folders: every layout and kind of mask is read alike, and what can't be used is told."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labwright import LEFT_OUT, LabwrightError
from labwright_tasks.dense_labels import DenseLabels, Shown
from labwright_vision.data.coco_masks import CocoMask
from labwright_vision.data.framing import Frame
from labwright_vision.data.segmentation_folder import SegmentationFolder
from PIL import Image

Mask = Callable[[np.ndarray], Image.Image]
CHANCE = np.random.default_rng(0)
SIZE = (12, 16)  # height and width
COLOURS = {0: (0, 0, 0), 1: (200, 0, 0), 2: (0, 200, 0), 255: (9, 9, 9)}


def labels_of(number: int) -> np.ndarray:
    """Values 0, 1 and 2 in three bands, the corner left out."""
    labels = np.zeros(SIZE, dtype=np.uint8)
    labels[:, 4 + number % 3 :], labels[:, 10:], labels[:2, :2] = 1, 2, 255
    return labels


def as_values(labels: np.ndarray) -> Image.Image:
    return Image.fromarray(labels)


def as_palette(labels: np.ndarray) -> Image.Image:
    picture = Image.fromarray(labels)
    picture.putpalette([channel for value in range(256) for channel in COLOURS.get(value, (1, 2, 3))])
    return picture


def as_colours(labels: np.ndarray) -> Image.Image:
    return as_palette(labels).convert("RGB")


def write(folder: Path, count: int = 6, mask: Mask = as_values, suffix: str = "") -> Path:
    for side in ("images", "masks"):
        (folder / side).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = 80 * np.minimum(labels_of(number), 2) + CHANCE.integers(0, 40, SIZE, dtype=np.uint8)
        Image.fromarray(np.stack([pixels] * 3, -1)).save(folder / "images" / f"{number}.png")
        mask(labels_of(number)).save(folder / "masks" / f"{number}{suffix}.png")
    return folder


def read(folder: Path, **settings: Any) -> SegmentationFolder:
    data = SegmentationFolder(
        folder=folder, **{"height": SIZE[0], "width": SIZE[1], "valid": 0.0, "test": 0.0} | settings
    )
    data.prepare()
    return data


def targets(data: SegmentationFolder, part: str = "train") -> torch.Tensor:
    split = data.split(part)
    assert split is not None
    labels: torch.Tensor = split.fetch(torch.arange(len(split)), 0, 0).targets
    return labels


def as_labels(count: int = 6) -> torch.Tensor:
    whole = torch.from_numpy(np.stack([labels_of(number) for number in range(count)])).long()
    return whole.where(whole != 255, LEFT_OUT)


# ---------------------------------------------------------------------------------------------------- kinds of masks


TABLE = "ground 0 0 0\nred, 200, 0, 0\nleaf green 0 200 0\n"


@pytest.mark.parametrize(
    ("mask", "table", "names"),
    [
        (as_values, "", ("0", "1", "2")),
        (as_palette, "", ("0", "1", "2")),
        (lambda labels: Image.fromarray(labels.astype(np.uint16)), "", ("0", "1", "2")),
        (lambda labels: Image.fromarray(np.stack([labels] * 3, -1)), "", ("0", "1", "2")),
        (as_values, "ground\nred\nleaf green", ("ground", "red", "leaf green")),
        (as_values, '["ground", "red", "leaf green"]', ("ground", "red", "leaf green")),
        (as_values, '{"leaf green": 2, "ground": 0, "red": 1}', ("leaf green", "ground", "red")),
        (as_colours, TABLE + "nothing 9 9 9\n", ("ground", "red", "leaf green")),
        (as_palette, TABLE + "nothing 9 9 9\n", ("ground", "red", "leaf green")),
        (as_colours, json.dumps({"ground": [0, 0, 0], "red": [200, 0, 0], "leaf green": [0, 200, 0], "x": [9, 9, 9]}),
         ("ground", "red", "leaf green")),
    ],
)  # fmt: skip
def test_masks_of_every_kind_are_read_alike(mask: Any, table: str, names: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path, mask=mask)
    if table:
        (tmp_path / ("classes.json" if table.startswith(("{", "[")) else "classes.txt")).write_text(table)
    data = read(tmp_path, void=[3, 255] if "9" in table else [255])
    assert data.names == names
    wanted = as_labels()
    if names[0] == "leaf green":
        order = torch.tensor([1, 2, 0])
        wanted = order[wanted.clamp(min=0)].where(wanted != LEFT_OUT, LEFT_OUT)
    order = [int(example.pair.name) for example in data._examples["train"]]  # type: ignore[assignment]
    assert torch.equal(targets(data), wanted[order])


def test_a_palettes_colours_are_what_counts_where_there_is_a_table_of_them(tmp_path: Path) -> None:
    """The same mask whose program numbered its colours otherwise."""

    def numbered_otherwise(labels: np.ndarray) -> Image.Image:
        return as_colours(labels).quantize(8)

    write(tmp_path, mask=numbered_otherwise)
    (tmp_path / "classes.txt").write_text(TABLE + "nothing 9 9 9\n")
    data = read(tmp_path, void=[3])
    assert torch.equal(targets(data)[0], as_labels()[int(data._examples["train"][0].pair.name)])


# ----------------------------------------------------------------------------------------------------------- layouts


def test_parts_lie_above_or_below_pictures_and_masks_or_in_archives(tmp_path: Path) -> None:
    counts = {"train": 5, "val": 3, "test": 2}
    for part, count in counts.items():
        write(tmp_path / "above" / part, count)
        for side in ("images", "masks"):
            shutil.copytree(tmp_path / "above" / part / side, tmp_path / "below" / side / part)
        (tmp_path / "zips").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "zips" / f"{part}.zip", "w") as archive:
            for file in (tmp_path / "above" / part).rglob("*.png"):
                archive.write(file, file.relative_to(tmp_path / "above" / part))
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        for file in (tmp_path / "above").rglob("*.png"):
            archive.write(file, file.relative_to(tmp_path))
    every = [read(tmp_path / name) for name in ("above", "below", "zips", "whole.zip")]
    for data in every:
        assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [5, 3, 2]
        for part in ("train", "valid", "test"):
            assert torch.equal(targets(data, part), targets(every[0], part))
            assert [*data.identity(part)] == [*every[0].identity(part)]


@pytest.mark.parametrize("layout", ["above", "below"])
def test_what_lies_beside_the_parts_is_told(layout: str, tmp_path: Path) -> None:
    if layout == "above":
        write(tmp_path / "train", 3)
        write(tmp_path, 2)
    else:
        write(tmp_path, 6)
        for side in ("images", "masks"):
            (tmp_path / side / "train").mkdir()
            for number in range(4):
                (tmp_path / side / f"{number}.png").rename(tmp_path / side / "train" / f"{number}.png")
        (tmp_path / "masks" / "val").mkdir()
        (tmp_path / "masks" / "4.png").rename(tmp_path / "masks" / "val" / "4.png")
    left_out = [*read(tmp_path).left_out()]
    assert all("in no part of" in each.why for each in left_out)
    if layout == "above":
        assert [each.count for each in left_out] == [4]
        assert [each.count for each in read(tmp_path / "train").on(tmp_path).left_out()] == [4]
    else:
        assert [each.count for each in left_out] == [2, 2]


def test_each_picture_of_a_part_without_masks_is_counted(tmp_path: Path) -> None:
    write(tmp_path / "made", 3)
    for side, part in (("images", "training"), ("annotations", "training"), ("images", "testing")):
        shutil.copytree(tmp_path / "made" / side.replace("annotations", "masks"), tmp_path / "set" / side / part)
    data = read(tmp_path / "set")
    other = data.on(tmp_path / "set")
    for (told,) in (data.left_out(), other.left_out()):
        assert (told.count, told.why) == (3, "in images/testing, which has no masks")
    assert torch.equal(targets(other, "test"), targets(read(tmp_path / "made").on(tmp_path / "made"), "test"))


def test_parts_are_held_out_by_names_for_good_and_masks_may_have_a_suffix(tmp_path: Path) -> None:
    write(tmp_path, 20, suffix="_mask")
    data = read(tmp_path, mask_suffix="_mask", valid=0.2, test=0.1)
    parts = {part: {example.pair.name for example in data._examples[part]} for part in ("train", "valid", "test")}
    assert [len(names) for names in parts.values()] == [14, 4, 2]
    assert len(set.union(*parts.values())) == 20
    again = read(tmp_path, mask_suffix="_mask", valid=0.2, test=0.1)
    assert [*again.identity("valid")] == [*data.identity("valid")]


def test_files_read_when_asked_for_are_those_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    settings = {"flip": True, "scale": 0.2, "jitter": 0.5}
    kept = read(tmp_path, **settings)
    monkeypatch.setattr("labwright_vision.data.segmentation_folder._IN_MEMORY", 0)
    asked = read(tmp_path, **settings)
    assert (kept.in_memory, asked.in_memory) == (True, False)
    for epoch in (0, 1):
        ours, theirs = (data.split("train").fetch(torch.tensor([4, 1]), epoch, 7) for data in (kept, asked))  # type: ignore[union-attr]
        assert torch.equal(ours.inputs[0], theirs.inputs[0]) and torch.equal(ours.targets, theirs.targets)


def test_what_a_run_keeps_is_enough_to_read_a_picture_and_to_measure_other_data(tmp_path: Path) -> None:
    write(tmp_path / "own", mask=as_colours)
    (tmp_path / "own" / "classes.txt").write_text(TABLE + "nothing 9 9 9\n")
    data = read(tmp_path / "own", void=[3])
    (tmp_path / "kept").mkdir()
    data.save(tmp_path / "kept")
    loaded = SegmentationFolder(folder=tmp_path / "gone", height=SIZE[0], width=SIZE[1])
    loaded.load(tmp_path / "kept")
    assert loaded.ports() == data.ports()
    write(tmp_path / "other", 3, mask=as_colours)
    other = loaded.on(tmp_path / "other")
    assert torch.equal(targets(other, "test"), as_labels(3)) and other.remarks() == []
    picture = loaded.read(tmp_path / "other" / "images" / "0.png")
    assert torch.equal(picture[0][0], other.split("test").fetch(torch.tensor([0]), 0, 0).inputs[0][0])  # type: ignore[union-attr]
    assert picture.origin == Shown(*SIZE, (0.0, 0.0, 12.0, 16.0))


def test_webp_without_loss_is_a_mask_like_any_other(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "classes.txt").write_text(TABLE.replace("9 9 9", "8 8 8"))
    labels = np.where(labels_of(3) == 255, 0, labels_of(3))
    for number in range(6):
        as_colours(labels).save(tmp_path / "masks" / f"{number}.webp", lossless=True)
        (tmp_path / "masks" / f"{number}.png").unlink()
    assert torch.equal(targets(read(tmp_path))[0], torch.from_numpy(labels).long())


# -------------------------------------------------------------------------------------------------------------- COCO


def coco(folder: Path, objects: list[dict[str, Any]], **changes: Any) -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1]).save(folder / "images" / "a.png")
    told = {
        "images": [{"id": 7, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
        "annotations": [{"id": n, "image_id": 7, "iscrowd": 0} | thing for n, thing in enumerate(objects)],
    } | changes
    (folder / "instances.json").write_text(json.dumps(told))
    return folder


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def test_cocos_polygons_and_run_lengths_are_drawn_smaller_ones_above(tmp_path: Path) -> None:
    crowd = {"counts": [0, 2, 190], "size": [*SIZE]}  # by columns: the two upper pixels of the first
    things = [
        {"category_id": 3, "segmentation": box(6, 4, 8, 6)},
        {"category_id": 90, "segmentation": box(4, 2, 12, 10)},
        {"category_id": 3, "segmentation": crowd, "iscrowd": 1},
    ]
    data = read(coco(tmp_path, things))
    wanted = torch.zeros(1, *SIZE, dtype=torch.int64)
    wanted[:, 2:10, 4:12], wanted[:, 4:6, 6:8], wanted[:, :2, 0] = 2, 1, LEFT_OUT
    assert data.names == ("background", "cat", "dog") and torch.equal(targets(data), wanted)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools' own
def test_cocos_run_lengths_in_letters_and_polygons_are_those_of_its_own_tools() -> None:
    tools = pytest.importorskip("pycocotools.mask")
    for _ in range(20):
        height, width = (int(side) for side in CHANCE.integers(30, 80, 2))
        mask = np.asfortranarray(CHANCE.random((height, width)) < CHANCE.random(), dtype=np.uint8)
        packed = {"size": [height, width], "counts": tools.encode(mask)["counts"].decode()}
        angles = np.sort(CHANCE.random(8)) * 2 * np.pi
        corners = np.stack([width * (0.5 + 0.4 * np.cos(angles)), height * (0.5 + 0.4 * np.sin(angles))], 1)
        outline = [corners.flatten().tolist()]
        ours = [
            CocoMask("a", height, width, ({"category_id": 1, "segmentation": given},), ()).pixels().codes_HW
            for given in (packed, outline)
        ]
        assert np.array_equal(ours[0], mask)
        theirs = tools.decode(tools.merge(tools.frPyObjects(outline, height, width)))
        around = np.linalg.norm(corners - np.roll(corners, -1, 0), axis=1).sum()
        assert (ours[1] != theirs).sum() <= 0.2 * around  # they round corners to a fifth of a pixel first


@pytest.mark.parametrize(
    ("things", "changes", "words"),
    [
        ([{"category_id": 3, "segmentation": [[1, 2, 3]]}], {}, "annotation 0 has a segmentation that is neither run"),
        ([{"category_id": 3, "segmentation": {"size": [9, 9], "counts": [81]}}], {}, r"run lengths of size \[9, 9\]"),
        ([{"category_id": 4, "segmentation": box(1, 1, 5, 5)}], {}, "pixels of the value 4, and classes are 0, 3, 90"),
        ([{"category_id": 3, "segmentation": []}], {}, "annotation 0 has a segmentation that is neither run"),
        ([{"category_id": None, "segmentation": box(1, 1, 5, 5)}], {}, "annotation 0 has a category_id or .*NoneType"),
        ([{"category_id": 3, "segmentation": [["x", 1, 2, 3, 4, 5]]}], {}, "annotation 0 has .* can't be used: .*'x'"),
        ([{"category_id": 3, "segmentation": [[None, 1, 2, 3, 4, 5]]}], {}, "can't be used: a corner is no number"),
        ([{"category_id": 3, "segmentation": {"size": [12, 16], "counts": [-1, 193]}}], {}, "can't be used: .*negativ"),
        ([{"category_id": 3, "segmentation": {"size": [12, 16], "counts": "d"}}], {}, "can't be used: .*out of range"),
        ([], {"categories": [{"id": 0, "name": "cat"}]}, "'cat' has the id 0; .* 1 to 65534, and 0 is what no object"),
        ([], {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]}, "the value 1 stands there twice"),
        ([], {"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]}, "class 'cat' stands there twice"),
        ([], {"categories": None}, "instances.json isn't COCO's json: it needs images, annotations and categories"),
        ([], {"images": [{"id": 7, "file_name": "a.png", "height": 12, "width": None}]}, "a.png has the width null; "),
        ([], {"images": []}, r"1 of 1 picture has no mask, such as .*a.png: there is no such picture in .*instances"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_cocos_json_is_told(things: Any, changes: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match=words):
        read(coco(tmp_path, things, **changes))


@pytest.mark.parametrize("inner", ["", "images"])
def test_cocos_own_folder_is_read_as_it_is_published(inner: str, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for part, count in (("train2017", 5), ("val2017", 2), ("test2017", 1)):
        made = coco(tmp_path / "made", [{"category_id": 3, "segmentation": box(6, 4, 8, 6)}])
        (tmp_path / inner / part).mkdir(parents=True)
        told = json.loads((made / "instances.json").read_text())
        told["images"] = [told["images"][0] | {"id": n, "file_name": f"{n:012d}.png"} for n in range(count)]
        told["annotations"] = [told["annotations"][0] | {"id": n, "image_id": n} for n in range(count)]
        for row in told["images"]:
            Image.new("RGB", SIZE[::-1], (row["id"], 0, 0)).save(tmp_path / inner / part / row["file_name"])
        if part != "test2017":
            (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(told))
            (tmp_path / "annotations" / f"captions_{part}.json").write_text("{}")
    shutil.rmtree(tmp_path / "made")
    data = read(tmp_path, test=0.0)
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [5, 2, 0]
    assert data.names == ("background", "cat", "dog") and int((targets(data) == 1).sum()) == 5 * 4
    assert [(one.count, one.why) for one in data.left_out()] == [
        (1, "in test2017, which has no instances_test2017.json")
    ]
    assert len(data.on(tmp_path).split("test") or ()) == 7
    with pytest.raises(LabwrightError, match=r"task\.data\.classes: masks of .* are COCO's, whose categories are"):
        read(tmp_path, classes=["ground", "cat", "dog"])
    (tmp_path / inner / "val2017").rename(tmp_path / inner / "gone")
    with pytest.raises(LabwrightError, match=r"instances_val2017\.json is there, and no folder .*/val2017 with its"):
        read(tmp_path)


@pytest.mark.parametrize("how", ["coco", "classes.txt"])
def test_other_data_whose_values_have_other_names_is_refused(how: str, tmp_path: Path) -> None:
    things = [{"category_id": 3, "segmentation": box(6, 4, 8, 6)}]
    if how == "coco":
        data = read(coco(tmp_path / "own", things))
        swapped = [{"id": 3, "name": "dog"}, {"id": 90, "name": "cat"}]
        other = coco(tmp_path / "other", things, categories=swapped)
        words = r"other: 'dog' is there what was learned as 'cat', 3"
    else:
        (write(tmp_path / "own") / "classes.txt").write_text("ground\nred\ngreen\n")
        data, other = read(tmp_path / "own"), write(tmp_path / "other", 3)
        (other / "classes.txt").write_text("ground\ngreen\nred\n")
        words = r"other: 'green' is there what was learned as 'red', 1"
    with pytest.raises(LabwrightError, match=words):
        data.on(other)


# ------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("fit", ["letterbox", "crop", "stretch"])
@pytest.mark.parametrize("size", [(30, 20), (20, 30), (7, 50), (24, 32)])
def test_a_mask_goes_with_its_picture_and_back_into_its_size(fit: Any, size: tuple[int, int], tmp_path: Path) -> None:
    frame = Frame(24, 32, fit)
    left_half = np.zeros(size, dtype=np.uint8)
    left_half[:, : size[1] // 2] = 200
    framed = frame.picture(Image.fromarray(left_half), (100,), size[::-1])[0]
    labels = frame.labels((left_half > 0).astype(np.int16))
    inside = labels != LEFT_OUT
    assert (inside.all()) == (fit != "letterbox" or size == (24, 32))
    assert (framed[~inside] == 100).all()
    # bilinear and nearest differ along the edge alone
    sure = inside & ((framed < 5) | (framed > 195))
    assert np.array_equal(framed[sure] > 100, labels[sure] == 1) and sure.sum() >= 0.8 * inside.sum()
    window = frame.window(*size)
    task = object.__new__(DenseLabels)
    back = task._resized(torch.from_numpy(labels.clip(0)).long(), window)
    assert tuple(back.shape) == size
    seen = back != 255
    assert bool(seen.all()) == (fit != "crop" or size == (24, 32))
    wrong = (back[seen] != torch.from_numpy(left_half > 0).long()[seen]).float().mean()
    assert wrong <= 1.01 * max(size) / min(32, size[1]) / size[1]


def test_a_jpeg_that_is_decoded_smaller_lies_where_its_mask_does(tmp_path: Path) -> None:
    """Decoded at an eighth it has 42x48 pixels, which fill 12x10 of the frame; 336x379 fill 12x11."""
    height, width = 379, 336
    for side in ("images", "masks"):
        (tmp_path / side).mkdir()
    for number in range(2):
        Image.new("L", (width, height), 255).save(tmp_path / "images" / f"{number}.jpg", quality=100)
        halves = (np.arange(width)[None] > width // 2).astype(np.uint8).repeat(height, 0)
        Image.fromarray(halves).save(tmp_path / "masks" / f"{number}.png")
    data = read(tmp_path)
    batch = data.split("train").fetch(torch.tensor([0]), 0, 0)  # type: ignore[union-attr]
    white = batch.inputs[0][0, 0] > 1
    assert torch.equal(white, batch.targets[0] != LEFT_OUT)


def test_data_whose_masks_mean_something_else_is_other_data(tmp_path: Path) -> None:
    write(tmp_path)
    told = []
    for values in ({"ground": 0, "red": 1, "green": 2}, {"ground": 0, "red": 2, "green": 1}):
        (tmp_path / "classes.json").write_text(json.dumps(values))
        told.append(read(tmp_path).identity("train"))
    assert told[0] != told[1]


def test_names_in_the_setting_may_have_numbers_and_colours(tmp_path: Path) -> None:
    expected = targets(read(write(tmp_path)))
    named = read(tmp_path, classes=["grade 0", "grade 3", "grade 4"])
    assert named.names == ("grade 0", "grade 3", "grade 4") and torch.equal(targets(named), expected)
    coloured = read(
        write(tmp_path, mask=as_colours), classes=["ground 0 0 0", "red 200,0,0", "green 0 200 0", "-,9,9,9"], void=[3]
    )
    assert coloured.names == ("ground", "red", "green") and torch.equal(targets(coloured), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_picture_turned_by_its_camera_goes_with_a_mask_of_what_is_shown(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, 3)
    path = tmp_path / "images" / "0.png"
    upright = Image.open(path)
    upright.load()
    exif = Image.Exif()
    exif[0x0112] = 6
    path.unlink()
    upright.transpose(Image.Transpose.ROTATE_90).save(path.with_suffix(suffix), exif=exif)
    data = read(tmp_path)
    (row,) = [row for row, example in enumerate(data._examples["train"]) if example.pair.name == "0"]
    assert torch.equal(targets(data)[row], as_labels()[0])


# --------------------------------------------------------------------------------------------------------- bad input


def spoil(folder: Path, how: str) -> dict[str, Any]:
    """One fault put into a good folder; settings to read it with."""
    image, mask = folder / "images" / "3.png", folder / "masks" / "3.png"
    match how:
        case "size":
            Image.fromarray(labels_of(3)[:8]).save(mask)
        case "no mask":
            mask.unlink()
        case "no picture":
            image.unlink()
        case "value":
            Image.fromarray(np.where(labels_of(3) == 2, 7, labels_of(3)).astype(np.uint8)).save(mask)
            return {"classes": ["a", "b", "c"]}
        case "other palette":
            for number in range(6):
                as_palette(labels_of(number)).save(folder / "masks" / f"{number}.png")
            as_colours(labels_of(3)).quantize(8).save(mask)
        case "colours":
            as_colours(labels_of(3)).save(mask)
        case "unknown colour":
            (folder / "classes.txt").write_text(TABLE)
            as_colours(labels_of(3)).save(mask)
        case "truncated picture":
            image.write_bytes(image.read_bytes()[:200])
        case "truncated mask":
            mask.write_bytes(mask.read_bytes()[:60])
        case "jpeg":
            as_values(labels_of(3)).save(mask.with_suffix(".jpg"))
            mask.unlink()
        case "webp" | "avif":
            as_colours(labels_of(3)).save(mask.with_suffix(f".{how}"), quality=90)
            mask.unlink()
        case "floats":
            Image.fromarray(labels_of(3).astype(np.float32)).save(mask.with_suffix(".tif"))
            mask.unlink()
        case "empty":
            for file in (folder / "masks").iterdir():
                file.unlink()
        case "no folder":
            (folder / "masks").rename(folder / "targets")
        case "two masks":
            as_values(labels_of(3)).save(mask.with_suffix(".bmp"))
        case "0 and 255" | "0 and 255, named":
            for number in range(6):
                Image.fromarray(((labels_of(number) == 1) * 255).astype(np.uint8)).save(
                    folder / "masks" / f"{number}.png"
                )
            return {"classes": ["ground", "thing"]} if how.endswith("named") else {}
        case "table":
            (folder / "classes.txt").write_text("ground\nred 200 0\n")
        case "twice":
            (folder / "classes.json").write_text('{"ground": 0, "red": 1, "green": 1}')
        case "json":
            (folder / "classes.json").write_text('{"ground": "black"}')
        case "share":
            return {"valid": 0.01}
    return {}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("size", r"masks/3\.png is 16x8 pixels and its picture, images/3\.png, 16x12: a mask is as large"),
        ("no mask", r"1 of 6 pictures has no mask, such as .*images/3\.png: there is no .*masks/3\.\*"),
        ("no picture", r"1 of 6 masks has no picture, such as .*masks/3\.png: there is no .*images/3\.\*"),
        ("value", r"masks/3\.png has 72 pixels of the value 7, and classes are 0, 1, 2: .*task\.data\.void"),
        ("other palette", r"has another palette than .*: the value . is the colour .* here and .* there"),
        ("colours", r"masks/3\.png holds colours, such as 200,0,0, and nothing says which class.*classes\.txt"),
        ("unknown colour", r"masks/3\.png has 4 pixels of the colour 9,9,9, which no class has: add it to the file"),
        ("truncated picture", r"1 of 12 pictures and masks can't be used \(images/3\.png: .*truncated"),
        ("truncated mask", r"1 of 12 pictures and masks can't be used \(.*masks/3\.png can't be read as a mask"),
        ("jpeg", r"masks/3\.jpg can't be read as a mask: JPEG blurs values into others .*PNG"),
        ("webp", r"masks/3\.webp can't be read as a mask: lossy WebP blurs values into others .*PNG"),
        ("avif", r"masks/3\.avif can't be read as a mask: AVIF blurs values into others .*PNG"),
        ("floats", r"masks/3\.tif can't be read as a mask: it has pixels of Pillow's mode F"),
        ("empty", r"/masks is empty: there are no masks"),
        ("no folder", r"has no folder of masks: it has images, targets\. Put pictures into .*/images"),
        ("two masks", r"/masks has 3\.bmp and 3\.png: take one of them away"),
        ("0 and 255", r"masks have the values 0, 255, of which task\.data\.void leaves out 255: .*no two classes"),
        ("0 and 255, named", r"void leaves out 255: .*no two classes to tell apart\. task\.data\.void='\[\]' leaves"),
        ("table", r"classes\.txt: the line 'red 200 0' is neither NAME nor NAME RED GREEN BLUE"),
        ("twice", r"classes\.json: the value 1 stands there twice"),
        ("json", r"classes\.json: 'ground' has 'black', which is neither a value from 0 to 65535 nor \[RED"),
        ("share", r"task\.data\.valid: 0\.01 of 6 pictures is 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_in_one_line(how: str, words: str, tmp_path: Path) -> None:
    settings = spoil(write(tmp_path), how)
    with pytest.raises(LabwrightError, match=words) as told:
        read(tmp_path, **settings)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("part", ["train", "val", "--on"])
def test_colours_that_nothing_explains_are_told_in_every_part_where_classes_have_names_too(
    part: str, tmp_path: Path
) -> None:
    """Red has no blue in it, and isn't the value 0."""

    def black_red_and_green(labels: np.ndarray) -> Image.Image:
        return as_colours(labels % 255)

    for name in ("train", "val"):
        write(tmp_path / name, 3, mask=black_red_and_green if name == part else as_values)
    write(tmp_path / "other", 3, mask=black_red_and_green)
    with pytest.raises(LabwrightError, match=r"masks/\d\.png has \d+ pixels of the colour .*, which no class has: add"):
        read(tmp_path, classes=["ground", "red", "green"]).on(tmp_path / "other")


@pytest.mark.parametrize("part", ["val", "--on"])
def test_a_palette_of_its_own_is_told_in_every_part(part: str, tmp_path: Path) -> None:
    for folder in ("train", "val", "other"):
        write(tmp_path / folder, 3, mask=as_palette)
    changed = tmp_path / ("val" if part == "val" else "other") / "masks" / "1.png"
    as_colours(labels_of(1)).quantize(8).save(changed)
    with pytest.raises(LabwrightError, match=f"{changed} has another palette than"):
        read(tmp_path).on(tmp_path / "other")


def test_parts_without_train_and_parts_named_twice_are_told(tmp_path: Path) -> None:
    write(tmp_path / "val", 3)
    with pytest.raises(LabwrightError, match="has val, but no folder train or training"):
        read(tmp_path)
    write(tmp_path / "train", 3)
    write(tmp_path / "valid", 3)
    with pytest.raises(LabwrightError, match="two folders for the part 'valid', val and valid"):
        read(tmp_path)


def test_a_part_that_lacks_classes_or_shares_pictures_with_train_is_remarked(tmp_path: Path) -> None:
    write(tmp_path / "train", 3)
    write(tmp_path / "val", 1, mask=lambda labels: Image.fromarray(labels % 2))
    shutil.copy(tmp_path / "train" / "images" / "2.png", tmp_path / "val" / "images" / "0.png")
    lacking, copied = read(tmp_path).remarks()
    assert lacking == "valid has no pixel of 2."
    assert copied.startswith("1 of 1 pictures of valid are in train as well, such as 0: take the copies away")


def test_masks_in_which_nothing_counts_are_found(tmp_path: Path) -> None:
    write(tmp_path)
    Image.fromarray(np.full(SIZE, 255, dtype=np.uint8)).save(tmp_path / "masks" / "3.png")
    data = read(tmp_path)
    (finding,) = data.checks()
    assert finding.sentence == "1 masks have no pixel that counts." and finding.wrong
    assert data.place(*finding.samples[0]).endswith("3.png")
