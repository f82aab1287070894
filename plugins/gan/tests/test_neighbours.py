"""Measures by neighbours against prdc, and FID and KID against torch-fidelity; generators that memorise are caught."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import evaluate, generator
from labwright_gan.generative import Shown
from labwright_gan.judge import GeneratedAlone, SmallCNN
from labwright_gan.metrics import FID, KID, Seen
from labwright_gan.neighbours import Memorised, Neighbours, prdc
from labwright_gan.task import Adversarial
from torch import Tensor, nn


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def seen(real: Tensor, fake: Tensor) -> Seen:
    return Seen(real, fake, torch.zeros(len(real), dtype=torch.int64), real.flatten(1), fake.flatten(1))


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_precision_recall_density_and_coverage_are_prdcs(shift: float, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = pytest.importorskip("prdc", reason="the peer that is compared with")
    real, fake = normal(300, 6), 0.7 * normal(250, 6, seed=1) + shift
    expected = theirs.compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    assert prdc(real, fake, nearest=5) == pytest.approx(expected, abs=1e-12)


def test_blocks_of_samples_give_what_all_at_once_give() -> None:
    theirs = pytest.importorskip("prdc", reason="the peer that is compared with")
    real, fake = normal(1100, 3), normal(1100, 3, seed=1)
    metric = Neighbours()
    for rows in torch.arange(1100).split(130):
        metric.update(seen(real[rows], fake[rows]))
    assert metric.compute() == pytest.approx(theirs.compute_prdc(real.numpy(), fake.numpy(), nearest_k=5), abs=1e-12)
    assert metric.compute()["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)  # Naeem et al. 2020, lemma 3
    metric.reset()
    metric.update(seen(real[:4], fake[:4]))
    assert all(math.isnan(value) for value in metric.compute().values())


def test_a_generator_of_one_mode_is_precise_and_covers_little() -> None:
    centres = 10 * torch.eye(4, dtype=torch.float64)
    real = normal(400, 4) + centres[torch.arange(400) % 4]
    found = prdc(real, normal(400, 4, seed=1) + centres[0], nearest=5)
    assert found["precision"] > 0.9 and found["recall"] < 0.4 and found["coverage"] < 0.3


# ------------------------------------------------------------------------------------------- generators that memorise

PARTS = {"train": 300, "test": 100}


class Blobs(lw.Data):
    """Soft round blobs of two classes, left or right, at any height and of any size, with noise: no two alike."""

    item = lw.Image
    target = lw.Classes
    source = "made by this test"
    licence = "none needed"

    def prepare(self) -> None:
        self.parts = {
            name: lw.TensorSplit((blobs(count, seed),), torch.arange(count) % 2)
            for seed, (name, count) in enumerate(PARTS.items())
        }

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, 8, 8), lw.Classes(("left", "right"))

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.parts.get(name)


def blobs(count: int, seed: int) -> Tensor:
    chances = generator(100, seed)
    column, row, size = (torch.rand(3, count, generator=chances) * torch.tensor([[2.0], [5.0], [0.8]])).view(
        3, -1, 1, 1
    )
    away = (torch.arange(8).view(1, 1, 8) - column - 0.5 - 4 * (torch.arange(count) % 2).view(-1, 1, 1)).square()
    down = (torch.arange(8).view(1, 8, 1) - row - 1.0).square()
    return (torch.exp(-(away + down) / (1 + size)) + 0.1 * torch.randn(count, 8, 8, generator=chances))[:, None]


class Noisy(nn.Module):
    """Training pictures and noise."""

    def __init__(self, shown: Shown, noise: float) -> None:
        super().__init__()
        self.shown, self.noise = shown, noise

    def forward(self, latents: Tensor, asked: Tensor) -> Tensor:
        made: Tensor = self.shown(latents, asked)
        return made + self.noise * torch.randn(made.shape, generator=generator(7))


@pytest.fixture(scope="module")
def task() -> Adversarial:
    task = Adversarial(Blobs(), conditional=True, latent=4, judge_epochs=4)
    task.prepare()
    return task


def measured(task: Adversarial, model: nn.Module) -> dict[str, float]:
    found = evaluate(task, model, "test", device=torch.device("cpu"), size=64, seed=0)
    assert found is not None
    return found.metrics


def test_a_generator_that_replays_or_adds_noise_is_caught_and_one_that_makes_new_ones_is_not(task: Adversarial) -> None:
    train = task.data.split("train")
    assert isinstance(train, lw.TensorSplit) and task.scaling is not None
    repeated = Shown(task.scaling.unit(train.inputs[0]), train.labels)
    fresh = Shown(task.scaling.unit(blobs(400, 9)), torch.arange(400) % 2)
    replayed, noisy, new = (measured(task, model) for model in (repeated, Noisy(repeated, 0.2), fresh))
    # what was taken for the measures of quality before tells them apart in the wrong order, if at all
    assert replayed["fid"] < 2 * new["fid"] and replayed["generated_alone"] > 0.9
    assert replayed["memorised"] == 1 and noisy["memorised"] > 0.9
    assert abs(new["memorised"]) < 4 * math.sqrt(0.75 * 0.25 / 100) / 0.25  # four standard errors


def test_the_chance_of_a_training_sample_to_be_the_nearest_is_taken_off() -> None:
    """Of one distribution the excess is 0 on average, however many training samples there are beside the others."""
    excesses = []
    for trial in range(30):
        parts = [normal(200, 1, 2, 2, seed=3 * trial), normal(50, 1, 2, 2, seed=3 * trial + 1)]
        metric = Memorised(lambda parts=parts: parts[0].split(70))  # type: ignore[misc]
        metric.update(seen(parts[1], normal(50, 1, 2, 2, seed=3 * trial + 2)))
        excesses.append(metric.compute())
    mean, error = np.mean(excesses), np.std(excesses, ddof=1) / 30**0.5
    assert abs(mean) < 4 * error and error < 0.1
    nowhere = Memorised(list)
    nowhere.update(seen(parts[1], parts[1]))
    assert math.isnan(nowhere.compute())


def test_samples_of_all_classes_are_looked_at_where_they_stand_in_order() -> None:
    training, real, fake = normal(100, 8), normal(4000, 8, seed=1), normal(4000, 8, seed=2)
    fake[2000:] = training.repeat(20, 1)  # copies, of the second class alone
    metric = Memorised(lambda: [training])
    for rows in torch.arange(4000).split(500):
        metric.update(seen(real[rows], fake[rows]))
    assert metric.compute() == pytest.approx(0.5, abs=0.05)


def test_what_is_learned_from_generated_pictures_alone_is_as_good_as_they_are(task: Adversarial) -> None:
    test = task.data.split("test")
    assert isinstance(test, lw.TensorSplit)
    real, labels = test.inputs[0], test.labels
    fake = blobs(100, 9)
    accuracies = []
    for made in (fake, fake.flip(0), fake[:1].expand_as(fake)):  # as asked, of the other class, one picture for all
        metric = GeneratedAlone(2, epochs=10)
        for rows in (slice(0, 60), slice(60, 100)):
            metric.update(Seen(real[rows], made[rows], labels[rows], real, real))
        accuracies.append(metric.compute())
    assert accuracies[0] > 0.9 and accuracies[1] < 0.2 and 0.3 < accuracies[2] < 0.7


# --------------------------------------------------------------------------------------------------- torch-fidelity


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_fid_and_kid_are_torch_fidelitys_with_the_judges_features(task: Adversarial) -> None:
    fidelity = pytest.importorskip("torch_fidelity", reason="the peer that is compared with")
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    judge = task.judge
    assert isinstance(judge, SmallCNN)

    class Registered(FeatureExtractorBase):  # type: ignore[misc]
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("judge",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "judge"

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (features(x),)

    def features(x: Tensor) -> Tensor:
        with torch.no_grad():
            return judge(x[:, :1].float() / 127.5 - 1)[0]

    fidelity.register_feature_extractor("labwright-judge", Registered)
    pictures = [((blobs(200, seed) * 100 + 60).clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)) for seed in (0, 5)]
    theirs = fidelity.calculate_metrics(
        input1=lw_dataset(pictures[0]),
        input2=lw_dataset(pictures[1]),
        fid=True,
        feature_extractor="labwright-judge",
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    real, fake = map(features, pictures)
    ours: dict[str, Callable[[], Any]] = {"fid": FID, "kid": KID}
    values = {}
    for name, metric in ours.items():
        measure = metric()
        measure.update(Seen(real, fake, torch.zeros(200), real, fake))
        values[name] = measure.compute()
    assert values["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    x, y = real.double().numpy(), fake.double().numpy()
    order = torch.randperm(200, generator=generator(200)).numpy()  # the one block that the measure takes
    x, y = x[order], y[order]
    grams = [
        kernel_poly(a, b, kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1)
        for a, b in ((x, x), (x, y), (y, y))
    ]
    assert values["kid"] == pytest.approx(mmd2(*grams, mmd_est="u-statistic"), rel=1e-6)


def lw_dataset(x: Tensor) -> Any:
    class Pictures(torch.utils.data.Dataset[Tensor]):
        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, index: int) -> Tensor:
            return x[index]

    return Pictures()
