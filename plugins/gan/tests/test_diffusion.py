"""The noising process against closed forms, sampling against what it must be, and that it finds what there is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import Features, Image, LabwrightError, generator
from labwright_gan.data.ring import Ring
from labwright_gan.diffusion import Diffusion, Process
from labwright_gan.models.denoisers import MLPDenoiser, UNet
from labwright_gan.ports import Noised
from labwright_testing.verify_resume import verify_resume
from torch import Tensor, nn

NAMES = ("a", "b", "c")


class Bars(lw.Data):
    """A bright bar on the left, in the middle or on the right."""

    item = lw.Image
    target = lw.Classes
    source = "made by this test"
    licence = "none needed"

    def prepare(self) -> None:
        self.parts = {}
        for seed, (name, count) in enumerate({"train": 120, "valid": 60, "test": 60}.items()):
            labels = torch.arange(count) % 3
            x = 0.1 * torch.randn(count, 1, 6, 9, generator=generator(seed))
            for bar in range(3):
                x[labels == bar, :, :, 3 * bar : 3 * bar + 3] += 1.0
            self.parts[name] = lw.TensorSplit((x,), labels)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, 6, 9), lw.Classes(NAMES)

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.parts.get(name)


def denoising(task: Any, model: Any, **changed: Any) -> lw.Experiment:
    settings: dict[str, Any] = {
        "optimizer": {"name": "adamw", "lr": 2e-3},
        "device": "cpu",
        "train": {"steps": 8, "batch_size": 16, "ema": 0.9},
        "log": (),
    } | changed
    return lw.Experiment(task=task, model=model, loss="mse", **settings)


# ---------------------------------------------------------------------------------------------------- the process


def test_the_cosine_schedule_is_the_papers() -> None:
    """Nichol & Dhariwal 2021, equation 17: a_t = f(t) / f(0), f(t) = cos^2((t / T + 0.008) / 1.008 * pi / 2)."""
    kept = Process(1000, "cosine").kept

    def f(t: float) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 1, 250, 500, 900):
        assert kept[t].item() == pytest.approx(f(t) / f(0), rel=1e-9)
    assert 0 < kept[1000] < 1e-6


def test_the_linear_schedule_is_the_papers() -> None:
    """Ho et al. 2020, section 4: what noise adds goes from 1e-4 to 0.02."""
    kept = Process(1000, "linear").kept
    added = 1 - kept[1:] / kept[:-1]
    assert [added[0].item(), added[499].item(), added[-1].item()] == pytest.approx([1e-4, 0.00999, 0.02], rel=1e-2)
    assert kept[-1].item() == pytest.approx(4.04e-5, rel=0.01)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_noised_samples_have_the_mean_and_the_variance_of_q(schedule: Any) -> None:
    process, x = Process(100, schedule), torch.full((100_000, 1), 1.5)
    noise = torch.randn(100_000, 1, generator=generator(0))
    for step in (1, 40, 99):
        noised = process.noised(x, noise, torch.full((100_000,), step))
        a = process.kept[step].item()
        assert noised.mean().item() == pytest.approx(math.sqrt(a) * 1.5, abs=0.02)
        assert noised.var().item() == pytest.approx(1 - a, rel=0.02)


def test_a_sample_and_its_noise_follow_from_either_prediction() -> None:
    process = Process(100, "cosine")
    x, noise = torch.randn(2, 5, 3, generator=generator(0), dtype=torch.float64)
    for step in (1, 50, 90):
        steps = torch.full((5,), step)
        x_t = process.noised(x, noise, steps)
        for kind, predicted in (("epsilon", noise), ("v", process.velocity(x, noise, steps))):
            again = process.sample_and_noise(x_t, predicted, kind, step)  # type: ignore[arg-type]
            torch.testing.assert_close(again, (x, noise), rtol=1e-4, atol=1e-4)


def test_ddim_with_eta_1_is_ddpm() -> None:
    """One step back has the mean and the variance of q(x_t-1 | x_t, x_0), Ho et al. 2020, equations 6 and 7."""
    process = Process(50, "cosine")
    x_0, noise = torch.randn(2, 4, 3, generator=generator(0), dtype=torch.float64)
    for step in (2, 17, 49):
        a, before = process.kept[step], process.kept[step - 1]
        added = 1 - a / before  # beta
        x_t = a.sqrt() * x_0 + (1 - a).sqrt() * noise
        mean = before.sqrt() * added / (1 - a) * x_0 + (1 - added).sqrt() * (1 - before) / (1 - a) * x_t
        variance = (1 - before) / (1 - a) * added
        assert process.deviation(step, step - 1, 1.0) ** 2 == pytest.approx(variance.item())
        torch.testing.assert_close(process.back(x_0, noise, step, step - 1, 1.0), mean)
        fresh = torch.ones_like(x_0)
        torch.testing.assert_close(process.back(x_0, noise, step, step - 1, 1.0, fresh), mean + variance.sqrt())


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_a_step_back_of_any_eta_keeps_the_marginal(eta: float) -> None:
    """Its noise in all has the variance 1 - a_t of q at the earlier step (Song et al. 2021, lemma 1)."""
    process = Process(50, "linear")
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    of_noise = process.back(zero, one, 40, 25, eta)
    of_fresh = process.back(zero, zero, 40, 25, eta, one)
    assert (of_noise**2 + of_fresh**2).item() == pytest.approx(1 - process.kept[25].item())
    assert process.back(one, zero, 40, 25, eta).item() == pytest.approx(math.sqrt(process.kept[25]))


def test_sampling_goes_from_the_last_step_to_none() -> None:
    process = Process(1000, "cosine")
    assert process.visited(4) == [1000, 750, 500, 250, 0]
    assert process.visited(5000) == list(range(1000, -1, -1))


# ------------------------------------------------------------------------------------------------------- sampling


class Exact(nn.Module):
    """The best denoiser of data that is one normal distribution: mean m, deviation s; it predicts v."""

    def __init__(self, process: Process, mean: float, deviation: float) -> None:
        super().__init__()
        self.process, self.mean, self.deviation = process, mean, deviation

    def forward(self, x_t: Tensor, times: Tensor) -> Tensor:
        a = self.process.kept[(times * self.process.steps).round().long()].float().view(-1, 1)
        share = a.sqrt() * self.deviation**2 / (a * self.deviation**2 + 1 - a)
        x_0 = self.mean + share * (x_t - a.sqrt() * self.mean)
        return (a.sqrt() * x_t - x_0) / (1 - a).sqrt()


@pytest.mark.parametrize("eta", [0.0, pytest.param(1.0, marks=pytest.mark.long)])
def test_with_the_best_denoiser_of_a_gaussian_samples_have_its_mean_and_deviation(eta: float) -> None:
    task = Diffusion(Ring(), steps=400, sampling_steps=200, eta=eta)
    task.prepare()
    latents = torch.randn(4000, 2, generator=generator(3))
    made = task.sampled(Exact(task.process, 1.0, 0.5), latents, None)
    assert made.mean(0).tolist() == pytest.approx([1.0, 1.0], abs=0.04)
    assert made.std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.04)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_a_sample_depends_on_its_latent_alone(eta: float) -> None:
    task = Diffusion(Bars(), conditional=True, sampling_steps=4, eta=eta, guidance=2.0, judge_epochs=1)
    task.prepare()
    torch.manual_seed(0)
    model = UNet(*task.ports(), width=8).eval()  # type: ignore[arg-type]
    nn.init.normal_(model.last[-1].weight)
    latents, labels = torch.randn(3, 1, 6, 9, generator=generator(0)), torch.tensor([0, 1, 2])
    with torch.no_grad():
        together = task.sampled(model, latents, labels)
        alone = torch.cat([task.sampled(model, latents[i : i + 1], labels[i : i + 1]) for i in (2, 1, 0)]).flip(0)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.abs().max() <= 1 and together.std() > 0.05


def test_guidance_0_takes_no_notice_of_the_class_and_1_is_the_class_alone() -> None:
    asked: list[Tensor] = []

    def model(x: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        asked.append(labels)
        return labels.view(-1, 1, 1, 1).expand_as(x).float()

    x, labels = torch.zeros(2, 1, 6, 9), torch.tensor([0, 2])
    for guidance, predicted, calls in ((0.0, [3, 3], 1), (1.0, [0, 2], 1), (2.5, [-4.5, 0.5], 2)):
        asked.clear()
        task = Diffusion(Bars(), conditional=True, guidance=guidance, judge_epochs=1)
        task.prepare()
        found = task._guided(model, x, 7, labels)  # type: ignore[arg-type]
        assert found[:, 0, 0, 0].tolist() == pytest.approx(predicted)  # none + guidance * (class - none), none is 3
        assert len(asked) == calls


def test_latents_are_drawn_for_what_is_measured_alone_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from labwright_gan import generative

    task, drawn = Diffusion(Bars(), judge_epochs=1), []
    task.prepare()
    monkeypatch.setattr(generative, "generator", lambda *parts: drawn.append(parts) or generator(*parts))
    for plain in (False, True, True):  # as a loader worker does with each batch
        part = task.part("train", plain)
        assert part is not None
        part.fetch(torch.arange(3), 0, 20)
        assert len(drawn) == plain


def test_a_file_is_no_latent() -> None:
    task = Diffusion(Ring())
    task.prepare()
    part = task.data.split("test")
    assert part is not None
    read = part.fetch(torch.arange(1), 0, 0).inputs  # as from a file, which `predict` asks the data for
    with pytest.raises(LabwrightError, match="it reads no files but takes --seed TEXT"):
        task.predict(nn.Identity(), read, [None])


def test_guidance_without_what_it_compares_is_refused() -> None:
    with pytest.raises(LabwrightError, match=r"task\.guidance: given 2\.0; .*needs task\.conditional=true"):
        Diffusion(Bars(), guidance=2.0)
    with pytest.raises(LabwrightError, match=r"task\.guidance: .*needs task\.unasked above 0"):
        Diffusion(Bars(), guidance=2.0, conditional=True, unasked=0.0)


# ------------------------------------------------------------------------------------------------------- learning


def test_the_loss_is_that_of_the_noise_or_of_v_and_the_class_is_left_out_of_a_share() -> None:
    for predicts in ("epsilon", "v"):
        task = Diffusion(Bars(), conditional=True, predicts=predicts, unasked=0.3, judge_epochs=1)  # type: ignore[arg-type]
        task.prepare()
        part = task.data.split("train")
        assert part is not None
        batch = task.draw(part.fetch(torch.arange(120), 0, 0), generator(1))
        told: list[Tensor] = []

        def model(x: Tensor, times: Tensor, labels: Tensor, told: list[Tensor] = told) -> Tensor:
            told.append(labels)
            return torch.zeros_like(x)

        loss = task.loss(model, batch, nn.functional.mse_loss, "train")  # type: ignore[arg-type]
        steps = batch.steps
        v = task.process.velocity(batch.inputs[0], batch.noise, steps)
        torch.testing.assert_close(loss, (batch.noise if predicts == "epsilon" else v).square().mean())
        assert int(steps.min()) >= 1 and int(steps.max()) <= 1000
        assert (told[0] == 3).float().mean().item() == pytest.approx(0.3, abs=0.15)
        assert torch.equal(told[0][told[0] != 3], batch.targets[told[0] != 3])


UNETS = {
    "grey": (Noised((1, 8, 8)), Image(1, 8, 8), {}),
    "of classes, odd sides": (Noised((3, 7, 13), NAMES), Image(3, 7, 13), {"levels": 3, "blocks": 2}),
    "of patches": (Noised((1, 28, 28), NAMES), Image(1, 28, 28), {"patch": 2}),
    "one level": (Noised((2, 5, 5)), Image(2, 5, 5), {"levels": 1}),
}


@pytest.mark.parametrize("case", UNETS)
def test_a_unet_predicts_as_many_values_as_there_are_and_learns_by_all_its_parameters(case: str) -> None:
    inputs, outputs, settings = UNETS[case]
    torch.manual_seed(0)
    model = UNet(inputs, outputs, width=8, **settings)
    for _, parameter in model.named_parameters():  # those that begin at 0 keep others from a gradient
        nn.init.normal_(parameter, std=0.2)
    arguments = inputs.example(4, generator(0))
    predicted = model(*arguments)
    assert predicted.shape == arguments[0].shape
    predicted.square().sum().backward()
    assert [name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0] == []
    later = model(arguments[0], 1 - arguments[1], *arguments[2:])
    assert not torch.allclose(later, predicted)
    if inputs.names:
        assert not torch.allclose(model(*arguments[:2], (arguments[2] + 1) % 4), predicted)


def test_pictures_that_cannot_be_halved_so_often_are_refused() -> None:
    with pytest.raises(LabwrightError, match=r"model\.levels: given 3; pictures of 6x9 in patches of 2 can't be"):
        UNet(Noised((1, 6, 9)), Image(1, 6, 9), levels=3, patch=2)


def test_points_are_denoised_in_their_shape() -> None:
    inputs = Noised((2, 3), NAMES)
    assert MLPDenoiser(inputs, Features((2, 3)), width=8)(*inputs.example(4, generator(0))).shape == (4, 2, 3)


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ({"name": "gan/diffusion", "data": "gan/ring", "sampling_steps": 3}, {"name": "gan/mlp-denoiser", "width": 8}),
        (
            {
                "name": "gan/diffusion",
                "data": Bars,
                "conditional": True,
                "sampling_steps": 3,
                "judge_epochs": 1,
                "eta": 1.0,
            },
            {"name": "gan/unet", "width": 8},
        ),
    ],
    ids=["points", "pictures"],
)
def test_a_resumed_run_is_the_uninterrupted_one(task: Any, model: Any) -> None:
    verdict = verify_resume(denoising(task, model), 5)
    assert verdict.exact, verdict


@pytest.mark.parametrize("changed", [{"predicts": "epsilon"}, {"schedule": "linear"}, {"steps": 500}])
def test_what_a_model_predicts_is_not_taken_for_something_else_than_it_learned(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    task = Diffusion(Ring())
    task.prepare()
    task.save(tmp_path)
    ((setting, value),) = changed.items()
    other = Diffusion(Ring(), **changed)
    for take_up in (other.resumes_from, other.load):
        with pytest.raises(
            LabwrightError, match=rf"task\.{setting}: given {value!r}; the model of this run learned with"
        ):
            take_up(tmp_path)
    drawn_otherwise = Diffusion(Ring(), sampling_steps=3, eta=0.5)
    drawn_otherwise.resumes_from(tmp_path)
    drawn_otherwise.load(tmp_path)


@pytest.mark.long
def test_it_draws_what_it_is_asked_for_and_is_loaded_to_draw(tmp_path: Path) -> None:
    task = {"name": "gan/diffusion", "data": Bars, "conditional": True, "sampling_steps": 10, "judge_epochs": 5}
    train = {"steps": 250, "batch_size": 32, "ema": 0.97, "evaluate_every": "250 steps"}
    run = denoising(task, {"name": "gan/unet", "width": 8, "levels": 1}, train=train).run(tmp_path / "run")
    metrics = run.metrics["test"]
    assert metrics["read_as_asked"] > 0.95 and metrics["generated_alone"] > 0.95, metrics
    there = Diffusion(Bars(), conditional=True, sampling_steps=10, judge_epochs=5)
    there.prepare()
    inputs = there.parse("b:3")
    with torch.no_grad():
        pictures = [one.predict(run.model.eval(), inputs, [None])[0]["picture"] for one in (run.task, there)]
    assert pictures[0] == pictures[1]
    sections = run.task.report(run.model, "test", run.device)
    assert sections and isinstance(sections[0], lw.Figure)


@pytest.mark.long
def test_it_finds_all_modes_of_the_ring(tmp_path: Path) -> None:
    run = lw.Experiment.from_recipe("gan/ring-diffusion", ["log=[]", "train.steps=2500"]).run(tmp_path / "run")
    metrics = run.metrics["test"]
    assert metrics["modes/covered"] == 8 and metrics["modes/near"] > 0.85, metrics
