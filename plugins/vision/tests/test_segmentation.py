"""Segmentation as a whole: networks, shapes drawn at run time, runs, predictions, files for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import LEFT_OUT, Image, LabwrightError
from labwright_tasks.dense_labels import PositionClasses, Shown
from labwright_testing.verify_resume import verify_resume
from labwright_vision.data.augment import Affine
from labwright_vision.data.shapes_masks import ShapesMasks
from labwright_vision.models.unet import UNet
from PIL import Image as Picture
from torch import nn
from torch.nn import functional

Command = Callable[..., tuple[int, str, str]]
SMALL = ["task.data.height=24", "task.data.width=32", "task.data.samples=16", "model.width=8", "model.depth=2"]


def small_unet(**settings: object) -> UNet:
    torch.manual_seed(0)
    given = {"width": 8, "depth": 2} | settings
    return UNet(Image(3, 24, 32), PositionClasses(tuple("abcd"), (24, 32)), **given)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("settings", [{}, {"norm": "group"}, {"stem": 2}, {"depth": 4}, {"dropout": 0.2}])
@pytest.mark.parametrize("size", [(24, 32), (17, 31)])
def test_each_pixel_gets_one_logit_for_each_class_and_each_picture_its_own(
    settings: dict[str, object], size: tuple[int, int]
) -> None:
    model = small_unet(**settings).eval()
    x_BCHW = torch.randn(3, 3, *size)
    logits = model(x_BCHW)
    assert logits.shape == (3, *size, 4)
    torch.testing.assert_close(model(x_BCHW[1:2])[0], logits[1], rtol=1e-4, atol=1e-5)


def test_what_a_stage_left_out_is_joined_again() -> None:
    """A pixel's change reaches its own logit by the first stage alone, whatever is below it."""
    model = small_unet(norm="group").eval()
    for stage in model.down[1:]:
        for parameter in stage.parameters():
            nn.init.zeros_(parameter)
    x_BCHW = torch.zeros(1, 3, 24, 32)
    changed = x_BCHW.clone()
    changed[..., 10, 10] = 5.0
    assert not torch.allclose(model(changed)[0, 10, 10], model(x_BCHW)[0, 10, 10])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "smaller"), [("test_resnet", 16), ("test_convnext", 16), ("test_efficientnet", 16)]
)
def test_deeplab_goes_on_any_backbone_of_timm(backbone: str, smaller: int) -> None:
    from labwright_vision.models.deeplab import DeepLab

    model = DeepLab(Image(3, 48, 64), PositionClasses(tuple("abcd"), (48, 64)), backbone=backbone, width=16).eval()
    assert model(torch.randn(2, 3, 48, 64)).shape == (2, 48, 64, 4)
    assert model.backbone.feature_info.reduction()[-1] == 16


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "resnet81"}, "timm .* has no 'resnet81'; did you mean 'resnet18"),
        ({"backbone": "test_vit"}, "model.backbone: timm can't give features of 'test_vit'|none finer for the decoder"),
        ({"backbone": "test_resnet", "options": {"pretrained_cfg": {}}}, "pickled weights"),
    ],
)
def test_a_backbone_that_will_not_do_is_told(settings: dict[str, object], words: str) -> None:
    from labwright_vision.models.deeplab import DeepLab

    with pytest.raises(LabwrightError, match=words):
        DeepLab(Image(3, 48, 64), PositionClasses(tuple("abcd"), (48, 64)), **settings)  # type: ignore[arg-type]


def test_a_network_learns_one_batch_by_heart() -> None:
    data = ShapesMasks(height=16, width=24, samples=8)
    data.prepare()
    batch = data.split("train").fetch(torch.arange(4), 0, 0)  # type: ignore[union-attr]
    model = small_unet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        loss = functional.cross_entropy(model(*batch.inputs).movedim(-1, 1), batch.targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    right = (model.eval()(*batch.inputs).argmax(-1) == batch.targets).float().mean()
    assert right > 0.98, float(right)


# -------------------------------------------------------------------------------------------------------------- data


def test_what_is_cut_off_a_wide_picture_is_unseen_in_the_answer(tmp_path: Path) -> None:
    """A picture of another aspect is cut around its middle: columns 20 to 100 of 120 are all that a model sees."""
    Picture.fromarray(np.arange(120, dtype=np.uint8)[None].repeat(60, 0)).save(tmp_path / "wide.png")
    read = ShapesMasks(height=48, width=64).read(tmp_path / "wide.png")
    columns = (read[0][0, 0, 0] * 0.25 + 0.5) * 255  # as grey as their places are far right
    assert float(columns[0]) == pytest.approx(20, abs=1) and float(columns[-1]) == pytest.approx(99, abs=1)
    assert read.origin == Shown(60, 120, (0.0, 20.0, 60.0, 80.0))


def test_shapes_are_the_same_each_time_other_in_each_part_and_as_large_as_labelled() -> None:
    first, again = ShapesMasks(samples=8), ShapesMasks(samples=8)
    for data in (first, again):
        data.prepare()
    assert [*first.identity("train")] == [*again.identity("train")] != [*first.identity("test")]
    batch = first.split("train").fetch(torch.arange(8), 0, 0)  # type: ignore[union-attr]
    assert set(batch.targets.unique().tolist()) == {0, 1, 2, 3} and len(first.split("valid") or ()) == 2
    # a shape is of one colour but for noise: values vary far less within a label's pixels than in the ground
    disc, ground = (batch.inputs[0].movedim(1, -1)[batch.targets == label] for label in (1, 0))
    assert len(disc) > 50 and len(ground) > 1000


@pytest.mark.parametrize("settings", [{"flip": True}, {"scale": 0.2}, {"crop": 0.5}, {"rotate": 20.0}, {"shift": 0.1}])
def test_a_mask_follows_its_picture_and_samples_are_the_same_in_any_batch(settings: dict[str, float]) -> None:
    labels = torch.zeros(3, 40, 60, dtype=torch.int64)
    labels[:, 8:24, 10:40] = 1
    pictures = labels[:, None].float()
    affine = Affine(3, **settings)  # type: ignore[arg-type]
    indices = torch.arange(3)
    shown, masks = affine.with_labels(pictures, labels, indices, 2, 5)
    assert torch.equal(shown, affine(pictures, indices, 2, 5))
    counted = masks != LEFT_OUT
    sure = counted & ((shown[:, 0] < 0.01) | (shown[:, 0] > 0.99))
    assert torch.equal(shown[:, 0][sure] > 0.5, masks[sure] == 1) and sure.float().mean() > 0.6
    assert bool(counted.all()) == (not settings.keys() & {"rotate", "shift"} and settings.get("scale") is None)
    alone = affine.with_labels(pictures[2:], labels[2:], torch.tensor([2]), 2, 5)
    torch.testing.assert_close(alone[0][0], shown[2], rtol=1e-5, atol=1e-5)
    assert torch.equal(alone[1][0], masks[2])
    assert not torch.equal(affine.with_labels(pictures, labels, indices, 3, 5)[1], masks)


# -------------------------------------------------------------------------------------------------------------- runs


def test_a_resumed_run_is_the_uninterrupted_one() -> None:
    experiment = lw.Experiment.from_recipe(
        "vision/shapes-segmentation", [*SMALL, "train.epochs=4", "train.batch_size=4"]
    )
    assert verify_resume(experiment, 6).exact


def test_both_parts_of_the_loss_and_each_class_are_logged(tmp_path: Path) -> None:
    chosen = 'task.metrics=["mean-iou", "dice", "boundary-f1"]'
    overrides = [*SMALL, "train.epochs=1", "train.batch_size=4", "train.log_every=1", chosen, "task.goal=mean-iou"]
    run = lw.Experiment.from_recipe("vision/shapes-segmentation", overrides).run(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss/ce", "loss/dice"} <= lines[0].keys()
    assert {"mean-iou", "dice/macro", "dice/class/ground", "boundary-f1/macro"} <= run.metrics["test"].keys()


@pytest.mark.release
def test_the_recipe_is_far_above_its_floor(tmp_path: Path) -> None:
    run = lw.Experiment.from_recipe("vision/shapes-segmentation").run(tmp_path / "run")
    floor = run.task.floors("test")["most frequent class"]["mean_iou"]
    assert floor < 0.25 and run.metrics["test"]["mean_iou"] > 0.55, (floor, run.metrics["test"])


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short run on pictures of 30x40 pixels in files, shown to the model within 24x24."""
    monkeypatch.chdir(tmp_path)
    data = ShapesMasks(height=30, width=40, samples=24)
    data.prepare()
    batch = data.split("train").source(torch.arange(24))  # type: ignore[union-attr]
    for side in ("images", "masks"):
        (tmp_path / "own" / side).mkdir(parents=True)
    for number, (pixels, labels) in enumerate(zip(*batch, strict=True)):
        Picture.fromarray(pixels.permute(1, 2, 0).numpy()).save(
            tmp_path / "own" / "images" / f"{number}.jpg", quality=95
        )
        Picture.fromarray(labels.to(torch.uint8).numpy()).save(tmp_path / "own" / "masks" / f"{number}.png")
    overrides = ["task.data.folder=own", "task.data.height=24", "task.data.width=24", "model.width=8", "model.depth=2"]
    lw.Experiment.from_recipe("vision/segmentation-folder", [*overrides, "train.epochs=4"]).run(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.long
def test_a_picture_is_answered_in_its_own_size_with_or_without_the_training_pictures(
    trained: Path, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "own").rename(tmp_path / "moved")
    code, out, err = command("predict", "run", "moved/images/3.jpg", "--json")
    assert code == 0, err
    answer = json.loads(out)
    labels = np.asarray(Picture.open(answer["labels"]))
    assert labels.shape == (30, 40) and labels.max() < 4 and sum(answer["shares"].values()) == pytest.approx(1)
    code, out, err = command("evaluate", "run", "--on", "moved", "--json")
    assert code == 0 and "mean_iou" in json.loads(out)["metrics"], err


@pytest.mark.long
def test_check_data_looks_at_pictures_with_masks(trained: Path, command: Command) -> None:
    Picture.new("L", (40, 30), 255).save("own/masks/5.png")
    code, out, err = command("check-data", "run/recipe.toml")
    assert code in (0, 1) and "1 masks have no pixel that counts." in out + err, err


@pytest.mark.long
def test_other_programs_answer_as_pytorch_does(trained: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    labwright_export = pytest.importorskip("labwright_export")
    facts = labwright_export.export(trained, tmp_path / "exported")
    model = lw.load(trained).model.eval()
    x_BCHW = torch.randn(3, 3, 24, 24)
    session = runtime.InferenceSession(tmp_path / "exported" / "model.onnx")
    (theirs,) = session.run(None, {facts["inputs"][0]["name"]: x_BCHW.numpy()})
    torch.testing.assert_close(torch.from_numpy(theirs), model(x_BCHW).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_a_study_searches_it(tmp_path: Path) -> None:
    experiment = lw.Experiment.from_recipe("vision/shapes-segmentation", [*SMALL, "train.epochs=1"])
    search = {"only": ["model.width", "optimizer.lr"]}
    findings = lw.Study(experiment, 3, folder=tmp_path / "study", search=search, quiet=True).run()
    assert (findings.trials, findings.failed) == (3, 0)
