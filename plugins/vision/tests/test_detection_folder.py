from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from detection_folders import LAYOUTS, SIZE, TRUE, coco, jsonl, picture, voc, yolo
from labwright import LabwrightError
from labwright_vision.detection.data.folder import DetectionFolder
from PIL import Image


def prepared(folder: Path, **settings: object) -> DetectionFolder:
    data = DetectionFolder(folder=folder, height=SIZE[1], width=SIZE[0], **settings)  # type: ignore[arg-type]
    data.prepare()
    return data


def boxes_of(data: DetectionFolder, part: str) -> list[list[tuple[tuple[float, ...], str]]]:
    """The boxes of each picture of a part as they were written down."""
    split = data.split(part)
    assert split is not None
    batch = split.fetch(torch.arange(len(split)), 0, 0)
    rows = []
    for boxes, labels in zip(batch.targets["boxes"].tolist(), batch.targets["labels"].tolist(), strict=True):
        there = [(tuple(box), data.names[label]) for box, label in zip(boxes, labels, strict=True) if label >= 0]
        rows.append(there)
    return rows


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_read_as_what_it_says(tmp_path: Path, layout: str) -> None:
    data = prepared(LAYOUTS[layout](tmp_path / layout))
    assert data.names == ("cat", "dog")
    for part, written in (("train", "train"), ("valid", "val"), ("test", "test")):
        true = [boxes for of, boxes in TRUE.values() if of == written]
        found = boxes_of(data, part)
        assert [[label for _, label in row] for row in found] == [[label for _, label in row] for row in true]
        for ours, theirs in zip(found, true, strict=True):
            for (box, _), (wanted, _) in zip(ours, theirs, strict=True):
                assert box == pytest.approx(wanted, abs=1e-3)


def test_a_picture_is_fitted_whole_and_its_boxes_with_it(tmp_path: Path) -> None:
    data = DetectionFolder(folder=coco(tmp_path / "coco"), height=96, width=80)
    data.prepare()
    # 60x40 into 80x96: 80x53, which stands in the middle, 21 pixels below the top
    ((box, _),) = boxes_of(data, "test")[0]
    left, top, right, bottom = TRUE["e"][1][0][0]
    assert box == pytest.approx((left * 80 / 60, top * 53 / 40 + 21, right * 80 / 60, bottom * 53 / 40 + 21), abs=1e-4)
    (picture,) = inputs = data.read(tmp_path / "coco" / "test2017" / "e.png")
    assert picture.shape == (1, 3, 96, 80)
    back = inputs.origin.to_picture(torch.tensor([box]))  # type: ignore[attr-defined]
    assert back[0].tolist() == pytest.approx((left, top, right, bottom), abs=1e-4)


def test_a_part_that_is_not_told_is_held_out_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "yolo"
    folder.mkdir()
    (folder / "classes.txt").write_text("cat\n")
    for number in range(20):
        file = picture(folder / f"p{number}.png")
        file.with_suffix(".txt").write_text("0 0.5 0.5 0.2 0.2\n")
    data = prepared(folder, valid=0.2, test=0.1)
    assert {name: len(data.split(name) or ()) for name in ("train", "valid", "test")} == {
        "train": 14,
        "valid": 4,
        "test": 2,
    }
    again = prepared(folder, valid=0.2, test=0.1)
    assert [*again.identity("test")] == [*data.identity("test")]


def in_one_file(folder: Path) -> Path:
    """COCO's annotations of all parts in one file, whose name tells none."""
    notes = coco(folder) / "annotations"
    tables = [json.loads(file.read_text()) for file in sorted(notes.iterdir())]
    whole = {name: [row for table in tables for row in table[name]] for name in ("images", "annotations")}
    for file in notes.iterdir():
        file.unlink()
    (folder / "all.json").write_text(json.dumps(whole | {"categories": tables[0]["categories"]}))
    return folder


def in_one_list(folder: Path, before: str = "", encoding: str = "utf-8") -> Path:
    """JSON Lines without parts, of pictures in a folder for each."""
    rows = []
    for name, (part, boxes) in TRUE.items():
        picture(folder / part / f"{name}.png")
        row = {"boxes": [box for box, _ in boxes], "labels": [label for _, label in boxes]}
        rows.append(json.dumps({"file": f"{before}{part}/{name}.png"} | row) + "\n")
    (folder / "all.jsonl").write_text("".join(rows), encoding=encoding)
    return folder


@pytest.mark.parametrize("make", [in_one_file, in_one_list])
def test_the_folder_of_a_picture_tells_its_part_where_annotations_do_not(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    data = prepared(make(tmp_path / "folder"))
    assert boxes_of(data, "valid") == [TRUE["d"][1]]
    assert boxes_of(data, "test") == [TRUE["e"][1]]
    assert len(data.split("train") or ()) == 3


def test_lines_of_a_windows_editor_and_paths_from_here_are_read(tmp_path: Path) -> None:
    data = prepared(in_one_list(tmp_path / "folder", "./", "utf-8-sig"))
    assert boxes_of(data, "test") == [TRUE["e"][1]]


def test_a_list_of_voc_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = voc(tmp_path / "voc")
    (folder / "ImageSets" / "Main" / "train.txt").write_bytes("\xe4\n".encode("latin-1"))
    with pytest.raises(LabwrightError, match=r"train\.txt can't be read as text"):
        prepared(folder)


def test_other_data_is_read_by_the_classes_of_the_run(tmp_path: Path) -> None:
    data = prepared(coco(tmp_path / "coco"))
    lines = jsonl(tmp_path / "lines")
    other = data.on(lines)
    part = other.split("test")
    assert part is not None and len(part) == len(TRUE)
    assert other.remarks() == ["test has boxes of 2 cat, 3 dog; 1 picture without any."]
    row = {"file": "x.png", "boxes": [[1, 1, 9, 9]], "labels": ["owl"]}
    picture(tmp_path / "strange" / "x.png")
    (tmp_path / "strange" / "all.jsonl").write_text(json.dumps(row) + "\n")
    (left,) = data.on(tmp_path / "strange").left_out()
    assert left.count == 1 and "owl" in left.why


def changed(folder: Path, change: Callable[[dict[str, list[dict[str, object]]]], object]) -> Path:
    file = coco(folder) / "annotations" / "instances_train2017.json"
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t["annotations"][0].update(bbox=[50, 5, 30, 20]), "reaches beyond the picture's 60x40"),
        (lambda t: t["annotations"][0].update(bbox=[5, 5, 0, 20]), "is empty"),
        (lambda t: t["annotations"][0].update(bbox=[-1, -1, 1, 1]), "lies beside the picture's 60x40"),
        (lambda t: t["annotations"][0].update(bbox=[60.2, 5, 0.5, 10]), "lies beside the picture's 60x40"),
        (lambda t: t["images"][1].update(id=0), "2 of its images have the id '0'"),
        (lambda t: t["categories"][0].update(id=7), "2 of its categories have the id '7'"),
        (lambda t: t["categories"][0].update(name="dog"), "2 of its categories have the name 'dog'"),
        (lambda t: t["annotations"][0].update(bbox=[5, 5, "wide", 20]), "a box is four numbers"),
        (lambda t: t["annotations"][0].update(category_id=4), "category 4, which has no name"),
        (lambda t: t["annotations"][0].update(image_id=99), "image 99, which isn't among its images"),
        (lambda t: t["images"][0].update(file_name="gone.png"), "no picture 'gone.png'"),
        (lambda t: t["images"][0].update(width=40, height=60), "save it upright"),
        (lambda t: t["images"].append(dict(t["images"][0], id=77)), "annotated twice"),
        (lambda t: t["categories"][0].pop("name"), "categories[0] has no 'name'"),
        (lambda t: t.update(categories=None), "no list 'categories'"),
        (lambda t: t["categories"][0].update(name="lion"), "categories aren't those of"),
        (lambda t: t["categories"][0].update(id="cat"), "categories[0] has the id 'cat'; it is a whole number"),
        (lambda t: t["images"][0].update(id=[0]), "images[0] has the id [0]; it is a whole number or a text"),
        (lambda t: t["annotations"][0].update(category_id=[3]), "category [3], which has no name"),
        (lambda t: t["annotations"][0].update(image_id=[0]), "image [0], which isn't among its images"),
    ],
)
def test_annotations_that_cannot_be_are_refused_in_a_line(tmp_path: Path, change: object, told: str) -> None:
    with pytest.raises(LabwrightError) as refused:
        prepared(changed(tmp_path / "coco", change))  # type: ignore[arg-type]
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_damaged_can_be_left_out(tmp_path: Path) -> None:
    folder = coco(tmp_path / "coco")
    file = folder / "train2017" / "a.png"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(LabwrightError, match=r"a\.png: .*task\.data\.on_damaged=leave-out"):
        prepared(folder)
    data = prepared(folder, on_damaged="leave-out")
    assert boxes_of(data, "train") == [[], TRUE["c"][1]]
    assert [left.count for left in data.left_out()] == [1]


@pytest.mark.parametrize(
    ("make", "file", "content", "told"),
    [
        (coco, "annotations/instances_val2017.json", "{", "can't be read as JSON"),
        (voc, "Annotations/a.xml", "<annotation><object>", "can't be read as XML"),
        (voc, "Annotations/a.xml", "<annotation><object><name>cat</name></object></annotation>", "no bndbox"),
        (voc, "Annotations/a.xml", "<annotation><object></object></annotation>", "object 1 has no name"),
        (voc, "ImageSets/Main/test.txt", "a\n", "'a' is in 'train' as well"),
        (voc, "Annotations/a.xml", "<a><size><width>inf</width><height>4</height></size></a>", "its size is no two"),
        (yolo, "classes.txt", "cat\n\ndog\n", "classes.txt:2 is empty"),
        (yolo, "classes.txt", "dog\ndog\n", "classes.txt:2: 'dog' is the name of another class"),
        (yolo, "labels/val/classes.txt", "dog\ncat\n", "its classes aren't those of"),
        (yolo, "labels/train/z.txt", "0 0.5 0.5 0.1 0.1\n", "z.txt is of no picture"),
        (yolo, "labels/train/a.txt", "2 0.5 0.5 0.1 0.1\n", "class 2 has no name"),
        (yolo, "labels/train/a.txt", "0 30 20 10 10\n", "shares of the sides"),
        (yolo, "labels/train/a.txt", "0 0.5 0.5 0.1\n", "four numbers are expected"),
        (yolo, "labels/train/a.txt", "cat 0.5 0.5 0.1 0.1\n", "`class x y width height` is expected"),
        (jsonl, "annotations.jsonl.gz", "no gzip", "can't be read"),
    ],
)
def test_files_that_are_not_as_their_layout_has_them_are_refused(
    tmp_path: Path, make: Callable[[Path], Path], file: str, content: str, told: str
) -> None:
    folder = make(tmp_path / "folder")
    (folder / file).write_text(content)
    with pytest.raises(LabwrightError) as refused:
        prepared(folder)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"file": "x.png", "boxes": [[1, 1, 9, 9]], "labels": []}, "one entry for each box"),
        ({"file": "x.png", "boxes": None}, "one entry for each box"),
        ({"file": "x.png", "boxes": [[1, 1, 9]], "labels": ["owl"]}, "a box is four numbers"),
        ({"file": "x.png", "boxes": [[1, 1, 9, 9]], "labels": [3]}, "labels are names"),
        ({"file": "x.png", "split": "later"}, "neither train, valid nor test"),
        ({"boxes": []}, "no table with a `file`"),
        ({"file": "x.png"}, "no picture has a box"),
    ],
)
def test_lines_that_say_nothing_are_refused(tmp_path: Path, row: dict[str, object], told: str) -> None:
    picture(tmp_path / "x.png")
    (tmp_path / "all.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(LabwrightError) as refused:
        prepared(tmp_path)
    assert told in str(refused.value)


def test_what_a_windows_editor_puts_before_the_first_class_is_no_part_of_its_name(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo")
    (folder / "classes.txt").write_text("cat\ndog\n\n", encoding="utf-8-sig")
    assert prepared(folder).names == ("cat", "dog")


def test_labels_in_an_archive_are_not_passed_over(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo")
    with zipfile.ZipFile(folder / "labels.zip", "w") as archive:
        archive.write(folder / "labels" / "train" / "a.txt", "train/a.txt")
    (folder / "labels" / "train" / "a.txt").unlink()
    with pytest.raises(LabwrightError, match=r"labels\.zip has text files in it.*unpack it"):
        prepared(folder)


def test_a_picture_in_two_parts_is_told(tmp_path: Path) -> None:
    folder = coco(tmp_path / "coco")
    assert not [text for text in prepared(folder).remarks() if "flatters" in text]
    (folder / "val2017" / "d.png").write_bytes((folder / "train2017" / "a.png").read_bytes())
    (told,) = [text for text in prepared(folder).remarks() if "flatters" in text]
    assert told.startswith("1 of 1 pictures of valid are in another part as well, such as d.png in train (a.png)")


def test_a_box_that_becomes_a_crowd_is_other_data(tmp_path: Path) -> None:
    before = [*prepared(coco(tmp_path / "before")).identity("train")]
    after = changed(tmp_path / "after", lambda t: t["annotations"][0].update(iscrowd=1))
    assert [*prepared(after).identity("train")] != before
    assert [*prepared(coco(tmp_path / "again")).identity("train")] == before


def test_other_data_of_which_nothing_can_be_used_is_refused(tmp_path: Path) -> None:
    data = prepared(coco(tmp_path / "coco"), on_damaged="leave-out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.png").write_bytes(b"damaged")
    (tmp_path / "other" / "all.jsonl").write_text('{"file": "x.png", "boxes": [[1, 1, 9, 9]], "labels": ["cat"]}\n')
    with pytest.raises(LabwrightError, match="no picture of it can be used"):
        data.on(tmp_path / "other")


def test_no_part_of_coco_is_passed_over(tmp_path: Path) -> None:
    folder = coco(tmp_path / "coco")
    notes = folder / "annotations"
    (notes / "captions_train2017.json").write_text('{"images": [], "annotations": [{"caption": "a cat"}]}')
    file = (notes / "instances_val2017.json").rename(notes / "val.json")
    data = prepared(folder)
    assert boxes_of(data, "valid") == [TRUE["d"][1]] and len(data.split("train") or ()) == 3
    file.write_text("{")
    with pytest.raises(LabwrightError, match=r"val\.json can't be read as JSON"):
        prepared(folder)


def test_lists_of_voc_lie_in_its_own_folder_and_what_they_leave_out_is_told(tmp_path: Path) -> None:
    voc(tmp_path / "VOC2007")
    data = prepared(tmp_path)
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [3, 1, 1]
    assert not data.left_out()
    (tmp_path / "VOC2007" / "ImageSets" / "Main" / "train.txt").write_text("a\nz\n")
    told = {(left.count, left.what, left.why) for left in prepared(tmp_path).left_out()}
    assert told == {
        (2, "annotations", "in none of the lists of ImageSets/Main, such as b"),
        (1, "name", "in a list of ImageSets/Main, but without an annotation, such as z"),
    }


def test_labels_of_two_pictures_are_refused(tmp_path: Path) -> None:
    folder = yolo(tmp_path / "yolo")
    picture(folder / "images" / "train" / "a.bmp")
    with pytest.raises(LabwrightError, match=r"a\.txt is of two pictures"):
        prepared(folder)


def test_a_folder_without_annotations_or_with_two_kinds_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "x" / "x.png")
    with pytest.raises(LabwrightError, match="no annotations of layout"):
        prepared(tmp_path / "x")
    voc(tmp_path / "both")
    (tmp_path / "both" / "all.jsonl").write_text('{"file": "a.png"}\n')
    with pytest.raises(LabwrightError, match=r"set task\.data\.layout"):
        prepared(tmp_path / "both")
    assert prepared(tmp_path / "both", layout="voc").names == ("cat", "dog")
    with pytest.raises(LabwrightError, match="there is no folder"):
        prepared(tmp_path / "nowhere")


def test_a_picture_the_camera_turned_is_refused_where_its_boxes_were_not(tmp_path: Path) -> None:
    folder = coco(tmp_path / "coco")
    file = folder / "train2017" / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # held on its side
    with Image.open(file) as lying:
        lying.save(file, exif=exif)
    with pytest.raises(LabwrightError, match="save it upright"):
        prepared(folder)


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_a_size_that_cocos_file_does_not_know_is_that_of_the_picture(tmp_path: Path, unknown: float | None) -> None:
    folder = coco(tmp_path / "coco")
    known = prepared(folder).split("train")
    for file in (folder / "annotations").iterdir():
        told = json.loads(file.read_text())
        told["images"] = [row | {"width": unknown} for row in told["images"]]
        file.write_text(json.dumps(told))
    read = prepared(folder).split("train")
    assert known is not None and read is not None and len(read) == len(known)
    for one, other in zip(*(part.fetch(torch.arange(len(part)), 0, 0).inputs for part in (known, read)), strict=True):
        assert torch.equal(one, other)
