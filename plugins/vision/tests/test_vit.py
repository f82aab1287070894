"""The vision transformer and the masked autoencoder: what they are by definition, and one beginning the other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import Batch, Classes, Image, LabwrightError
from labwright_testing.verify_resume import verify_resume
from labwright_vision.data.digits import Digits
from labwright_vision.masked_autoencoding import Masked, MaskedPictures, Patches, cut, normalised, pasted
from labwright_vision.models.vit import MaskedAutoencoder, ViT, positions
from torch import Tensor, nn

TEN = Classes(tuple("0123456789"))


def test_its_parameters_are_as_many_as_the_paper_s_without_class_token_and_positions() -> None:
    model = ViT(Image(3, 224, 224), Classes(tuple(map(str, range(1000)))), patch=16, width=768, depth=12, heads=12)
    of_paper = 86_567_656  # ViT-B/16 as in torchvision and timm
    assert sum(weight.numel() for weight in model.parameters()) == of_paper - 768 - 197 * 768


def test_positions_are_sines_of_row_and_column() -> None:
    places_TD = positions(3, 5, 8)
    row, column = 2, 4
    rates = (1.0, 10_000**-0.5)
    waves = [[wave(place * rate) for wave in (math.sin, math.cos) for rate in rates] for place in (row, column)]
    torch.testing.assert_close(places_TD[row * 5 + column], torch.tensor(waves[0] + waves[1]))


def test_patches_that_are_not_seen_change_nothing() -> None:
    torch.manual_seed(0)
    model, x = MaskedAutoencoder(Image(1, 8, 8), Patches(2), width=16, depth=2, heads=2), torch.randn(3, 1, 8, 8)
    seen_BK = torch.tensor([[0, 5, 9, 15]] * 3)
    first = model(x, seen_BK)
    assert first.shape == (3, 16, 4)
    patches = cut(x, 2)
    hidden = [place for place in range(16) if place not in (0, 5, 9, 15)]
    patches[:, hidden] = 7.0
    torch.testing.assert_close(model(pasted(patches, x, 2), seen_BK), first)
    patches[:, 5] = 7.0
    assert not torch.allclose(model(pasted(patches, x, 2), seen_BK), first, atol=1e-3)


def test_patches_are_cut_row_by_row_and_pasted_again() -> None:
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    patches_BTP = cut(x, 2)
    assert patches_BTP.shape == (2, 6, 12)
    assert torch.equal(patches_BTP[1, 4], x[1, :, 2:4, 2:4].flatten())
    assert torch.equal(pasted(patches_BTP, x, 2), x)


class Guess(nn.Module):
    """Fills in the mean of each patch."""

    def forward(self, x_BCHW: Tensor, seen_BK: Tensor) -> Tensor:
        return torch.zeros_like(cut(x_BCHW, 2))


def test_the_error_of_a_patch_s_mean_is_one_and_masks_are_a_function_of_the_sample() -> None:
    task = MaskedPictures(Digits(), patch=2, masked=0.75)
    task.prepare()
    part = task.part("train")
    assert isinstance(part, Masked)
    whole = part.fetch(torch.arange(20), 3, 1)
    some = part.fetch(torch.tensor([7, 2]), 3, 1)
    for one, all_of_them in ((some.inputs[1], whole.inputs[1]), (some.targets, whole.targets)):
        assert torch.equal(one, all_of_them[[7, 2]])
    assert whole.inputs[1].shape == (20, 4) and whole.targets.shape == (20, 12)
    both = torch.cat([whole.inputs[1], whole.targets], 1).sort(1).values
    assert torch.equal(both, torch.arange(16).expand(20, -1))
    assert not torch.equal(part.fetch(torch.arange(20), 4, 1).targets, whole.targets)
    noise = Batch((torch.randn(20, 1, 8, 8), whole.inputs[1]), whole.targets)
    filled, true = task.evaluate(Guess(), noise)
    assert (filled - true).square().mean().item() == pytest.approx(1, abs=1e-4)  # a deviation of 1, by definition
    torch.testing.assert_close(normalised(cut(noise.inputs[0], 2)).mean(2), torch.zeros(20, 16), atol=1e-5, rtol=0)


def test_pictures_that_cannot_be_cut_are_refused() -> None:
    with pytest.raises(LabwrightError, match=r"8x8 can't be cut into patches of 3x3, but of 8"):
        ViT(Image(1, 8, 8), TEN, patch=3)
    with pytest.raises(LabwrightError, match=r"model\.heads: 3 heads don't divide a width of 64"):
        ViT(Image(1, 8, 8), TEN, patch=2, width=64, heads=3)
    one = MaskedPictures(Digits(), patch=1)
    one.prepare()
    with pytest.raises(LabwrightError, match=r"task\.patch: 1 of grey pictures is one number, .* Take 2 or more"):
        one.part("train")
    task = MaskedPictures(Digits(), patch=8)
    task.prepare()
    with pytest.raises(LabwrightError, match=r"task\.masked: 0\.75 of 1 patches leaves 0 to see"):
        task.part("train")


def short(**changes: Any) -> lw.Experiment:
    few: dict[str, Any] = {"log": [], "train.epochs": 2, "model.width": 32, "model.depth": 2}
    return lw.Experiment.from_recipe("vision/digits-mae").varied(few | changes)


def test_it_resumes_exactly() -> None:
    assert verify_resume(short(**{"train.epochs": 1}), 3).exact


def test_what_it_learned_begins_a_classifier(tmp_path: Path) -> None:
    learned = short().run(tmp_path / "mae")
    assert learned.metrics["valid"]["masked_error"] < 0.9  # 1 is each patch's mean
    (shown,) = learned.task.report(learned.model, "test", torch.device("cpu"))
    assert isinstance(shown, lw.Pictures) and shown.images[0].shape == (1, 8, 24)  # seen, filled in, the whole
    x = learned.task.data.split("test").fetch(torch.tensor([0]), 0, 0).inputs[0]
    (answer,) = learned.task.predict(learned.model, (x,), [None])
    assert len(answer["embedding"]) == 32
    run = lw.Experiment(
        task={"name": "classification", "data": "vision/digits"},
        model={"name": "vision/vit", "patch": 2, "width": 32, "depth": 2},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 1e-3, "groups": {"encoder.*": {"frozen": True}}},
        start={"run": str(tmp_path / "mae"), "take": {"encoder.*": "encoder.*"}},
        train={"steps": 2, "batch_size": 16},
        log=(),
    ).run(tmp_path / "vit")
    then = learned.model.encoder.state_dict()
    assert all(torch.equal(weight, then[name]) for name, weight in run.model.encoder.state_dict().items())
