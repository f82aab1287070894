"""What holds for every network here, and what single ones promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from labwright.errors import LabwrightError
from labwright.ports import Classes, Image
from labwright_vision.models.cnn import CNN
from labwright_vision.models.mlp import MLP
from labwright_vision.models.resnet import ResNet
from labwright_vision.models.timm import Timm
from torch import Tensor, nn
from torch.nn import functional

TEN = Classes(tuple("0123456789"))
Build = Callable[[Image], nn.Module]
BUILDS: list[Build] = [
    lambda inputs: MLP(inputs, TEN, width=32, depth=2, dropout=0.1),
    lambda inputs: CNN(inputs, TEN, width=8, stages=2, depth=2, dropout=0.1),
    lambda inputs: CNN(inputs, TEN, width=8, stages=3, depth=1),
    lambda inputs: CNN(inputs, TEN, width=16, stages=1, depth=1, strided=True),
    lambda inputs: ResNet(inputs, TEN, depth=8, width=8),
    lambda inputs: ResNet(inputs, TEN, depth=14, width=4),
    lambda inputs: Timm(inputs, TEN, architecture="test_resnet", options={"zero_init_last": False}),
    lambda inputs: Timm(inputs, TEN, architecture="test_vit", options={"patch_size": 4}),
]
PICTURES = [Image(1, 8, 8), Image(3, 12, 16)]

IDS = ["mlp", "cnn", "cnn-3", "cnn-strided", "resnet-8", "resnet-14", "timm", "timm-vit"]
every_model = pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, id=name, marks=[pytest.mark.slow] if name.startswith("timm") else [])  # its import alone
        for build, name in zip(BUILDS, IDS, strict=True)
    ],
)
every_picture = pytest.mark.parametrize("inputs", PICTURES, ids=["1x8x8", "3x12x16"])


def built(build: Build, inputs: Image, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(inputs)


def sample(inputs: Image, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    (x_BCHW,) = inputs.example(size, generator)
    (labels,) = TEN.example(size, generator)
    return x_BCHW, labels


@every_picture
@every_model
@pytest.mark.parametrize("size", [1, 3])
def test_each_picture_gets_one_logit_per_class(build: Build, inputs: Image, size: int) -> None:
    model = built(build, inputs).eval()
    assert model(sample(inputs, size)[0]).shape == (size, 10)


@every_picture
@every_model
def test_every_parameter_gets_a_gradient(build: Build, inputs: Image) -> None:
    model = built(build, inputs)
    x, labels = sample(inputs, 8)
    functional.cross_entropy(model(x), labels).backward()
    without = [name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]
    assert without == []


@every_model
def test_the_same_seed_gives_the_same_weights(build: Build) -> None:
    one, same, other = (built(build, PICTURES[1], seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@every_model
def test_in_evaluation_a_picture_is_answered_alone_as_in_a_batch(build: Build) -> None:
    model = built(build, PICTURES[0]).eval()
    x, _ = sample(PICTURES[0], 5)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-5)


@every_model
def test_one_batch_can_be_learned_by_heart(build: Build) -> None:
    model = built(build, PICTURES[0])
    x, labels = sample(PICTURES[0], 16)
    parameters = list(model.parameters())
    averages = [(torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]
    for step in range(1, 151):  # Adam, written out: torch.optim takes seconds to import
        gradients = torch.autograd.grad(functional.cross_entropy(model(x), labels), parameters)
        with torch.no_grad():
            for one, (first, second), gradient in zip(parameters, averages, gradients, strict=True):
                first.lerp_(gradient, 0.1)
                second.lerp_(gradient.square(), 0.001)
                one -= 0.003 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    assert functional.cross_entropy(model.train()(x), labels) < 0.2


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_residual_networks_have_as_many_parameters_as_in_the_paper(depth: int, millions: float) -> None:
    model = ResNet(Image(3, 32, 32), TEN, depth=depth)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05 if depth == 110 else 0.005)  # He et al. 2016, table 6


def test_a_depth_the_residual_network_cannot_have_is_answered_with_the_nearest() -> None:
    with pytest.raises(LabwrightError, match=r"6n \+ 2 layers, such as 14 or 20, given 18"):
        ResNet(Image(3, 32, 32), TEN, depth=18)


def test_a_new_residual_block_that_adds_nothing_leaves_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ResNet(Image(3, 8, 8), TEN, depth=8, width=4).eval()
    for block in model.blocks:
        nn.init.zeros_(block.second_norm.weight)
    x, _ = sample(Image(4, 8, 8), 2)
    x = x.relu()
    half = x[:, :, ::2, ::2]
    same, halved = model.blocks[0](x), model.blocks[1](x)
    assert torch.equal(same, x)
    assert torch.equal(halved, torch.cat([half, torch.zeros_like(half)], dim=1))  # the paper's option A


def test_a_picture_too_small_for_the_stages_is_refused_with_the_largest_number() -> None:
    with pytest.raises(LabwrightError, match="8x8 can be halved 3 times at most, given 4"):
        CNN(Image(1, 8, 8), TEN, stages=4)
    with pytest.raises(LabwrightError, match="halved 2 times at most after the strided convolution, given 3"):
        CNN(Image(1, 8, 8), TEN, stages=3, strided=True)


@pytest.mark.slow
def test_a_misspelt_architecture_is_answered_with_the_nearest() -> None:
    with pytest.raises(LabwrightError, match=r"has no 'resnet81'; did you mean 'resnet\d+'\?"):
        Timm(Image(3, 32, 32), TEN, architecture="resnet81")


@pytest.mark.slow
def test_what_timm_cannot_build_is_answered_with_its_own_words() -> None:
    with pytest.raises(LabwrightError, match=r"timm can't build 'test_resnet'.*no_such_option"):
        Timm(Image(3, 32, 32), TEN, architecture="test_resnet", options={"no_such_option": 1})
