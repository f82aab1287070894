"""What holds for every network here, and what single ones promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from labwright import Classes, Image, LabwrightError
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
    lambda inputs: CNN(inputs, TEN, width=6, stages=2, depth=1, norm="group"),
    lambda inputs: ResNet(inputs, TEN, depth=8, width=8),
    lambda inputs: ResNet(inputs, TEN, depth=14, width=4),
    lambda inputs: Timm(inputs, TEN, architecture="test_resnet", options={"zero_init_last": False}),
    lambda inputs: Timm(inputs, TEN, architecture="test_vit", options={"patch_size": 4}),
]
PICTURES = [Image(1, 8, 8), Image(3, 12, 16)]

IDS = ["mlp", "cnn", "cnn-3", "cnn-strided", "cnn-group", "resnet-8", "resnet-14", "timm", "timm-vit"]
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


def kept_on_this_machine(cache: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Weights of timm's test_resnet in a local cache of the hub, as the hub's own library lays it out."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(5)
    weights = {name: one.contiguous() for name, one in timm.create_model("test_resnet").state_dict().items()}
    folder = cache / "models--timm--test_resnet.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(change(weights), folder / "snapshots" / ("0" * 40) / "model.safetensors")
    return weights


def pretrained(cache: Path, channels: int = 3) -> Timm:
    return Timm(
        Image(channels, 32, 32), TEN, architecture="test_resnet", pretrained=True, options={"cache_dir": str(cache)}
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_pretrained_weights_are_all_in_their_places_but_for_the_last_layer(tmp_path: Path) -> None:
    weights = kept_on_this_machine(tmp_path, lambda whole: whole)
    network = pretrained(tmp_path).network.state_dict()
    assert [name for name, one in network.items() if not torch.equal(one, weights[name])] == ["fc.weight", "fc.bias"]
    assert network["fc.weight"].shape[0] == 10
    grey = pretrained(tmp_path, channels=1).network.state_dict()
    first = weights["conv1.0.weight"].sum(1, keepdim=True)  # of a grey picture all three channels are the same
    torch.testing.assert_close(grey["conv1.0.weight"], first)


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "change",
    [
        lambda whole: {f"module.{name}": one for name, one in whole.items()},
        lambda whole: {name: one for name, one in whole.items() if not name.startswith("layer3")},
        lambda whole: {name: one for name, one in whole.items() if name == "fc.weight"},
        lambda whole: whole | {"another.weight": torch.zeros(1)},
        lambda whole: whole | {"layer1.0.conv1.weight": torch.zeros(3, 3)},
    ],
    ids=["a-prefix", "a-layer-missing", "the-head-alone", "one-too-many", "another-shape"],
)
def test_pretrained_weights_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    kept_on_this_machine(tmp_path, change)
    with pytest.raises(LabwrightError, match=r"timm can't build 'test_resnet'.*Error.* in loading state_dict"):
        pretrained(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_pretrained_weights_that_are_nowhere_are_one_message(tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match=r"timm can't build 'test_resnet'.*(offline|cache|connection)"):
        pretrained(tmp_path)


@pytest.mark.slow
def test_weights_that_exist_as_pickles_alone_are_refused() -> None:
    with pytest.raises(LabwrightError, match="no weights of 'gcvit_base' as safetensors"):
        Timm(Image(3, 32, 32), TEN, architecture="gcvit_base", pretrained=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"checkpoint_path": "weights.pth"}, "'checkpoint_path' can make timm read pickled weights"),
        ({"pretrained_cfg": {"file": "weights.pth"}}, "'pretrained_cfg' can make timm"),
        ({"pretrained_cfg_overlay": {"url": "http://x"}}, "'pretrained_cfg_overlay' can make timm"),
        ({"pretrained_strict": False}, "'pretrained_strict' can make timm"),
        ({"pretrained": True}, "'pretrained' can make timm"),
        ({"num_classes": 3}, "'num_classes' comes from the data"),
        ({"in_chans": 3}, "'in_chans' comes from the data"),
        ({"features_only": True}, "answers a picture by a list, not by 10 logits"),
        ({"global_pool": ""}, "can't take pictures of 32x32"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_read_pickles_or_change_the_answer_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(LabwrightError, match=words):
        Timm(Image(3, 32, 32), TEN, architecture="test_resnet", options=options)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["hf-hub:timm/resnet18", "local-dir:/tmp", "/tmp/x", "", "resnet18.a2_in1j"])
def test_names_that_are_folders_or_hubs_are_no_architectures(architecture: str) -> None:
    with pytest.raises(LabwrightError, match=r"timm .* has no '") as caught:
        Timm(Image(3, 32, 32), TEN, architecture=architecture)
    assert "." not in architecture or "did you mean 'resnet18.a2_in1k'" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "side"), [("densenet121", 8), ("densenet121", 16), ("vit_tiny_patch16_224", 8)]
)
def test_pictures_too_small_for_an_architecture_are_refused_before_training(architecture: str, side: int) -> None:
    with pytest.raises(
        LabwrightError, match=rf"'{architecture}' can't take pictures of {side}x{side} .*task\.data\.size"
    ):
        Timm(Image(3, side, side), TEN, architecture=architecture)
