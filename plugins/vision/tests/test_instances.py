"""Masks of objects: read, carried along, measured and drawn, each against another implementation or a closed form."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from detection_folders import SIZE, coco, yolo
from labwright_vision.detection.data.augment import Sample, Zoom
from labwright_vision.detection.data.folder import DetectionFolder
from labwright_vision.detection.data.letterbox import Letterbox, Origin
from labwright_vision.detection.data.shapes import Shapes, drawn
from labwright_vision.detection.data.split import BoxSplit
from labwright_vision.detection.drawing import Found
from labwright_vision.detection.drawing import drawn as painted
from labwright_vision.detection.floors import commonest
from labwright_vision.detection.metrics import AveragePrecision, Detected, evaluated, figures
from labwright_vision.detection.ports import Instances
from labwright_vision.detection.run_lengths import decoded, encoded
from PIL import Image
from pycocotools import mask as tools
from torch import Tensor

SMALL = (
    "task.data.train=16",
    "task.data.valid=4",
    "task.data.test=4",
    "task.data.size=64",
    "task.data.mosaic=0.5",
    "model.width=16",
    "train.epochs=1",
)


def tri(box: tuple[float, float, float, float]) -> list[float]:
    """The corners of a triangle in a box, its tip above."""
    left, top, right, bottom = box
    return [(left + right) / 2, top, right, bottom, left, bottom]


def outlined(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> Path:
    """COCO's annotations with a triangle in each box; the first of train is a crowd, in run lengths."""
    coco(folder)
    for file in sorted((folder / "annotations").glob("*.json")):
        table = json.loads(file.read_text())
        for row in table["annotations"]:
            left, top, width, height = row["bbox"]
            row["segmentation"] = [tri((left, top, left + width, top + height))]
        if "train" in file.name:
            first = table["annotations"][0]
            whole = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
            whole[5:25, 5:25] = 1
            counts = np.diff(np.flatnonzero(np.diff(whole.T.flatten(), prepend=2, append=2))).tolist()
            first |= {"iscrowd": 1, "segmentation": {"size": [SIZE[1], SIZE[0]], "counts": counts}}
            change(table)
        file.write_text(json.dumps(table))
    return folder


def read(folder: Path, height: int = SIZE[1], width: int = SIZE[0], **settings: Any) -> DetectionFolder:
    data = DetectionFolder(folder=folder, masks=True, height=height, width=width, **settings)
    data.prepare()
    return data


def first(data: lw.Data, part: str, index: int = 0) -> dict[str, Tensor]:
    split = data.split(part)
    assert split is not None
    targets: dict[str, Tensor] = split.fetch(torch.tensor([index]), 0, 0).targets
    return targets


def test_polygons_and_run_lengths_are_drawn_as_cocos_tools_draw_them(tmp_path: Path) -> None:
    data = read(outlined(tmp_path / "coco"))
    assert isinstance(data.ports()[1], Instances)
    found = first(data, "train")
    assert found["crowd"].tolist() == [[True, False]]
    square = torch.zeros(SIZE[1], SIZE[0], dtype=torch.bool)
    square[5:25, 5:25] = True
    assert torch.equal(found["masks"][0, 0], square)
    theirs = tools.merge(tools.frPyObjects([tri((30.0, 10.0, 60.0, 40.0))], SIZE[1], SIZE[0]))
    assert np.array_equal(found["masks"][0, 1].numpy(), decoded([theirs])[0])
    again = first(data, "train")  # now kept
    assert torch.equal(again["masks"], found["masks"])
    assert first(data, "train", 1)["masks"].shape == (1, 0, SIZE[1], SIZE[0]), "a picture without boxes"


def test_run_lengths_in_letters_are_the_same_as_those_in_numbers(tmp_path: Path) -> None:
    def packed(table: dict[str, Any]) -> None:
        given = table["annotations"][0]["segmentation"]
        coded = tools.frPyObjects(given, *given["size"])
        table["annotations"][0]["segmentation"] = {"size": given["size"], "counts": coded["counts"].decode()}

    plain, letters = read(outlined(tmp_path / "plain")), read(outlined(tmp_path / "letters", packed))
    assert torch.equal(first(plain, "train")["masks"], first(letters, "train")["masks"])


def test_masks_are_fitted_with_their_picture_and_come_back(tmp_path: Path) -> None:
    data = read(outlined(tmp_path / "coco"), 96, 80)
    found = first(data, "train")
    # 60x40 into 80x96: 80x53, which stands in the middle, 21 pixels below the top
    box = found["boxes"][0, 0].round().int().tolist()
    inside = found["masks"][0, 0]
    left, top, right, bottom = box
    assert abs(int(inside.sum()) - (right - left) * (bottom - top)) <= right - left + bottom - top
    assert int(inside[top:bottom, left:right].sum()) == int(inside.sum())
    back = Origin(b"", SIZE, Letterbox(96, 80)).masks_to_picture(found["masks"][0])
    assert back.shape == (2, SIZE[1], SIZE[0])
    square = torch.zeros(SIZE[1], SIZE[0], dtype=torch.bool)
    square[5:25, 5:25] = True
    assert int((back[0] ^ square).sum()) <= 2 * (20 + 20), "right but for a pixel along its edge"
    nothing = Origin(b"", SIZE, Letterbox(96, 80)).masks_to_picture(torch.zeros(0, 96, 80, dtype=torch.bool))
    assert nothing.shape == (0, SIZE[1], SIZE[0])


@pytest.mark.parametrize(
    ("outline", "told"),
    [
        (None, "has no segmentation"),
        ([], "has no segmentation"),
        ([[1, 2, 3, 4]], "neither run lengths nor polygons of three corners"),
        ([[1, 2, 3, 4, 5]], "neither run lengths nor polygons of three corners"),
        ("here", "neither run lengths nor polygons of three corners"),
        ([[1, 2, 3, 4, 5, "six"]], "corners aren't all numbers"),
        ({"size": [9, 9], "counts": [81]}, r"run lengths of size [9, 9], not [40, 60]"),
        ({"size": [40, 60], "counts": [81]}, "run lengths of 81 pixels, not 2,400"),
        ({"size": [40, 60], "counts": [-1, 2401]}, "`counts` are no run lengths"),
        ({"size": [40, 60], "counts": "o"}, "`counts` are no run lengths"),
        ({"size": [40, 60]}, "`counts` are no run lengths"),
    ],
)
def test_an_outline_that_cannot_be_is_refused_and_may_be_left_out(tmp_path: Path, outline: Any, told: str) -> None:
    folder = outlined(tmp_path / "coco", lambda table: table["annotations"][0].update(segmentation=outline))
    with pytest.raises(lw.LabwrightError) as refused:
        read(folder)
    assert told in str(refused.value) and "'cat' at 5, 5, 25, 25" in str(refused.value)
    left = read(folder, on_damaged="leave-out")
    assert first(left, "train")["labels"].tolist() == [[1]] and len(first(left, "train")["masks"][0]) == 1
    boxes = DetectionFolder(folder=folder, height=40, width=60)
    boxes.prepare()  # which asks for no masks
    assert "masks" not in first(boxes, "train")


def test_masks_of_a_layout_without_any_are_refused(tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match=r"task\.data\.masks: annotations of layout 'yolo' have boxes alone"):
        read(yolo(tmp_path / "yolo"))


def test_what_was_kept_knows_of_masks_and_another_outline_is_other_data(tmp_path: Path) -> None:
    data = read(outlined(tmp_path / "coco"))
    (tmp_path / "task").mkdir()
    data.save(tmp_path / "task")
    again = DetectionFolder(folder=tmp_path / "coco")
    again.load(tmp_path / "task")
    assert again.ports() == data.ports()
    changed = outlined(
        tmp_path / "other", lambda t: t["annotations"][1].update(segmentation=[[30, 10, 60, 10, 60, 40]])
    )
    assert [*read(changed).identity("train")] != [*data.identity("train")]


def marked(box: tuple[int, int, int, int]) -> Sample:
    """A bright rectangle on black, whose mask is what is bright."""
    pixels = torch.full((3, 48, 64), 20, dtype=torch.uint8)
    left, top, right, bottom = box
    pixels[:, top:bottom, left:right] = 250
    return Sample(pixels, torch.tensor([[*box]]).float(), torch.tensor([0]), torch.tensor([False]), pixels[:1] > 100)


@pytest.mark.parametrize("zoom", [Zoom(0.0, True, True, 0.0), Zoom(0.5, True, True, 0.0), Zoom(0.4, True, False, 1.0)])
def test_masks_follow_their_picture_through_every_change(zoom: Zoom) -> None:
    samples, seen = [marked((8 + 4 * number, 6, 24 + 4 * number, 22)) for number in range(6)], 0
    for epoch in range(6):
        x_BCHW, changed = zoom(samples.__getitem__, 6, torch.arange(6), epoch, 0)
        for picture, sample in zip(x_BCHW, changed, strict=True):
            assert sample.masks is not None and sample.masks.shape == (len(sample.boxes), 48, 64)
            bright = picture[0] > (20 + 250) / 2  # at least half of the pixel is
            for mask, (left, top, right, bottom) in zip(sample.masks, sample.boxes.round().int().tolist(), strict=True):
                assert bool(mask.any()) and int(mask[top:bottom, left:right].sum()) >= int(mask.sum()) - 24
                assert bool(bright[mask].all()), "a mask has nothing that isn't its object's"
                assert int((bright[top:bottom, left:right] & ~mask[top:bottom, left:right]).sum()) <= 24, (
                    "and all of it"
                )
                seen += 1
    assert seen > 30


def test_a_flip_of_a_mask_is_exact() -> None:
    data = Shapes(train=6, valid=0, test=0, size=64, masks=True, flip=True)
    data.prepare()
    split = data.split("train")
    assert split is not None
    plain, turned = split.plain().fetch(torch.arange(6), 0, 0), split.fetch(torch.arange(6), 0, 0)  # type: ignore[attr-defined]
    mirrored = [not torch.allclose(*(one.inputs[0][row] for one in (plain, turned)), atol=1e-3) for row in range(6)]
    assert 0 < sum(mirrored) < 6
    for row, flipped in enumerate(mirrored):
        wanted = plain.targets["masks"][row]
        assert torch.equal(turned.targets["masks"][row], wanted.flip(-1) if flipped else wanted)


def test_shapes_have_the_pixels_of_each_that_are_seen() -> None:
    data = Shapes(train=4, valid=0, test=0, size=64, masks=True)
    data.prepare()
    split = data.split("train")
    assert split is not None
    targets = split.fetch(torch.arange(4), 0, 0).targets
    for index in range(4):
        _, masks = drawn(0, index, 64, 5)
        assert torch.equal(targets["masks"][index, : len(masks)], masks)
        assert not bool(targets["masks"][index, len(masks) :].any())


def made_pictures(seed: int) -> list[Detected]:
    """Masks around true ones, some shifted, some missing, some too many, crowds among them."""
    draw, pictures = np.random.default_rng(seed), []
    for _ in range(12):
        count = int(draw.integers(0, 5))
        low = draw.integers(0, 40, (count, 2))
        true = np.concatenate([low, low + draw.integers(5, 24, (count, 2))], axis=1)
        extra = np.concatenate([low := draw.integers(0, 40, (2, 2)), low + draw.integers(5, 24, (2, 2))], axis=1)
        given = np.concatenate([true + draw.integers(-2, 3, true.shape), extra])
        labels = draw.integers(0, 2, count)
        pictures.append(
            Detected(
                given.astype(float),
                draw.uniform(0, 1, len(given)),
                np.concatenate([labels, draw.integers(0, 2, 2)]),
                true.astype(float),
                labels,
                draw.uniform(size=count) < 0.2,
                encoded(ellipses(given)),
                encoded(ellipses(true)),
            )
        )
    return pictures


def ellipses(boxes: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[:64, :64] + 0.5
    masks = np.zeros((len(boxes), 64, 64), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        across, down = (2 * columns - left - right) / (right - left), (2 * rows - top - bottom) / (bottom - top)
        mask[:] = across**2 + down**2 < 1
    return masks


def test_the_average_precision_of_masks_is_that_of_a_call_of_cocoeval(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures = made_pictures(0)
    names = ("cat", "dog")
    ours = figures(evaluated(pictures, names, "segm"), names)
    truth: dict[str, Any] = {
        "images": [{"id": 100 + number, "height": 64, "width": 64} for number in range(len(pictures))],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
        "annotations": [],
    }
    results = []
    for number, picture in enumerate(pictures, 100):
        assert picture.masks is not None and picture.true_masks is not None
        columns = zip(picture.true_masks, picture.true_labels, picture.crowd, strict=True)
        for mask, label, crowd in columns:
            row = {"image_id": number, "category_id": 5 + int(label), "iscrowd": int(crowd)}
            row |= {"segmentation": letters(mask), "area": float(tools.area(mask)), "bbox": tools.toBbox(mask).tolist()}
            truth["annotations"].append(row | {"id": len(truth["annotations"]) + 1})
        for mask, label, score in zip(picture.masks, picture.labels, picture.scores, strict=True):
            row = {"image_id": number, "category_id": 5 + int(label), "score": float(score)}
            results.append(row | {"segmentation": letters(mask)})
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        table = COCO(str(tmp_path / "truth.json"))
        direct = COCOeval(table, table.loadRes(results), "segm")
        direct.evaluate()
        direct.accumulate()
        direct.summarize()
    assert 0 < ours["map"] < ours["map50"] < 1
    assert ours["map"] == pytest.approx(direct.stats[0], abs=1e-6)
    assert ours["map50"] == pytest.approx(direct.stats[1], abs=1e-6)
    by_class = direct.eval["precision"][:, :, :, 0, 2].mean((0, 1))
    assert [*ours["ap"].values()] == pytest.approx(by_class.tolist(), abs=1e-6)


def letters(mask: Any) -> dict[str, Any]:
    return {"size": mask["size"], "counts": mask["counts"].decode()}


def test_boxes_that_are_right_around_masks_that_are_wrong_are_told_apart() -> None:
    box = torch.tensor([[[8.0, 8.0, 40.0, 40.0]]])
    square, corner = torch.zeros(2, 1, 1, 64, 64, dtype=torch.bool)
    square[..., 8:40, 8:40], corner[..., 8:12, 8:40] = True, True
    one = {"boxes": box, "scores": torch.tensor([[0.9]]), "labels": torch.tensor([[0]]), "masks": corner}
    true = {
        "true_boxes": box,
        "true_labels": torch.tensor([[0]]),
        "crowd": torch.tensor([[False]]),
        "true_masks": square,
    }
    measured = AveragePrecision(("cat",), masks=True)
    measured.update(one | true)
    values = measured.compute()
    assert [values["map"], values["map50"]] == pytest.approx([1.0, 1.0])
    assert values["mask_map"] == values["mask_map50"] == 0.0


def test_a_mask_is_drawn_in_the_colour_of_its_class() -> None:
    mask = torch.zeros(200, 200, dtype=torch.bool)
    mask[50:100, 50:100] = True
    shown = painted(torch.zeros(3, 200, 200), [Found((40.0, 40.0, 120.0, 120.0), "dog", mask=mask)], ("cat", "dog"))
    assert (shown[:, 70, 70] * 255).tolist() == pytest.approx([255 / 2, 127 / 2, 14 / 2], abs=1)
    assert shown[:, 110, 110].tolist() == [0.0, 0.0, 0.0]


def test_the_floor_is_the_mean_box_of_each_class_where_it_is_commonest() -> None:
    low = marked((8, 6, 24, 22))
    moved = marked((10, 6, 26, 22))  # in the same cell
    crowd = replace(marked((40, 20, 56, 40)), crowd=torch.tensor([True]))
    other = replace(marked((40, 20, 56, 40)), labels=torch.tensor([1]))
    samples = [low, moved, crowd, other]
    found = commonest(BoxSplit(samples.__getitem__, 4), lw.Image(3, 48, 64), Instances(("cat", "dog")))
    assert found["boxes"].tolist() == [[[9.0, 6.0, 25.0, 22.0], [40.0, 20.0, 56.0, 40.0]]]
    assert found["labels"].tolist() == [[0, 1]] and found["scores"].tolist() == [[0.5, 0.25]]
    assert torch.equal(found["masks"][0, 1], marked((40, 20, 56, 40)).pixels[0] > 100)


def test_a_goal_of_masks_needs_masks() -> None:
    with pytest.raises(lw.LabwrightError, match=r"task\.goal: 'mask_map50' needs masks"):
        lw.Experiment.from_recipe("vision/shapes-instances", ["task.data.masks=false", "task.data.train=4"]).build()


@pytest.mark.long
def test_a_run_reports_and_predicts_masks_in_pixels_of_the_picture(tmp_path: Path) -> None:
    run = lw.Experiment.from_recipe("vision/shapes-instances", SMALL).run(tmp_path / "run")
    assert {"mask_map", "mask_map50", "mask_ap/circle", "map50"} <= run.metrics["test"].keys()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Precision and recall, masks" in page and "mask AP50" in page and "commonest boxes" in page
    sample, _ = drawn(2, 0, 64, 5)
    wide = Image.fromarray(sample.pixels.permute(1, 2, 0).numpy()).resize((256, 128))
    wide.save(tmp_path / "wide.png")
    loaded = lw.load(tmp_path / "run")
    task = loaded.task
    task.score = 0.0  # type: ignore[attr-defined]
    given = task.data.read(tmp_path / "wide.png")
    with torch.no_grad():
        (answer,) = task.predict(loaded.model.eval(), given, [given.origin])  # type: ignore[attr-defined]
    json.dumps(answer["masks"])
    masks = decoded([mask | {"counts": mask["counts"].encode()} for mask in answer["masks"]])
    assert masks.shape == (len(answer["boxes"]["xyxy"]), 128, 256) and len(masks) > 0
    for mask, (left, top, right, bottom) in zip(masks, answer["boxes"]["xyxy"], strict=True):
        rows, columns = np.nonzero(mask)
        if len(rows):  # to within two pixels of the input, each of which is four of the picture
            assert rows.min() >= top - 8 and rows.max() <= bottom + 8
            assert columns.min() >= left - 8 and columns.max() <= right + 8
    with Image.open(io.BytesIO(answer["picture"].data)) as picture:
        assert picture.size == (256, 128)


@pytest.mark.release
def test_shapes_and_their_masks_are_found_in_minutes() -> None:
    run = lw.Experiment.from_recipe("vision/shapes-instances").run()
    assert run.metrics["test"]["mask_map50"] > 0.9
