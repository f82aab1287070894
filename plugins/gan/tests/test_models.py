"""What holds for every pair, and what single ones promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from labwright import Features, Image, LabwrightError, Latent
from labwright_gan.losses import slopes
from labwright_gan.models.dcgan import DCGAN, ConditionalDCGAN
from labwright_gan.models.mlp import MLP
from labwright_gan.models.pair import Pair, computed_once
from labwright_gan.models.resnet import ResNet
from labwright_gan.ports import ClassLatent
from torch import Tensor, nn

PLAIN, ASKED = Latent(5), ClassLatent(5, ("a", "b", "c"))
GREY, COLOUR = Image(1, 8, 8), Image(3, 12, 18)
PAIRS: dict[str, Callable[[], tuple[Pair, Image | Features]]] = {
    "mlp of points": lambda: (MLP(PLAIN, Features((2,)), width=16), Features((2,))),
    "mlp of pictures": lambda: (MLP(PLAIN, COLOUR, width=16, critic_norm="spectral"), COLOUR),
    "dcgan": lambda: (DCGAN(PLAIN, GREY, width=4), GREY),
    "dcgan with batch norm": lambda: (DCGAN(PLAIN, COLOUR, width=4, stages=2, critic_norm="batch"), COLOUR),
    "dcgan without norm": lambda: (DCGAN(PLAIN, GREY, width=4, stages=2, critic_norm="none"), GREY),
    "resnet": lambda: (ResNet(PLAIN, GREY, width=4), GREY),
    "resnet of classes": lambda: (ResNet(ASKED, COLOUR, width=8, stages=2, critic_norm="none"), COLOUR),
    "cdcgan": lambda: (ConditionalDCGAN(ASKED, COLOUR, width=4), COLOUR),
}
every_pair = pytest.mark.parametrize("name", PAIRS)


def built(name: str, seed: int = 0) -> tuple[Pair, tuple[Tensor, ...], Tensor, tuple[Tensor, ...]]:
    """A pair, what its generator takes, real samples, and what its critic takes beside them."""
    torch.manual_seed(seed)
    model, outputs = PAIRS[name]()
    generator = torch.Generator().manual_seed(1)
    asked = name == "cdcgan" or name.endswith("of classes")
    inputs = (ASKED if asked else PLAIN).example(6, generator)
    (real,) = outputs.example(6, generator)
    return model, inputs, real.clamp(-1, 1), inputs[1:]


@every_pair
def test_samples_are_of_the_shape_of_the_datas_and_get_a_score_each(name: str) -> None:
    model, inputs, real, told = built(name)
    assert model(*inputs).shape == real.shape
    assert model.critic(real, *told).shape == (6,)
    if real.dim() == 4:
        assert model(*inputs).abs().max() <= 1


@every_pair
def test_both_networks_get_a_gradient_in_every_parameter(name: str) -> None:
    model, inputs, _, told = built(name)
    model.critic(model(*inputs), *told).square().sum().backward()
    without = [key for key, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]
    assert [key for key in without if not key.endswith("head.bias")] == []


@every_pair
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    one, same, other = (built(name, seed)[0].state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@every_pair
def test_a_critic_tells_one_batch_from_another_after_a_few_steps(name: str) -> None:
    model, inputs, real, told = built(name)
    fake = model(*inputs).detach()
    parameters = list(model.critic.parameters())
    averages = [(torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]
    for step in range(1, 121):  # Adam, written out: torch.optim takes seconds to import
        loss = (1 - model.critic(real, *told)).relu().mean() + (1 + model.critic(fake, *told)).relu().mean()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        with torch.no_grad():
            for one, (first, second), gradient in zip(parameters, averages, gradients, strict=True):
                if gradient is not None:
                    first.lerp_(gradient, 0.1)
                    second.lerp_(gradient.square(), 0.01)
                    one -= 0.01 * (first / (1 - 0.9**step)) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)
    assert loss < 0.5


@pytest.mark.parametrize("pair", [DCGAN, ResNet])
@pytest.mark.parametrize("side", [4, 7, 8, 9, 16, 28, 30, 32, 64])
@pytest.mark.parametrize("stages", [None, 1])
def test_pictures_of_every_side_are_made_to_the_pixel(side: int, stages: int | None, pair: type[DCGAN]) -> None:
    model = pair(PLAIN, Image(1, side, side + 1), width=2, stages=stages)
    (z_BD,) = PLAIN.example(2, torch.Generator().manual_seed(0))
    assert model(z_BD).shape == (2, 1, side, side + 1)
    assert model.critic(model(z_BD)).shape == (2,)


def test_the_networks_of_the_paper_have_its_shapes() -> None:
    model = DCGAN(Latent(100), Image(3, 64, 64), width=128)
    maps = [one.in_channels for one in model.generator.modules() if isinstance(one, nn.ConvTranspose2d)]
    assert maps == [1024, 512, 256, 128]  # Radford et al. 2016, figure 1
    assert model.generator.get_submodule("start").out_features == 1024 * 4 * 4


def test_pictures_too_small_for_the_generator_are_refused() -> None:
    with pytest.raises(LabwrightError, match=r"pictures of 3x9 are too small for it; 'gan/mlp'"):
        DCGAN(PLAIN, Image(1, 3, 9))
    with pytest.raises(LabwrightError, match=r"model\.stages: given 3; pictures of 8x8 allow 2 at most"):
        ConditionalDCGAN(ASKED, GREY, stages=3)
    with pytest.raises(LabwrightError, match=r"model\.stages: given 3; pictures of 8x8 allow 2 at most"):
        ResNet(ASKED, GREY, stages=3)


def test_other_classes_make_other_pictures_and_scores() -> None:
    model, (z, labels), real, _ = built("cdcgan")
    other = (labels + 1) % 3
    assert not torch.allclose(model(z, labels), model(z, other))
    assert not torch.allclose(model.critic(real, labels), model.critic(real, other))


def test_the_projection_is_linear_in_the_features() -> None:
    model, _, real, (labels,) = built("cdcgan")
    critic = model.critic.eval()
    features = critic.get_submodule("body")(real)
    embedded = critic.get_submodule("of_class")(labels)
    expected = critic.get_submodule("head")(features).squeeze(1) + (embedded * features).sum(1)
    torch.testing.assert_close(critic(real, labels), expected)


def test_the_residual_networks_of_the_paper_have_its_sizes() -> None:
    """Miyato et al. 2018, table 4, CIFAR-10: 4x4x256 doubled three times; but there the critic halves twice."""
    model = ResNet(Latent(128), Image(3, 32, 32), width=256, stages=3)
    start = model.generator.get_submodule("start")[0]  # type: ignore[index]
    assert (start.in_features, start.out_features) == (128, 4 * 4 * 256)
    convolutions = [layer for layer in model.generator.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in convolutions].count(3) == 2 * 3 + 1
    assert {layer.out_channels for layer in convolutions} == {256, 3}


def test_a_conditional_norm_is_that_of_each_class_alone() -> None:
    model, (z, labels), _, _ = built("resnet of classes")
    norm = next(module for module in model.modules() if type(module).__name__ == "_Norm")
    torch.nn.init.normal_(norm.of_class.weight)
    x = torch.randn(6, 8, 3, 3)
    normal = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    scale, shift = norm.of_class.weight[labels].chunk(2, dim=1)
    torch.testing.assert_close(norm(x, labels), normal * (1 + scale[..., None, None]) + shift[..., None, None])
    assert not torch.allclose(model(z, labels), model(z, (labels + 1) % 3))


def test_a_spectral_critic_is_of_norm_one_in_each_layer() -> None:
    torch.manual_seed(0)
    critic = MLP(PLAIN, Features((2,)), width=16, critic_norm="spectral").critic
    for _ in range(200):
        critic(torch.zeros(1, 2))  # each call is one power iteration
    norms = [torch.linalg.matrix_norm(one.weight, 2).item() for one in critic.eval() if isinstance(one, nn.Linear)]
    assert norms == pytest.approx([1.0] * 4, abs=1e-3)


def test_a_phase_is_one_power_iteration_however_often_the_critic_is_called() -> None:
    model, _, real, told = built("mlp of pictures")
    before = {key: one.clone() for key, one in model.state_dict().items()}
    with computed_once(model, torch.device("cpu")):
        once = {key: one.clone() for key, one in model.state_dict().items()}
        first, second = model.critic(real, *told), model.critic(real, *told)
        slopes(model.critic, real).sum().backward()
    assert torch.equal(first, second)
    assert all(torch.equal(once[key], one) for key, one in model.state_dict().items())
    assert any(not torch.equal(before[key], one) for key, one in once.items())
