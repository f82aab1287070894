"""What holds for every network here, and what single ones promise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from labwright import Audio, Classes, LabwrightError
from labwright_speech.losses import CTC
from labwright_speech.models.bc_resnet import BCResNet
from labwright_speech.models.conformer import Conformer
from labwright_speech.models.crnn import CRNN
from labwright_speech.models.m5 import M5
from labwright_speech.ports import Transcript
from torch import Tensor, nn
from torch.nn import functional

INPUTS = Audio(8000, 6400)
TEN = Classes(tuple("0123456789"))
LETTERS = Transcript(tuple("ABCDE"), longest=6)
Build = Callable[[], nn.Module]
BUILDS: dict[str, Build] = {
    "m5": lambda: M5(INPUTS, TEN, width=8),
    "bc-resnet": lambda: BCResNet(INPUTS, TEN, scale=1.0),
    "crnn": lambda: CRNN(INPUTS, LETTERS, width=32, mels=40, channels=8, stride=2),
    "crnn-4": lambda: CRNN(INPUTS, LETTERS, width=24, mels=30, channels=8, layers=1, stride=4),
    "crnn-mfcc": lambda: CRNN(INPUTS, LETTERS, width=32, mels=40, cepstra=13, channels=8, stride=2),
    "conformer": lambda: Conformer(INPUTS, LETTERS, width=32, heads=2, layers=1, kernel=7, stride=4),
}
every_model = pytest.mark.parametrize("name", BUILDS)


def built(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return BUILDS[name]()


def sample(size: int, seconds: float = 0.8) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    x_BT, _ = Audio(8000, round(8000 * seconds)).example(size, random)
    lengths_B = torch.linspace(x_BT.shape[1], x_BT.shape[1] // 2, size).long()
    return x_BT.masked_fill(torch.arange(x_BT.shape[1]) >= lengths_B[:, None], 0.0), lengths_B


def loss_of(name: str, output: Tensor) -> Tensor:
    random = torch.Generator().manual_seed(2)
    if name in ("m5", "bc-resnet"):
        return functional.cross_entropy(output, TEN.example(len(output), random)[0])
    return CTC()(output, *LETTERS.example(len(output), random))


@every_model
def test_classes_get_logits_and_frames_get_log_probabilities(name: str) -> None:
    model = built(name).eval()
    for size in (1, 3):
        for seconds in (0.8, 1.3):
            output = model(*sample(size, seconds))
            if output.dim() == 2:
                assert output.shape == (size, 10)
            else:
                assert output.shape[0] == size and output.shape[2] == 6
                torch.testing.assert_close(output.exp().sum(2), torch.ones(output.shape[:2]))


@every_model
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = built(name)
    loss_of(name, model(*sample(8))).backward()
    without = [key for key, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]
    assert without == []


@every_model
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    one, same, other = (built(name, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", [name for name in BUILDS if name != "conformer"])
def test_in_evaluation_a_recording_is_answered_alone_as_in_a_batch(name: str) -> None:
    model = built(name).eval()
    x_BT, lengths_B = sample(5)
    together = model(x_BT, lengths_B)
    for row in (0, 2, 4):
        end = None if name == "bc-resnet" else lengths_B[row]  # all its inputs have one length
        alone = model(x_BT[row : row + 1, :end], lengths_B[row : row + 1])
        expected = together[row : row + 1]
        if expected.dim() == 3:
            rest = expected[:, alone.shape[1] :]
            assert (rest[..., 0] == 0).all() and (rest[..., 1:] < -1000).all()  # blank for certain
            expected = expected[:, : alone.shape[1]]
        torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-4)


def test_a_conformer_answers_the_longest_recording_alone_as_in_a_batch() -> None:
    model = built("conformer").eval()
    x_BT, lengths_B = sample(3)
    torch.testing.assert_close(model(x_BT, lengths_B)[:1], model(x_BT[:1], lengths_B[:1]), rtol=1e-4, atol=1e-4)


LONG = {"crnn-mfcc": pytest.mark.long}


# the conformance kit has crnn do so
@pytest.mark.parametrize("name", [pytest.param(name, marks=LONG.get(name, ())) for name in BUILDS if name != "crnn"])
@pytest.mark.long
def test_one_batch_can_be_learned_by_heart(name: str) -> None:
    model = built(name)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    if hasattr(model, "hide"):
        model.hide = nn.Module()  # nothing is hidden from one who is to know it by heart
        model.hide.forward = lambda x_BMF, frames_B: x_BMF
    x_BT, lengths_B = sample(8)
    parameters = list(model.parameters())
    averages = [(torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]
    steps = 400 if name.startswith("crnn") else 120
    for step in range(1, steps + 1):  # Adam, written out: torch.optim takes seconds to import
        loss = loss_of(name, model(x_BT, lengths_B))
        if loss < 0.1:
            break
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for one, (first, second), gradient in zip(parameters, averages, gradients, strict=True):
                first.lerp_(gradient, 0.1)
                second.lerp_(gradient.square(), 0.001)
                one -= 0.005 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    assert loss_of(name, model.train()(x_BT, lengths_B)) < 0.2


@pytest.mark.parametrize(("scale", "thousands"), [(1, 9.2), (2, 27.3), (3, 54.2), (6, 188), (8, 321)])
def test_bc_resnets_have_as_many_parameters_as_in_the_paper(scale: float, thousands: float) -> None:
    model = BCResNet(Audio(16_000, 16_000), Classes(tuple("abcdefghijkl")), scale=scale)  # 12 classes
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1000 == pytest.approx(thousands, rel=0.03)  # Kim et al. 2021, table 2


def test_m5_has_as_many_parameters_as_in_the_paper() -> None:
    model = M5(Audio(8000, 32_000), TEN, width=128)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(0.56, abs=0.01)  # Dai et al. 2017, table 1: 0.5M


@pytest.mark.parametrize("name", ["crnn", "conformer"])
def test_frames_too_few_for_the_transcripts_are_refused_with_a_stride_that_fits(name: str) -> None:
    kind = {"crnn": CRNN, "conformer": Conformer}[name]
    dense = Transcript(tuple("AB"), 40, densest=30.0, of="x.wav")
    with pytest.raises(LabwrightError, match=r"25 frames per second; .* x\.wav needs 30\.0.*Set model\.stride=2"):
        kind(INPUTS, dense, stride=4)
    kind(INPUTS, dense, stride=2)
    with pytest.raises(LabwrightError, match=r"Take it out of the data"):
        kind(INPUTS, Transcript(tuple("AB"), 40, densest=300.0, of="x.wav"), stride=2)


@pytest.mark.parametrize("name", ["crnn", "conformer"])
def test_more_cepstral_coefficients_than_bands_are_refused(name: str) -> None:
    with pytest.raises(LabwrightError, match=r"model\.cepstra: at most as many as model\.mels, 40, given 41"):
        (CRNN if name == "crnn" else Conformer)(INPUTS, LETTERS, mels=40, cepstra=41)


def test_what_a_conformer_cannot_have_is_named() -> None:
    with pytest.raises(LabwrightError, match=r"model\.heads: 5 heads don't divide model\.width, 144"):
        Conformer(INPUTS, LETTERS, heads=5)
    with pytest.raises(LabwrightError, match=r"model\.kernel: it is odd, such as 17, given 16"):
        Conformer(INPUTS, LETTERS, kernel=16)
