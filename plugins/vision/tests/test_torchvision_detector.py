"""torchvision's detectors as a model of the plugin: each against torchvision itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright_testing.verify_resume import verify_resume
from labwright_vision.detection.losses import OwnLosses, TorchvisionLosses
from labwright_vision.detection.ports import Boxes, Instances, padded
from labwright_vision.models.torchvision_detectors import TorchvisionDetector
from torch import Tensor, nn
from torchvision.models import detection

NAMES = ("cat", "dog")
BOTH = ("faster-rcnn", "mask-rcnn", "retinanet")
TINY: dict[str, Any] = {"backbone": "residual", "width": 32, "regions": 16}
FEW = ("task.data.train=24", "task.data.valid=8", "task.data.test=8", "task.data.size=64", "train.epochs=1")


def made(architecture: str, size: tuple[int, int] = (64, 64), **settings: Any) -> TorchvisionDetector:
    outputs = Instances(NAMES) if architecture == "mask-rcnn" else Boxes(NAMES)
    torch.manual_seed(0)
    return TorchvisionDetector(lw.Image(3, *size), outputs, architecture=architecture, **settings)  # type: ignore[arg-type]


def targets() -> dict[str, Tensor]:
    """Two boxes, one of them a crowd, in the first picture; one in the second."""
    boxes = [torch.tensor([[4.0, 6.0, 30.0, 40.0], [30.0, 2.0, 60.0, 20.0]]), torch.tensor([[10.0, 10.0, 50.0, 30.0]])]
    masks = [torch.zeros(len(some), 64, 64, dtype=torch.bool) for some in boxes]
    masks[0][0, 6:40, 4:30] = masks[1][0, 10:30, 10:50] = True
    return padded(
        boxes, [torch.tensor([0, 1]), torch.tensor([1])], [torch.tensor([False, True]), torch.tensor([False])], masks
    )


@pytest.mark.parametrize(
    ("architecture", "theirs"),
    [
        ("faster-rcnn", detection.fasterrcnn_resnet50_fpn),
        ("mask-rcnn", detection.maskrcnn_resnet50_fpn),
        ("retinanet", detection.retinanet_resnet50_fpn),
    ],
)
def test_with_resnet50_it_is_torchvisions_by_names_and_shapes(architecture: str, theirs: Any) -> None:
    with torch.device("meta"):
        ours = TorchvisionDetector(
            lw.Image(3, 64, 64),
            Instances(NAMES),
            architecture=architecture,
            backbone="resnet50",
            width=256,
            norm="batch",  # type: ignore[arg-type]
        )
        classes = len(NAMES) + (architecture != "retinanet")  # it has no class for what is nothing
        other = theirs(weights=None, weights_backbone=None, num_classes=classes)
    shapes = {name: tensor.shape for name, tensor in ours.network.state_dict().items()}
    wanted = {name: tensor.shape for name, tensor in other.state_dict().items()}
    assert shapes == wanted


@pytest.mark.parametrize("architecture", BOTH)
def test_its_losses_are_those_of_torchvisions_own_call(architecture: str) -> None:
    model, x_BCHW, true = made(architecture, **TINY).train(), torch.randn(2, 3, 64, 64), targets()
    first = 0 if architecture == "retinanet" else 1
    rows = [
        {"boxes": true["boxes"][0, :1], "labels": true["labels"][0, :1] + first, "masks": true["masks"][0, :1]},
        {"boxes": true["boxes"][1, :1], "labels": true["labels"][1, :1] + first, "masks": true["masks"][1, :1]},
    ]
    torch.manual_seed(7)
    ours = model.losses(x_BCHW, true)
    network = model.network
    network.transform = unchanged()
    torch.manual_seed(7)
    theirs = network(list(x_BCHW), rows)
    assert {name.removeprefix("loss_") for name in theirs} == ours.keys()
    for name, loss in theirs.items():
        torch.testing.assert_close(ours[name.removeprefix("loss_")], loss, rtol=0, atol=0)


@pytest.mark.parametrize("architecture", ["faster-rcnn", "mask-rcnn"])
def test_what_it_finds_is_what_torchvision_finds(architecture: str) -> None:
    model = made(architecture, (40, 72), **TINY).eval()
    for predictor in (model.network.roi_heads.box_predictor.cls_score, model.network.roi_heads.box_predictor.bbox_pred):
        nn.init.normal_(predictor.weight, std=0.5)
    x_BCHW = torch.randn(3, 3, 40, 72)
    with torch.no_grad():
        ours = model(x_BCHW)
        model.network.transform = unchanged().eval()
        theirs = model.network(list(x_BCHW))
    assert max(len(row["boxes"]) for row in theirs) == ours["boxes"].shape[1] > 3
    for row, one in enumerate(theirs):
        count = len(one["boxes"])
        assert torch.equal(ours["boxes"][row, :count], one["boxes"])
        assert torch.equal(ours["labels"][row, :count], one["labels"] - 1)
        assert bool((ours["labels"][row, count:] == lw.LEFT_OUT).all())
        if architecture == "mask-rcnn":
            assert ours["masks"].shape[2:] == (40, 72)
            assert torch.equal(ours["masks"][row, :count], one["masks"][:, 0] >= 0.5)


@pytest.mark.parametrize("size", [(64, 96), (40, 72), (66, 64)])
def test_regions_are_looked_at_where_they_lie_whatever_a_picture_is_filled_up_to(size: tuple[int, int]) -> None:
    # the strides of He et al.'s stages; torchvision guesses them from a height before it is filled up, 40 as 64
    model = made("mask-rcnn", size, **TINY).eval()
    with torch.no_grad():
        model(torch.randn(1, 3, *size))
    assert model.network.roi_heads.box_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


@pytest.mark.parametrize("architecture", ["faster-rcnn", "retinanet"])
def test_in_16_bits_boxes_are_no_rounder_than_in_32(architecture: str) -> None:
    # bfloat16 knows 8 digits: at 600 pixels the next is 4 further
    model, x_BCHW = made(architecture, (32, 608), **TINY).eval(), torch.randn(1, 3, 32, 608)
    with torch.no_grad():
        exact = model(x_BCHW)
        with torch.autocast("cpu", torch.bfloat16):
            given = model(x_BCHW)
    assert given["boxes"].dtype == torch.float32
    if architecture == "retinanet":
        assert torch.equal(given["anchors"], exact["anchors"])
    inner = given["boxes"][(given["boxes"] > 256) & (given["boxes"] < 608)]
    assert bool((inner.bfloat16().float() != inner).any())


def test_what_retinanet_finds_is_what_torchvision_finds() -> None:
    model = made("retinanet", (40, 72), **TINY).eval()
    nn.init.normal_(model.network.head.classification_head.cls_logits.weight, std=0.1)
    task = (
        lw.Experiment.from_recipe(
            "vision/shapes-detection",
            ["task.overlap=0.5", "task.data.train=1", "task.data.valid=0", "task.data.test=0"],
        )
        .build()
        .task
    )
    x_BCHW = torch.randn(2, 3, 40, 72)
    task.data.ports = lambda: (lw.Image(3, 40, 72), Boxes(NAMES))  # type: ignore[method-assign]
    with torch.no_grad():
        found = task.detections(model, (x_BCHW,), 0.2)  # type: ignore[attr-defined]
        model.network.transform = unchanged().eval()
        model.network.score_thresh, model.network.detections_per_img = 0.2, 100
        theirs = model.network(list(x_BCHW))
    for row, one in enumerate(theirs):
        count = len(one["boxes"])
        assert count > 3 and int((found["labels"][row] != lw.LEFT_OUT).sum()) == count
        torch.testing.assert_close(found["boxes"][row, :count], one["boxes"])
        torch.testing.assert_close(found["scores"][row, :count], one["scores"])


def unchanged() -> nn.Module:
    """torchvision's own preparation of pictures, which leaves these as they are."""
    transform = detection.transform.GeneralizedRCNNTransform(1, 1, [0.0] * 3, [1.0] * 3, _skip_resize=True)
    transform.resize = lambda image, target=None: (image, target)  # type: ignore[method-assign]
    return transform


def test_a_norm_stands_where_it_says() -> None:
    def kinds(norm: str) -> set[str]:
        model = made("faster-rcnn", backbone="resnet18", width=32, norm=norm)
        return {name for one in model.modules() if "Norm" in (name := type(one).__name__) and not [*one.children()]}

    assert kinds("group") == {"GroupNorm"}
    assert kinds("batch") == {"BatchNorm2d"}
    assert kinds("frozen") == {"FrozenBatchNorm2d"}


def test_stages_that_are_not_trained_stand_still() -> None:
    model = made("faster-rcnn", backbone="resnet18", width=32, trainable_layers=2)
    still = {name.split(".")[3] for name, one in model.named_parameters() if not one.requires_grad}
    assert still == {"conv1", "bn1", "layer1", "layer2"}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"architecture": "mask-rcnn"}, "task.data.masks=true"),
        ({"backbone": "resnet19"}, "did you mean 'resnet18'"),
        ({"backbone": "residual", "pretrained": True}, "'residual' has no weights"),
        ({"backbone": "residual", "trainable_layers": 3}, "'residual' has no weights"),
        ({"backbone": "residual", "norm": "frozen"}, "nothing that could be frozen"),
        ({"pretrained": True, "norm": "group"}, "with GroupNorm there are no such weights"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(lw.LabwrightError, match=told):
        TorchvisionDetector(lw.Image(3, 64, 64), Boxes(NAMES), **{"architecture": "faster-rcnn"} | settings)


def test_pictures_of_one_channel_are_taken() -> None:
    model = TorchvisionDetector(lw.Image(1, 64, 64), Boxes(NAMES), architecture="retinanet", width=32)
    assert model.eval()(torch.randn(1, 1, 64, 64))["logits"].shape[2] == 2


def test_a_loss_and_a_model_that_do_not_go_together_are_refused() -> None:
    def first_loss(*overrides: str) -> object:
        built = lw.Experiment.from_recipe("vision/shapes-instances", [*FEW, *overrides]).build()
        assert isinstance(built.model, OwnLosses) == ("model=vision/detector" not in overrides)
        batches = built.task.batches("train", size=2, seed=0, epoch=0)
        assert batches is not None
        return built.task.loss(built.model, next(iter(batches)), built.criterion, "train")

    with pytest.raises(lw.LabwrightError, match="choose loss 'vision/torchvision-losses'"):
        first_loss("loss=vision/detection")
    with pytest.raises(lw.LabwrightError, match="'vision/detection' goes with it"):
        first_loss("model=vision/detector", "task.data.masks=false", "task.goal=map50")
    with pytest.raises(lw.LabwrightError, match=r"task\.data\.masks=false leaves them out"):
        first_loss("model=vision/detector")
    with pytest.raises(lw.LabwrightError, match=r"no loss 'masks'; did you mean 'mask'"):
        first_loss("loss.weights={masks=2.0}")


def test_a_weight_is_a_factor_of_its_part() -> None:
    given = {"mask": torch.tensor(2.0), "classifier": torch.tensor(3.0)}
    assert TorchvisionLosses(weights={"mask": 0.5})(given, {}) == {"mask": 1.0, "classifier": 3.0}


def test_a_batch_of_it_is_not_cut() -> None:
    with pytest.raises(lw.LabwrightError, match="accumulate"):
        lw.Experiment.from_recipe("vision/shapes-instances", [*FEW, "device.accumulate=2"]).build()


@pytest.mark.long
@pytest.mark.parametrize("architecture", BOTH)
def test_a_resumed_run_is_the_uninterrupted_one(architecture: str) -> None:
    masks = () if architecture == "mask-rcnn" else ("task.data.masks=false", "task.goal=map50")
    overrides = (*FEW, *masks, f"model.architecture={architecture}", "model.width=16")
    assert verify_resume(lw.Experiment.from_recipe("vision/shapes-instances", overrides), 2).exact


@pytest.mark.long
def test_retinanet_is_exported_and_the_others_are_refused_with_the_reason(tmp_path: Path) -> None:
    from labwright_export import export

    boxes = (*FEW, "task.data.masks=false", "task.goal=map50", "model.width=16")
    lw.Experiment.from_recipe("vision/shapes-instances", [*boxes, "model.architecture=retinanet"]).run(tmp_path / "r")
    facts = export(tmp_path / "r", tmp_path / "onnx")
    assert {output["name"] for output in facts["outputs"]} == {"logits", "boxes", "anchors"}
    assert facts["largest_difference"] < 1e-3  # pixels
    lw.Experiment.from_recipe("vision/shapes-instances", [*boxes, "model.architecture=faster-rcnn"]).run(tmp_path / "f")
    with pytest.raises(lw.LabwrightError, match="as many regions as each picture has; 'retinanet' can be exported"):
        export(tmp_path / "f", tmp_path / "no")
