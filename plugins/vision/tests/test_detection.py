"""Detection: each part against another implementation or its closed form, and the whole on a few drawn shapes."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path

import labwright as lw
import numpy as np
import pytest
import torch
from labwright_vision.detection.assigner import aligned
from labwright_vision.detection.data.augment import Sample, Zoom
from labwright_vision.detection.data.shapes import NAMES, Shapes, drawn
from labwright_vision.detection.losses import DetectionLoss, dfl, size
from labwright_vision.detection.metrics import Detected, evaluated, figures, intervals
from labwright_vision.detection.overlap import ciou_loss, giou_loss, iou
from labwright_vision.detection.ports import Boxes, padded
from labwright_vision.detection.report import mistakes
from labwright_vision.models.detector import Detector
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision import ops

SMALL = (
    "task.data.train=48",
    "task.data.valid=12",
    "task.data.test=12",
    "task.data.size=64",
    "task.data.mosaic=0.5",
    "model.width=8",
    "model.head_width=16",
    "model.head_depth=1",
    "train.epochs=2",
)


def some_boxes(count: int, seed: int, side: float = 100.0) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=lw.generator(seed)).double() * side
    return torch.cat([corners.amin(1), corners.amax(1) + 1], dim=1)


def small(*overrides: str) -> lw.Experiment:
    return lw.Experiment.from_recipe("vision/shapes-detection", [*SMALL, *overrides])


def test_overlap_and_its_losses_are_those_of_torchvision() -> None:
    ours, others = some_boxes(200, 1).requires_grad_(), some_boxes(200, 2)
    torch.testing.assert_close(iou(ours[:, None], others[None]), ops.box_iou(ours, others))
    for loss, theirs in (
        (giou_loss, ops.generalized_box_iou_loss),
        (ciou_loss, ops.complete_box_iou_loss),
    ):
        torch.testing.assert_close(loss(ours, others), theirs(ours, others))
        gradients = [torch.autograd.grad(one(ours, others).sum(), ours)[0] for one in (loss, theirs)]
        torch.testing.assert_close(*gradients)


def test_boxes_that_are_the_same_cost_nothing_and_those_apart_cost_more_the_further_they_are() -> None:
    box = torch.tensor([[10.0, 10.0, 30.0, 20.0]])
    for loss in (giou_loss, ciou_loss):
        assert float(loss(box, box)) == pytest.approx(0, abs=1e-6)
        assert float(loss(box, box + 40)) < float(loss(box, box + 80))
    # two unit squares with a gap of one between: GIoU is 0 - (3 - 2) / 3
    squares = torch.tensor([[0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]])
    assert float(giou_loss(squares[0], squares[1])) == pytest.approx(1 + 1 / 3)


def test_the_distribution_loss_is_least_where_the_mean_is_the_distance() -> None:
    # between 2 and 3 at 2.25: cross-entropy with shares 3/4 and 1/4, whose least value is their entropy
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    best = torch.full((5,), -30.0)
    best[2], best[3] = math.log(0.75), math.log(0.25)
    assert float(dfl(best.expand(1, 4, 5), torch.full((1, 4), 2.25))) == pytest.approx(entropy, abs=1e-5)
    even = torch.zeros(1, 4, 5)
    assert float(dfl(even, torch.full((1, 4), 1.5))) == pytest.approx(math.log(5), abs=1e-5)


def points_of(side: int, stride: int) -> Tensor:
    steps = torch.arange(side // stride) * stride + stride / 2
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y, torch.full_like(x, stride)], dim=-1).view(1, -1, 3)


def test_a_box_is_given_to_the_points_within_it_that_are_best_aligned() -> None:
    anchors = points_of(64, 8)
    targets = padded([torch.tensor([[8.0, 8.0, 40.0, 40.0]])], [torch.tensor([1])], [torch.tensor([False])])
    # as large as the box at each point, so that the overlap falls with the distance from its middle
    boxes = torch.cat([anchors[..., :2] - 16, anchors[..., :2] + 16], dim=-1)
    logits = torch.zeros(1, 64, 2)
    assigned = aligned(logits, boxes, anchors, targets, most=4)
    chosen = anchors[0, assigned.found[0], :2]
    assert sorted(chosen.tolist()) == [[20.0, 20.0], [20.0, 28.0], [28.0, 20.0], [28.0, 28.0]]
    overlap = iou(boxes[0, assigned.found[0]], targets["boxes"][0])
    # all four are aligned alike, so that each is to have the best overlap of the box
    torch.testing.assert_close(assigned.scores[0, assigned.found[0], 1], overlap)
    assert float(assigned.scores[..., 0].sum()) == 0
    assert not assigned.ignored.any()


def test_two_boxes_at_one_place_share_no_point_and_crowds_are_left_alone() -> None:
    anchors = points_of(64, 8)
    boxes = torch.cat([anchors[..., :2] - 8, anchors[..., :2] + 8], dim=-1)
    two = torch.tensor([[8.0, 8.0, 40.0, 40.0], [16.0, 16.0, 56.0, 56.0]])
    targets = padded([two], [torch.tensor([0, 1])], [torch.tensor([False, True])])
    assigned = aligned(torch.zeros(1, 64, 2), boxes, anchors, targets, most=5)
    assert float(assigned.scores[..., 1].sum()) == 0, "a crowd is given to no point"
    within = ops.box_iou(boxes[0], two[1:])[:, 0] > 0
    assert bool(assigned.ignored[0, within & ~assigned.found[0]].any())
    assert not bool((assigned.ignored & assigned.found).any())
    both = padded([two], [torch.tensor([0, 1])], [torch.tensor([False, False])])
    assigned = aligned(torch.zeros(1, 64, 2), boxes, anchors, both, most=5)
    assert int((assigned.scores > 0).sum(-1).max()) == 1
    assert {int(label) for label in assigned.scores[assigned.found].argmax(-1)} == {0, 1}


@pytest.mark.parametrize("classes", ["bce", "focal", "varifocal"])
def test_the_class_loss_is_its_formula(classes: str) -> None:
    # a picture without boxes: every score is to be 0, and the loss is divided by 1 for the picture
    logits = torch.tensor([[[0.3, -1.0]]])
    given = {"logits": logits, "boxes": torch.zeros(1, 1, 4), "anchors": torch.tensor([[[4.0, 4.0, 8.0]]])}
    nothing = padded([torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.bool)])
    parts = DetectionLoss(classes=classes, class_weight=1.0)(given, nothing)  # type: ignore[arg-type]
    p = logits.sigmoid()
    cost = -(1 - p).log()
    factor = {"bce": torch.ones_like(p), "focal": p**2, "varifocal": 0.75 * p**2}[classes]
    torch.testing.assert_close(parts["class"], (cost * factor).sum())
    assert float(parts["box"]) == 0
    # focal is torchvision's but for its weight alpha
    if classes == "focal":
        torch.testing.assert_close(parts["class"], ops.sigmoid_focal_loss(logits, p * 0, alpha=-1).sum())


def made_pictures(seed: int) -> list[Detected]:
    """Detections around true boxes, some wrong, some missing, one class that never occurs, crowds among them."""
    draw = np.random.default_rng(seed)
    pictures = []
    for _ in range(20):
        count = int(draw.integers(0, 6))
        true = np.concatenate([low := draw.uniform(0, 60, (count, 2)), low + draw.uniform(5, 40, (count, 2))], axis=1)
        labels = draw.integers(0, 2, count)
        given = np.concatenate([true + draw.normal(0, 3, true.shape), some_boxes(3, int(draw.integers(99))).numpy()])
        given_labels = np.concatenate([labels, draw.integers(0, 2, 3)])
        scores = draw.uniform(0, 1, len(given))
        crowd = draw.uniform(size=count) < 0.2
        pictures.append(Detected(given, scores, given_labels, true, labels, crowd))
    return pictures


def test_the_average_precision_is_that_of_a_call_of_cocoeval(tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures = made_pictures(0)
    ours = figures(evaluated(pictures, ("cat", "dog", "owl")), ("cat", "dog", "owl"))
    truth: dict[str, list[dict[str, object]]] = {
        "images": [{"id": 100 + number} for number in range(len(pictures))],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}, {"id": 9, "name": "owl"}],
        "annotations": [],
    }
    results = []
    for number, picture in enumerate(pictures, 100):
        for box, label, crowd in zip(picture.true_boxes, picture.true_labels, picture.crowd, strict=True):
            left, top, right, bottom = box.tolist()
            row = {"image_id": number, "category_id": 5 + int(label), "bbox": [left, top, right - left, bottom - top]}
            row |= {"area": (right - left) * (bottom - top), "iscrowd": int(crowd)}
            truth["annotations"].append(row | {"id": len(truth["annotations"]) + 1})
        for box, label, score in zip(picture.boxes, picture.labels, picture.scores, strict=True):
            left, top, right, bottom = box.tolist()
            row = {"image_id": number, "category_id": 5 + int(label), "bbox": [left, top, right - left, bottom - top]}
            results.append(row | {"score": float(score)})
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        table = COCO(str(tmp_path / "truth.json"))
        direct = COCOeval(table, table.loadRes(results), "bbox")
        direct.evaluate()
        direct.accumulate()
        direct.summarize()
    assert ours["map"] == pytest.approx(direct.stats[0], abs=1e-6)
    assert ours["map50"] == pytest.approx(direct.stats[1], abs=1e-6)
    by_class = direct.eval["precision"][:, :, :, 0, 2].mean((0, 1))
    assert [ours["ap"]["cat"], ours["ap"]["dog"]] == pytest.approx(by_class[:2].tolist(), abs=1e-6)
    assert math.isnan(ours["ap"]["owl"])


def test_an_interval_holds_its_figure_and_is_none_where_it_tells_nothing() -> None:
    names = ("cat", "dog")
    coco = evaluated(made_pictures(1), names)
    values, ends = figures(coco, names), intervals(coco, names)
    for name in ("map", "map50"):
        assert ends[name]["low"] < values[name] < ends[name]["high"]
    assert intervals(coco, names) == ends
    box, one = np.array([[5.0, 5.0, 20.0, 20.0]]), np.array([0])
    right = [Detected(box, np.array([0.9]), one, box, one, np.array([False]))] * 10
    assert intervals(evaluated(right, ("cat",)), ("cat",)) == {"map": {}, "map50": {}, "ap50": {"cat": {}}}
    few = evaluated(made_pictures(1)[:9], names)
    assert intervals(few, names) == {}  # nine pictures are too few


def test_pictures_without_boxes_have_no_precision_and_what_is_found_there_is_wrong() -> None:
    none, box = np.zeros((0, 4)), np.array([[5.0, 5.0, 20.0, 20.0]])
    empty = Detected(none, np.zeros(0), np.zeros(0, int), none, np.zeros(0, int), np.zeros(0, bool))
    assert math.isnan(figures(evaluated([empty, empty], ("cat",)), ("cat",))["map50"])
    there = Detected(box, np.array([0.8]), np.zeros(1, int), box, np.zeros(1, int), np.zeros(1, bool))
    wrong = Detected(box, np.array([0.9]), np.zeros(1, int), none, np.zeros(0, int), np.zeros(0, bool))
    # the better of two detections is wrong: precision is 1/2 at every recall
    assert figures(evaluated([wrong, there], ("cat",)), ("cat",))["map"] == pytest.approx(0.5)


def test_mistakes_are_counted_once_each() -> None:
    true = np.array([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 90.0, 90.0], [100.0, 0.0, 120.0, 20.0]])
    given = np.array(
        [[0.0, 0.0, 10.0, 9.0], [1.0, 0.0, 10.0, 10.0], [55.0, 55.0, 70.0, 70.0], [200.0, 0.0, 220.0, 20.0]]
    )
    picture = Detected(
        given, np.array([0.9, 0.8, 0.7, 0.6]), np.zeros(4, int), true, np.zeros(3, int), np.arange(3) == 1
    )
    # the first is right, the second finds it taken, the third lies in a crowd, the fourth in nothing
    assert mistakes(picture, 0.5) == (1, 2, 1)
    assert mistakes(picture, 0.85) == (1, 0, 1)


def test_what_only_touches_a_crowd_is_a_mistake_as_it_is_to_coco() -> None:
    # COCO takes a detection for the crowd's if half of it lies there: 12 of its 20 columns do, then 8
    crowd, label = np.array([[8.0, 0.0, 90.0, 90.0]]), np.zeros(1, int)
    for left, wrong in ((0.0, 0), (-4.0, 1)):
        box = np.array([[left, 0.0, left + 20, 20.0]])
        picture = Detected(box, np.array([0.9]), label, crowd, label, np.array([True]))
        assert mistakes(picture, 0.5) == (0, wrong, 0)
        there = Detected(crowd, np.array([0.8]), label, crowd, label, np.array([False]))
        # the one that counts is found; before it comes another that doesn't count, or is wrong
        precision = figures(evaluated([picture, there], ("cat",)), ("cat",))["map50"]
        assert precision == pytest.approx(1 / (1 + wrong))


def marked(height: int, width: int, box: tuple[int, int, int, int]) -> Sample:
    pixels = torch.full((3, height, width), 20, dtype=torch.uint8)
    left, top, right, bottom = box
    pixels[:, top:bottom, left:right] = 250
    one = torch.tensor
    return Sample(pixels, one([box], dtype=torch.float32), one([0]), one([False]))


def around(picture_CHW: Tensor) -> list[list[float]]:
    """The box around what is bright, or nothing."""
    bright = picture_CHW[0] > 182
    if not bright.any():
        return []
    rows, columns = bright.any(1).nonzero()[:, 0], bright.any(0).nonzero()[:, 0]
    return [[float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]]


def test_boxes_follow_their_picture_through_every_change() -> None:
    samples = [marked(48, 64, (8 + 4 * number, 6, 24 + 4 * number, 22)) for number in range(6)]
    for zoom in (Zoom(0.0, True, True, 0.0), Zoom(0.5, True, True, 0.0)):
        seen = 0
        for epoch in range(8):
            x_BCHW, changed = zoom(samples.__getitem__, 6, torch.arange(6), epoch, 0)
            assert x_BCHW.shape == (6, 3, 48, 64)
            for picture, sample in zip(x_BCHW, changed, strict=True):
                if not len(sample.boxes):
                    continue
                # to within a pixel: a border between two pixels is blurred
                assert sample.boxes.tolist()[0] == pytest.approx(around(picture)[0], abs=1.5)
                seen += 1
        assert seen > 30


def test_of_a_crowd_what_is_seen_stays_one() -> None:
    # a tenth of each is seen: too little to be looked for, but no background
    wide = torch.tensor([[0.0, 0.0, 640.0, 40.0], [0.0, 0.0, 640.0, 40.0]])
    sample = Sample(torch.zeros(3, 48, 64, dtype=torch.uint8), wide, torch.zeros(2).long(), torch.tensor([True, False]))
    _, (seen,) = Zoom(0.0, True, False, 0.0)([sample].__getitem__, 1, torch.tensor([0]), 0, 0)
    assert seen.crowd.tolist() == [True] and seen.boxes.tolist() == [[0.0, 0.0, 64.0, 40.0]]


def test_a_mosaic_shows_what_its_boxes_say() -> None:
    samples = [marked(48, 64, (20, 14, 44, 34)) for _ in range(5)]
    zoom = Zoom(0.4, False, False, 1.0)
    counts = []
    for epoch in range(6):
        x_BCHW, changed = zoom(samples.__getitem__, 5, torch.arange(5), epoch, 0)
        for picture, sample in zip(x_BCHW, changed, strict=True):
            counts.append(len(sample.boxes))
            for left, top, right, bottom in sample.boxes.round().long().tolist():
                within = picture[0, top:bottom, left:right]
                assert float((within > 182).float().mean()) > 0.8, "a box holds what was bright, but for its edges"
    assert max(counts) > 1, "several of the four are seen together"


def test_augmentation_is_a_function_of_seed_epoch_and_index() -> None:
    data = Shapes(train=8, valid=0, test=0, size=64, scale=0.5, flip=True, mosaic=0.5)
    data.prepare()
    split = data.split("train")
    assert split is not None
    whole, some = split.fetch(torch.arange(8), 3, 5), split.fetch(torch.tensor([6, 2]), 3, 5)
    assert torch.equal(whole.inputs[0][[6, 2]], some.inputs[0])
    assert not torch.equal(split.fetch(torch.arange(8), 4, 5).inputs[0], whole.inputs[0])


def test_shapes_are_drawn_as_their_masks_and_boxes_say() -> None:
    for index in range(20):
        sample, masks = drawn(0, index, 64, 5)
        assert len(sample.boxes) == len(masks) == len(sample.labels) <= 5
        for box, mask in zip(sample.boxes.tolist(), masks, strict=True):
            left, top, right, bottom = map(int, box)
            assert bool(mask[top:bottom, left:right].sum() == mask.sum())
        assert int(masks.sum(0).max() if len(masks) else 0) <= 1, "a pixel belongs to the shape above"
    assert {int(label) for index in range(20) for label in drawn(0, index, 64, 5)[0].labels} == set(range(len(NAMES)))


@pytest.mark.parametrize("settings", [{}, {"bins": 8}, {"norm": "group"}, {"backbone": "test_resnet"}])
def test_a_detector_answers_any_size_at_the_middle_of_its_cells(settings: dict[str, object]) -> None:
    model = Detector(lw.Image(3, 72, 104), Boxes(NAMES), width=8, head_width=16, head_depth=1, **settings)  # type: ignore[arg-type]
    given = model.eval()(torch.randn(2, 3, 72, 104))
    Boxes(NAMES).check(given, None)
    strides = given["anchors"][0, :, 2].unique().tolist()
    assert strides == [float(stride) for stride in model.strides]
    cells = sum(-(-72 // int(stride)) * -(-104 // int(stride)) for stride in strides)
    assert given["logits"].shape == (2, cells, 3)
    points, boxes = given["anchors"][..., :2], given["boxes"]
    assert bool(((boxes[..., :2] <= points) & (points <= boxes[..., 2:])).all())
    if "bins" in settings:
        assert given["distances"].shape == (2, cells, 4, 8)
    assert float(given["logits"].detach().sigmoid().mean()) == pytest.approx(0.01, abs=0.01)


def test_in_16_bits_a_distance_is_still_the_mean_of_its_probabilities() -> None:
    torch.manual_seed(0)
    model = Detector(lw.Image(3, 64, 64), Boxes(NAMES), width=8, head_width=16, bins=16).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        given = model(torch.randn(1, 3, 64, 64))
    mean = (given["distances"].double().softmax(-1) * torch.arange(16)).sum(-1) * given["anchors"][..., 2:]
    points = given["anchors"][..., :2]
    sides = torch.cat([points - given["boxes"][..., :2], given["boxes"][..., 2:] - points], dim=-1)
    torch.testing.assert_close(sides.double(), mean, rtol=0, atol=1e-3)


def test_in_16_bits_a_distance_is_rounded_once() -> None:
    torch.manual_seed(0)
    model = Detector(lw.Image(3, 64, 64), Boxes(NAMES), width=8, head_width=16).eval()
    nn.init.normal_(model.box_head.weight)
    raw: list[Tensor] = []

    def kept(_layer: nn.Module, _given: tuple[Tensor, ...], output: Tensor) -> None:
        raw.append(output.flatten(2).mT)

    model.box_head.register_forward_hook(kept)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        given = model(torch.randn(1, 3, 64, 64))
    assert raw[0].dtype == torch.bfloat16
    wanted = functional.softplus(torch.cat(raw, dim=1).double() + 1) * given["anchors"][..., 2:]
    points = given["anchors"][..., :2]
    sides = torch.cat([points - given["boxes"][..., :2], given["boxes"][..., 2:] - points], dim=-1)
    torch.testing.assert_close(sides.double(), wanted, rtol=0, atol=1e-4)


def test_about_800_000_parameters_by_default() -> None:
    model = Detector(lw.Image(3, 64, 64), Boxes(NAMES))
    assert 700_000 < sum(parameter.numel() for parameter in model.parameters()) < 900_000


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"backbone": "resnet1"}, "neither 'residual' nor an architecture of timm"),
        ({"bins": 1}, "one distance is always 0"),
        ({"pretrained": True}, "'residual' has no such weights"),
        ({"backbone": "resnet18", "norm": "group"}, "the backbone 'resnet18' has BatchNorm, as in 'bn1': choose one"),
        (
            {"backbone": "vit_tiny_patch16_224"},
            r"timm can't give features of 'vit_tiny.*' for pictures of 64x64 .*\(224\)",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(lw.LabwrightError, match=told):
        Detector(lw.Image(3, 64, 64), Boxes(NAMES), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "overrides",
    [(), pytest.param(("model.bins=8", "loss.classes=varifocal", "loss.boxes=giou"), marks=pytest.mark.long)],
)
def test_a_batch_is_learned_by_heart(overrides: tuple[str, ...]) -> None:
    built = small(*overrides).build()
    batches = built.task.batches("train", size=8, seed=0, epoch=0, plain=True)
    assert batches is not None
    batch = batches.split.fetch(lw.epoch_order(len(batches.split), seed=0, epoch=0)[:8], 0, 0)
    (optimizer,) = built.optimizers.values()
    built.model.train()
    torch.manual_seed(0)
    steps = 200 if overrides else 100
    for step in range(steps):
        parts = built.task.loss(built.model, batch, built.criterion, "train")
        assert isinstance(parts, dict)
        assert set(parts) == ({"class", "box", "dfl"} if "model.bins=8" in overrides else {"class", "box"})
        torch.autograd.backward(sum(parts.values(), torch.zeros(())))
        optimizer.step(3e-3 * (1 - step / steps))  # at a rate that stays, batch normalisation's averages lag behind
        for parameter in built.model.parameters():
            parameter.grad = None
    built.model.eval()
    metrics = built.task.metrics()
    with torch.no_grad():
        results = built.task.evaluate(built.model, batch)
    for metric in metrics.values():
        metric.update(results)
    assert metrics["map50"].compute() > 0.9
    assert metrics["map"].compute() <= metrics["map50"].compute()


def test_a_run_reports_and_predicts_in_pixels_of_the_picture(tmp_path: Path) -> None:
    run = small().run(folder=tmp_path / "run")
    test, valid = run.metrics["test"], run.metrics["valid"]
    assert {"map", "map50", "ap/circle", "map_95/low", "map50_95/low", "ap50_95/circle/high"} <= test.keys()
    assert test["map50_95/low"] <= test["map50"] <= test["map50_95/high"]
    assert "map50" in valid and not any("_95" in name for name in valid)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Precision and recall" in page and "loss/box" in (tmp_path / "run" / "metrics.jsonl").read_text()
    sample, _ = drawn(2, 0, 64, 5)
    wide = Image.fromarray(sample.pixels.permute(1, 2, 0).numpy()).resize((256, 128))
    wide.save(tmp_path / "wide.png")
    loaded = lw.load(tmp_path / "run")
    task = loaded.task
    task.score = 0.0  # type: ignore[attr-defined]
    given = task.data.read(tmp_path / "wide.png")
    with torch.no_grad():
        (answer,) = task.predict(loaded.model.eval(), given, [given.origin])  # type: ignore[attr-defined]
    boxes = np.array(answer["boxes"]["xyxy"])
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 256 and boxes[:, 3].max() <= 128
    assert boxes[:, 2].max() > 128, "they are in pixels of the picture, not of what the model sees"
    with Image.open(io.BytesIO(answer["picture"].data)) as picture:
        assert picture.size == (256, 128)


def test_the_weight_of_a_batch_is_what_its_loss_is_divided_by() -> None:
    boxes = [torch.zeros(2, 4), torch.zeros(0, 4), torch.zeros(3, 4)]
    labels = [torch.zeros(len(one), dtype=torch.int64) for one in boxes]
    crowd = [torch.zeros(len(one), dtype=torch.bool) for one in boxes]
    crowd[2][1] = True
    assert int(size(padded(boxes, labels, crowd))) == 4 + 3


def test_data_without_boxes_is_refused() -> None:
    with pytest.raises(lw.LabwrightError, match="Boxes"):
        lw.Experiment.from_recipe("vision/shapes-detection", ["task.data=vision/digits"]).build()


@pytest.mark.release
def test_shapes_are_found_after_a_minute() -> None:
    run = lw.Experiment.from_recipe("vision/shapes-detection").run()
    assert run.metrics["test"]["map50"] > 0.9


@pytest.mark.long
def test_an_exported_detector_gives_the_boxes_of_pytorch(tmp_path: Path) -> None:
    from labwright_export import export

    small("model.bins=8", "train.epochs=1").run(folder=tmp_path / "run")
    facts = export(tmp_path / "run", tmp_path / "onnx")
    assert {output["name"] for output in facts["outputs"]} == {"logits", "boxes", "anchors", "distances"}
    boxes = next(output for output in facts["outputs"] if output["name"] == "boxes")
    assert boxes["largest_difference"] < 1e-3  # pixels
