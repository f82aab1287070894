"""What a prediction rests on: the axioms of integrated gradients, and what falls when something is taken out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from labwright import Features, Image, LabwrightError, Tokens
from labwright_tasks.explaining import explained
from torch import Tensor, nn


@pytest.fixture
def linear() -> nn.Linear:
    model = nn.Linear(3, 2, bias=False)
    model.weight.data = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    return model


def test_of_a_linear_model_they_are_weight_times_input(linear):
    x = torch.tensor([[3.0, 1.0, 2.0]])  # logits 2 and 0
    assert torch.allclose(explained(linear, Features((3,)), (x,), "integrated-gradients"), torch.tensor([[3.0, -2, 1]]))


def test_scores_sum_to_what_the_logit_gains_over_the_baseline():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 4))
    x = torch.randn(5, 3, 4, 4)
    scores = explained(model, Image(3, 4, 4), (x,), "integrated-gradients")
    gained = model(x).max(1)
    baseline = model(torch.zeros_like(x)).gather(1, gained.indices[:, None])[:, 0]
    assert torch.allclose(scores.flatten(1).sum(1), gained.values - baseline, atol=1e-2)


def test_what_is_taken_out_is_worth_what_the_probability_falls_by(linear):
    x = torch.tensor([[3.0, 1.0, 2.0]])
    chances = [torch.tensor(logit).sigmoid() for logit in (2.0, -1.0, 4.0, 1.0)]  # whole; without the first, ...
    expected = torch.stack([chances[0] - chance for chance in chances[1:]])[None]
    assert torch.allclose(explained(linear, Features((3,)), (x,), "occlusion"), expected)


def test_of_a_text_the_token_that_decides_has_the_highest_score():
    class Finds(nn.Module):
        def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
            found_B = (ids_BT == 7).any(1).float()
            return torch.stack([1 - found_B, 3 * found_B], dim=1)

    ids = torch.tensor([[4, 7, 5, 0], [7, 4, 0, 0]])
    scores = explained(Finds(), Tokens(9, 4), (ids, torch.tensor([3, 2])), "occlusion")
    assert scores.argmax(1).tolist() == [1, 0]
    assert scores[0, [0, 2, 3]].tolist() == [0, 0, 0]


def test_pictures_are_taken_out_by_patches():
    class Corner(nn.Module):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            corner_B = x_BCHW[:, :, :2, :2].sum((1, 2, 3))
            return torch.stack([corner_B, -corner_B], dim=1)

    scores = explained(Corner(), Image(1, 16, 16), (torch.ones(1, 1, 16, 16),), "occlusion")
    assert (scores[0, 0, :2, :2] > 0).all() and scores[0, 0].count_nonzero() == 4


def test_a_method_that_is_not_there_or_not_for_such_inputs_is_refused(linear):
    with pytest.raises(LabwrightError, match="did you mean 'occlusion'"):
        explained(linear, Features((3,)), (torch.ones(1, 3),), "oclusion")
    model = nn.Embedding(9, 2)
    with pytest.raises(LabwrightError, match="Tokens have no gradients; occlusion is for them"):
        explained(
            lambda ids, lengths: model(ids).sum(1),
            Tokens(9, 4),
            (torch.ones(1, 4, dtype=torch.int64), torch.tensor([4])),
            "integrated-gradients",
        )


def test_predict_adds_a_picture_of_what_the_answer_rests_on(command, tmp_path: Path):
    run = str(tmp_path / "run")
    code, _, err = command("run", "vision/digits-mlp", "train.epochs=1", "model.width=16", "--folder", run)
    assert code == 0, err
    picture = tmp_path / "digit.png"
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8)).save(picture)
    for method in ("integrated-gradients", "occlusion"):
        code, out, err = command("predict", run, str(picture), "--explain", method, "--json")
        assert code == 0, err
        file = json.loads(out)["explanation"]
        with PIL.Image.open(file) as drawn:
            assert drawn.size == (256, 256)
    code, _, err = command("predict", run, str(picture), "--explain", "shap")
    assert code == 2 and "no method is called 'shap'" in err
