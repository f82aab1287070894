"""What a prediction rests on: the axioms of integrated gradients, and what falls when something is taken out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from labwright import Classes, Data, Features, Image, LabwrightError, Tokens
from labwright_tasks.classification import Classification
from labwright_tasks.explaining import check_explanations, explained
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name

pytest.importorskip("captum", reason="explaining is Captum's")


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


def test_scores_of_tokens_sum_to_what_the_logit_gains_over_padding():
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.tokens = nn.Embedding(4, 6), nn.Embedding(9, 6)
            self.layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

        def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
            places_T = torch.arange(ids_BT.shape[1])
            there_BT = (places_T < lengths_B[:, None]).float()
            x_BTD = torch.tanh(self.tokens(ids_BT) + self.places(places_T)) * there_BT[..., None]
            logits: Tensor = self.layers(x_BTD.sum(1) / lengths_B[:, None])
            return logits

    torch.manual_seed(0)
    model, (ids, lengths) = Reads(), (torch.tensor([[4, 7, 5, 0], [7, 4, 0, 0]]), torch.tensor([3, 2]))
    scores = explained(model, Tokens(9, 4), (ids, lengths), "integrated-gradients")
    gained = model(ids, lengths).max(1)
    baseline = model(torch.zeros_like(ids), lengths).gather(1, gained.indices[:, None])[:, 0]
    assert torch.allclose(scores.sum(1), gained.values - baseline, atol=1e-3)
    assert scores[0, 3] == scores[1, 2] == scores[1, 3] == 0  # padding
    assert not any(part._forward_hooks for part in model.modules())


def test_pictures_are_taken_out_by_patches():
    class Corner(nn.Module):
        def forward(self, x_BCHW: Tensor) -> Tensor:
            corner_B = x_BCHW[:, :, :2, :2].sum((1, 2, 3))
            return torch.stack([corner_B, -corner_B], dim=1)

    scores = explained(Corner(), Image(1, 16, 16), (torch.ones(1, 1, 16, 16),), "occlusion")
    assert (scores[0, 0, :2, :2] > 0).all() and scores[0, 0].count_nonzero() == 4


class Convolved(nn.Module):
    """A convolution of two channels, summed by a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.second = nn.Conv2d(2, 2, 3, padding=1, stride=2)
        self.head = nn.Linear(2, 3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.head(self.second(self.first(x_BCHW).relu()).relu().mean((2, 3)))


def test_grad_cam_is_its_closed_form_behind_a_global_average():
    torch.manual_seed(0)
    model, x = Convolved(), torch.randn(4, 1, 8, 8)
    classes = model(x).argmax(1)
    # behind a ReLU and a mean over 16 places a channel's gradient is its weight / 16 where it is above 0 (equation 1)
    activations = model.second(model.first(x).relu())
    gradients = model.head.weight[classes][:, :, None, None] / 16 * (activations > 0)
    weights = gradients.mean((2, 3), keepdim=True)
    map_B1HW = (weights * activations).sum(1, keepdim=True).relu()
    expected = F.interpolate(map_B1HW, (8, 8), mode="bilinear").detach()
    for name in ("grad-cam", "grad-cam:second"):
        torch.testing.assert_close(explained(model, Image(1, 8, 8), (x,), name), expected)
    assert not torch.allclose(explained(model, Image(1, 8, 8), (x,), "grad-cam:first"), expected)
    with pytest.raises(LabwrightError, match="no convolution is called 'secnd'; did you mean 'second'"):
        explained(model, Image(1, 8, 8), (x,), "grad-cam:secnd")
    with pytest.raises(LabwrightError, match="Linear has no convolution"):
        explained(nn.Linear(8, 2), Image(1, 8, 8), (torch.randn(1, 8),), "grad-cam")


def test_grad_cam_looks_at_the_last_convolution_that_knows_of_places():
    class Excited(Convolved):
        """Its channels weighed by squeeze and excitation, whose convolution sees one place."""

        def __init__(self) -> None:
            super().__init__()
            self.excite = nn.Conv2d(2, 2, 1)

        def forward(self, x_BCHW: Tensor) -> Tensor:
            y_BCHW = self.second(self.first(x_BCHW).relu()).relu()
            return self.head((y_BCHW * self.excite(y_BCHW.mean((2, 3), keepdim=True)).sigmoid()).mean((2, 3)))

    torch.manual_seed(0)
    model, x = Excited(), torch.randn(4, 1, 8, 8)
    maps = explained(model, Image(1, 8, 8), (x,), "grad-cam")
    torch.testing.assert_close(maps, explained(model, Image(1, 8, 8), (x,), "grad-cam:second"))
    assert max(len(row.unique()) for row in maps) > 1
    assert not any(part._forward_hooks for part in model.modules())


@pytest.mark.parametrize("method", ["integrated-gradients", "occlusion", "grad-cam"])
def test_explanations_are_others_when_weights_are_randomised(method):
    """The sanity check of Adebayo et al. 2018: what rests on the picture alone would stay as it is."""
    torch.manual_seed(0)
    model = Convolved()
    x = torch.rand(6, 1, 8, 8)
    before = explained(model, Image(1, 8, 8), (x,), method)
    same = explained(model, Image(1, 8, 8), (x,), method)
    torch.testing.assert_close(before, same)
    for layer in (model.head, model.second, model.first):  # from the top down
        layer.reset_parameters()
    after = explained(model, Image(1, 8, 8), (x,), method)
    ranks = [scores.flatten(1).argsort(1).argsort(1).double() for scores in (before, after)]
    centred = [rank - rank.mean(1, keepdim=True) for rank in ranks]
    correlations = (centred[0] * centred[1]).sum(1) / (centred[0].norm(dim=1) * centred[1].norm(dim=1))
    assert correlations.abs().mean() < 0.6  # Spearman's, of which 1 is the same map


def test_a_method_that_is_not_there_or_not_for_such_inputs_is_refused(linear):
    with pytest.raises(LabwrightError, match="did you mean 'occlusion'"):
        explained(linear, Features((3,)), (torch.ones(1, 3),), "oclusion")

    class Counts(nn.Module):
        def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
            return F.one_hot(ids_BT, 9).float().sum(1)

    with pytest.raises(LabwrightError, match="Counts looks its tokens up in no embedding of its own; occlusion is for"):
        explained(
            Counts(),
            Tokens(9, 4),
            (torch.ones(1, 4, dtype=torch.int64), torch.tensor([4])),
            "integrated-gradients",
        )


def test_the_class_that_is_answered_is_explained_where_the_answer_is_a_mean_over_views():
    class Made(Data):
        item, target, source, licence = Image, Classes, "made here", "CC0-1.0"

        def prepare(self) -> None: ...

        def ports(self):
            return Image(1, 1, 2), Classes(("a", "b"))

        def split(self, name):
            return None

    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0, -9.0], [0.0, 0.0]])  # b's logit rests on nothing
    x = torch.tensor([[[[1.0, 0.0]]]])
    for test_time, label, coloured in ((None, "a", True), ("flip", "b", False)):
        task = Classification(Made(), test_time=test_time)
        assert task.predict(model, (x,), [None])[0]["label"] == label
        (answer,) = task.explain(model, (x,), "integrated-gradients")
        with PIL.Image.open(io.BytesIO(answer["explanation"].data)) as drawn:
            pixels = np.asarray(drawn).astype(int)
        assert bool((pixels[..., 0] != pixels[..., 2]).any()) is coloured


def test_predict_adds_a_picture_of_what_the_answer_rests_on(command, tmp_path: Path):
    run = str(tmp_path / "run")
    code, _, err = command("run", "vision/digits", "train.epochs=1", "model.width=4", "--folder", run)
    assert code == 0, err
    picture = tmp_path / "digit.png"
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8)).save(picture)
    for method in ("integrated-gradients", "occlusion", "grad-cam"):
        code, out, err = command("predict", run, str(picture), "--explain", method, "--json")
        assert code == 0, err
        file = json.loads(out)["explanation"]
        with PIL.Image.open(file) as drawn:
            assert drawn.size == (256, 256)
    code, _, err = command("predict", run, str(picture), "--explain", "shap")
    assert code == 2 and "no method is called 'shap'" in err


@pytest.mark.slow
def test_a_report_shows_what_the_worst_mistakes_rest_on(command, tmp_path: Path):
    run = tmp_path / "run"
    settings = ("train.epochs=1", "model.width=4", "task.explanations=grad-cam")
    code, _, err = command("run", "vision/digits", *settings, "--folder", str(run))
    assert code == 0, err
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "What the worst mistakes rest on" in page and "speaks for the class that was given" in page


def test_explanations_that_a_report_cannot_draw_are_refused(command, tmp_path: Path):
    for recipe, method, said in (
        ("vision/digits", "gradcam", "task.explanations: no method is called 'gradcam'; did you mean 'grad-cam'?"),
        ("tabular/wine", "occlusion", "a report shows those of pictures and texts; these are Fields"),
        ("vision/digits-mlp", "grad-cam", "task.explanations: MLP has no convolution, which grad-cam looks at."),
        ("vision/digits", "grad-cam:secnd", "task.explanations: no convolution is called 'secnd'"),
    ):
        code, _, err = command("run", recipe, f"task.explanations={method}", "--folder", str(tmp_path / "run"))
        assert code == 2 and said in " ".join(err.split())
    with pytest.raises(LabwrightError, match=r"task\.explanations: grad-cam is for pictures; these are Tokens"):
        check_explanations("grad-cam", Tokens)
