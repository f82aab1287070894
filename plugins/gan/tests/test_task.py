"""Two phases in the one loop: what they learn, that they resume exactly, and that parts of a batch add up to it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from labwright import LabwrightError, evaluate, generator
from labwright.train.checkpoints import verify
from labwright_gan import report
from labwright_gan.data.ring import Ring
from labwright_gan.generative import Shown, digest, spherical
from labwright_gan.judge import trained
from labwright_gan.losses import R1, AdversarialLoss, Hinge, LeastSquares, NonSaturating, Relativistic, Wasserstein
from labwright_gan.models.dcgan import DCGAN, ConditionalDCGAN
from labwright_gan.models.mlp import MLP
from labwright_gan.pictures import Scaling
from labwright_gan.task import Adversarial
from labwright_testing.verify_resume import verify_resume
from PIL import Image
from torch import Tensor, nn

NAMES = ("top left", "top right", "bottom left", "bottom right")


def squares(count: int, side: int, channels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Dark pictures with one bright quarter, (N, C, side, side) with noise, and which quarter it is, (N,)."""
    labels = torch.arange(count) % 4
    x = -0.5 + 0.1 * torch.randn(count, channels, side, side, generator=generator(seed))
    half = side // 2
    for one, label in zip(x, labels.tolist(), strict=True):
        top, left = half * (label // 2), half * (label % 2)
        one[:, top : top + half, left : left + half] += 2.0
    return x, labels


PRDC = ("prdc/precision", "prdc/recall", "prdc/density", "prdc/coverage")


class Squares(lw.Data):
    """Pictures of four classes that can be told apart at a glance."""

    item = lw.Image
    target = lw.Classes
    source = "made by this test"
    licence = "none needed"

    def __init__(self, *, side: int = 8, channels: int = 1, held_out: int = 40) -> None:
        self.side, self.channels, self.held_out = side, channels, held_out
        self.splits: dict[str, lw.TensorSplit] = {}

    def prepare(self) -> None:
        sizes = {"train": 96, "valid": self.held_out, "test": 40}
        for seed, (name, size) in enumerate(sizes.items()):
            pictures, labels = squares(size, self.side, self.channels, seed)
            self.splits[name] = lw.TensorSplit((pictures,), labels)

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(self.channels, self.side, self.side), lw.Classes(NAMES)

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.splits.get(name)


class Unlabelled(Squares):
    """The same without classes."""

    target = lw.Values

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return super().ports()[0], lw.Values(1)


def duel(task: Any, model: Any, loss: Any = "gan/hinge", **changed: Any) -> lw.Experiment:
    """A quiet experiment of a few steps."""
    settings: dict[str, Any] = {
        "optimizer": {"name": "adam", "lr": 1e-3, "betas": [0.0, 0.9], "generator": {"lr": 5e-4}},
        "device": "cpu",
        "train": {"steps": 8, "batch_size": 16},
        "log": (),
    } | changed
    return lw.Experiment(task=task, model=model, loss=loss, **settings)


RING = {"name": "gan/adversarial", "data": "gan/ring", "latent": 4, "critic_steps": 3}
SPECTRAL = {"name": "gan/mlp", "width": 16, "critic_norm": "spectral"}
AVERAGED = {"steps": 20, "batch_size": 16, "ema": 0.9, "clip": 1.0}
AGAINST_THE_MEAN = {"name": "gan/relativistic", "against": "mean"}
R1_HINGE = {"name": "gan/r1", "loss": "gan/hinge"}


def conditional(**settings: Any) -> Adversarial:
    return Adversarial(Squares(), **({"latent": 4, "conditional": True, "judge_epochs": 2} | settings))


CASES: dict[str, Any] = {
    "spectral norm and averages": lambda: duel(RING, SPECTRAL, train=AVERAGED),
    "a gradient penalty": lambda: duel(RING, {"name": "gan/mlp", "width": 16}, "gan/wasserstein", train=AVERAGED),
    "a relativistic loss": lambda: duel(RING, SPECTRAL, R1_HINGE | {"loss": "gan/relativistic", "both": True}),
    "accumulation": lambda: duel(RING, SPECTRAL, R1_HINGE, train=AVERAGED, device={"name": "cpu", "accumulate": 2}),
    "bf16": lambda: duel(RING, SPECTRAL, "gan/wasserstein", device={"name": "cpu", "precision": "bf16"}),
    "fp16 with a loss scale": lambda: duel(RING, SPECTRAL, R1_HINGE, device={"name": "cpu", "precision": "fp16"}),
    "conditional pictures": lambda: duel(
        conditional(critic_steps=3), ConditionalDCGAN, R1_HINGE, train={"steps": 20, "batch_size": 16, "ema": 0.9}
    ),
    "batch norm": lambda: duel(
        conditional(critic_steps=2), {"name": "gan/cdcgan", "width": 4, "critic_norm": "batch"}, "gan/non-saturating"
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_resumed_in_mid_cycle_is_the_uninterrupted_one(case: str) -> None:
    verdict = verify_resume(CASES[case](), 4)  # the generator is due at 3 and 6
    assert verdict.exact, verdict


@pytest.mark.parametrize("stopped_at", [1, 5, 63])  # the last is an epoch's end
def test_a_spectral_critic_resumes_exactly_at_any_step(stopped_at: int) -> None:
    verdict = verify_resume(
        duel({**RING, "critic_steps": 2}, SPECTRAL, R1_HINGE, train={"steps": 200, "batch_size": 128, "ema": 0.9}),
        stopped_at,
    )
    assert verdict.exact, verdict


@pytest.mark.parametrize("phase", ["critic", "generator"])
@pytest.mark.parametrize(
    "loss",
    [
        NonSaturating(),
        Hinge(),
        LeastSquares(),
        Relativistic(),
        Wasserstein(),
        R1(Relativistic(), both=True),
        R1(Wasserstein()),
    ],
    ids=lambda one: type(one).__name__,
)
def test_parts_of_a_batch_give_the_gradients_of_the_whole(phase: str, loss: AdversarialLoss) -> None:
    """The penalties on the slope as well: each sample has a slope of its own."""
    assert loss.separable
    task = Adversarial(Ring(), latent=4)
    task.prepare()
    torch.manual_seed(0)
    inputs, outputs = task.ports()
    model = MLP(inputs, outputs, width=16).double()  # type: ignore[arg-type]
    split = task.data.split("train")
    assert split is not None
    whole = task.draw(split.fetch(torch.arange(12), 0, 0), generator(1))

    whole = replace(
        whole,
        inputs=(whole.inputs[0].double(),),
        latents=(whole.latents[0].double(), whole.latents[1].double()),
        mix=whole.mix.double(),
    )

    def gradients(rows: slice, share: float) -> list[Tensor]:
        parameters = list(model.get_submodule(phase).parameters())
        value = share * task.loss(model, whole.rows(rows), loss, phase)
        return list(torch.autograd.grad(value, parameters, allow_unused=True))

    at_once = gradients(slice(0, 12), 1.0)
    first, second = gradients(slice(0, 8), 8 / 12), gradients(slice(8, 12), 4 / 12)
    for one, a, b in zip(at_once, first, second, strict=True):
        if one is not None:
            torch.testing.assert_close(one, a + b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", [AGAINST_THE_MEAN, R1_HINGE | {"loss": AGAINST_THE_MEAN}], ids=["alone", "within r1"])
def test_a_loss_that_compares_samples_is_not_cut(loss: Any, tmp_path: Path) -> None:
    experiment = duel(RING, {"name": "gan/mlp", "width": 8}, loss, device={"name": "cpu", "accumulate": 2})
    with pytest.raises(LabwrightError, match=r"device\.accumulate cuts .*compares the samples of a batch"):
        experiment.run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_spectral_critic_that_is_cut_says_what_differs(tmp_path: Path) -> None:
    run = duel(RING, SPECTRAL, train={"steps": 1, "batch_size": 16}, device={"name": "cpu", "accumulate": 2})
    trained = run.run(tmp_path / "run")
    assert any("spectral normalisation takes a power iteration for each micro-batch" in one for one in trained.notes)


@pytest.mark.parametrize(
    "task", [lambda: Adversarial(Ring(), latent=4), lambda: conditional()], ids=["ring", "squares"]
)
def test_what_is_measured_depends_on_the_seed_and_the_samples_alone(task: Callable[[], Adversarial]) -> None:
    made = task()
    made.prepare()
    torch.manual_seed(0)
    model = (ConditionalDCGAN if made.conditional else MLP)(*made.ports(), width=4)  # type: ignore[arg-type]
    cpu = torch.device("cpu")

    def drawn(size: int, seed: int) -> Tensor:
        batches = made.batches("valid", size=size, seed=seed, epoch=0)
        assert batches is not None
        return torch.cat([batch.latents for batch in batches])  # type: ignore[attr-defined]

    assert torch.equal(drawn(7, 0), drawn(40, 0)) and not torch.equal(drawn(7, 0), drawn(7, 1))
    few, many = (evaluate(made, model, "valid", device=cpu, size=size, seed=0) for size in (9, 40))
    assert few is not None and many is not None
    assert few.metrics == pytest.approx(many.metrics, rel=1e-4)


def test_what_is_measured_is_brought_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first of several processes puts it together: `gather_object` leaves a tensor on the sender's GPU."""
    task, came, to_cpu = conditional(judge_epochs=1), set[int](), Tensor.cpu
    task.prepare()
    batches = task.batches("valid", size=8, seed=0, epoch=0)
    assert batches is not None

    def cpu(tensor: Tensor) -> Tensor:
        came.add(tensor.data_ptr())
        return to_cpu(tensor)

    monkeypatch.setattr(Tensor, "cpu", cpu)
    (seen,) = task.evaluate(ConditionalDCGAN(*task.ports(), width=4), next(iter(batches)))
    assert {tensor.data_ptr() for tensor in vars(seen).values()} <= came


def test_a_phase_moves_its_own_network_only(tmp_path: Path) -> None:
    experiment = duel({**RING, "critic_steps": 2}, SPECTRAL, train={"steps": 1, "batch_size": 16})
    trainer = experiment.trainer(tmp_path / "run")
    before = {name: one.clone() for name, one in trainer.model.named_parameters()}
    trainer.fit()
    moved = {name.split(".")[0] for name, one in trainer.model.named_parameters() if not torch.equal(one, before[name])}
    assert moved == {"critic"}
    assert "Phase 'generator' is due once in 2 steps, and the run has 1: it is never trained." in trainer.run.notes


@pytest.mark.slow
@pytest.mark.long
def test_the_generator_learns_a_gaussian_in_seconds(tmp_path: Path) -> None:
    data = Ring(modes=1, radius=1.0, sigma=0.3)  # mean (1, 0)
    run = duel(
        Adversarial(data, latent=4),
        {"name": "gan/mlp", "width": 32, "depth": 2},
        R1_HINGE | {"weight": 0.3},
        optimizer={"name": "adam", "lr": 2e-3, "betas": [0.0, 0.9], "schedule": "linear"},
        train={"steps": 1000, "batch_size": 64, "ema": 0.99, "evaluate_every": "500 steps", "save_every": "1000 steps"},
    )
    trained = run.run(tmp_path / "run")
    with torch.no_grad():
        made = trained.model(torch.randn(4000, 4, generator=generator(5)))
    assert (made.mean(0) - torch.tensor([1.0, 0.0])).norm() < 0.1
    assert (made.std(0) - 0.3).abs().max() < 0.1
    assert trained.metrics["test"]["energy_distance"] < 0.02


@pytest.mark.slow
@pytest.mark.long
def test_a_conditional_pair_draws_what_it_is_asked_for(tmp_path: Path) -> None:
    run = duel(
        conditional(judge_epochs=8),
        {"name": "gan/cdcgan", "width": 8, "stages": 2},
        optimizer={"name": "adam", "lr": 2e-3, "betas": [0.0, 0.9]},
        train={"steps": 200, "batch_size": 32, "ema": 0.95, "evaluate_every": "200 steps", "save_every": "200 steps"},
    ).run(tmp_path / "run")
    metrics = run.metrics["test"]
    assert metrics["judge_accuracy"] > 0.95
    assert metrics["read_as_asked"] > 0.95
    of_asked = {"judge_accuracy", "read_as_asked", "spread", "generated_alone"}
    assert set(metrics) == {"fid", "kid", *PRDC, "memorised", *of_asked}
    assert metrics["generated_alone"] > 0.9 and metrics["prdc/precision"] > 0.3
    section, between = run.task.report(run.model, "test", run.device)
    assert between.title == "From one sample to another"
    assert isinstance(section.figure.axes[0].get_title(), str)
    assert [label.get_text() for label in section.figure.axes[0].get_yticklabels()] == list(NAMES)


def test_the_way_between_latents_keeps_to_the_sphere_at_an_even_pace() -> None:
    first, second = (nn.functional.normalize(torch.randn(5, 8, generator=generator(seed)), dim=1) for seed in (1, 2))
    way = [spherical(first, second, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    torch.testing.assert_close(way[0], first)
    torch.testing.assert_close(way[-1], second)
    for latents in way:
        torch.testing.assert_close(latents.norm(dim=1), torch.ones(5))
    angles = [torch.arccos((one * other).sum(1)) for one, other in pairwise(way)]
    for angle in angles[1:]:
        torch.testing.assert_close(angle, angles[0])


def test_latents_on_one_line_are_gone_between_straight() -> None:
    first, second = torch.tensor([[1.0], [1.0], [3.0]]), torch.tensor([[2.0], [-1.0], [3.0]])
    torch.testing.assert_close(spherical(first, second, 0.25), torch.tensor([[1.25], [0.5], [3.0]]))


def test_what_a_report_shows_is_of_all_of_a_part_that_lies_in_the_order_of_its_classes() -> None:
    class Sorted(Squares):
        def prepare(self) -> None:
            super().prepare()
            x, labels = squares(4000, 8, 1, 3)
            order = labels.argsort(stable=True)
            self.splits["test"] = lw.TensorSplit((x[order],), labels[order])

    task = Adversarial(Sorted(), latent=4, conditional=True, judge_epochs=1)
    task.prepare()
    task.best = lambda split: {}
    model = ConditionalDCGAN(*task.ports(), width=4)
    section, _ = task.report(model, "test", torch.device("cpu"))
    sheet = np.asarray(section.figure.axes[1].images[0].get_array())
    for row, (top, left) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):  # the bright quarter of each class
        drawn = sheet[9 * row : 9 * row + 8, :8].astype(float)
        assert drawn[top : top + 4, left : left + 4].mean() > 1.5 * drawn.mean()


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.long)])
def test_what_was_learned_from_the_data_is_enough_to_draw(channels: int, tmp_path: Path) -> None:
    run = duel(
        Adversarial(Squares(channels=channels), latent=4, conditional=True, judge_epochs=1),
        {"name": "gan/cdcgan", "width": 4},
        train={"steps": 2, "batch_size": 16},
    ).run(tmp_path / "run")
    verify(tmp_path / "run" / "task")
    there = Adversarial(Squares(channels=channels), latent=4, conditional=True, judge_epochs=1)
    there.load(tmp_path / "run" / "task")  # and no prepare()
    assert there.ports() == run.task.ports()
    inputs = there.parse("bottom left:3")
    with torch.no_grad():
        (here,) = run.task.predict(run.model.eval(), inputs, [None])
        (answer,) = there.predict(run.model, inputs, [None])
    picture = answer["picture"]
    assert isinstance(picture, lw.Attachment) and picture == here["picture"]
    opened = Image.open(io.BytesIO(picture.data))
    assert (opened.size, opened.mode, opened.format) == ((8, 8), "L" if channels == 1 else "RGB", "PNG")
    assert {name.partition("/")[0] for name in run.metrics["test"]} == there.metrics().keys()
    judged = [task.judge(torch.zeros(1, channels, 8, 8))[1] for task in (run.task, there)]
    assert torch.equal(*judged)


def test_a_line_is_a_class_and_the_seed_of_a_sample() -> None:
    task = conditional()
    task.prepare()
    latent, label = task.parse("top right")
    again, _ = task.parse("top right:0")
    other, same = task.parse("top right:1")
    assert label.tolist() == same.tolist() == [1]
    assert torch.equal(latent, again) and not torch.equal(latent, other)
    plain = Adversarial(Ring(), latent=4)
    plain.prepare()
    assert (task.line, plain.line) == ("label", "seed")
    assert torch.equal(plain.parse("1")[0], other)
    for line in ("-1", "1.5", "one"):
        with pytest.raises(LabwrightError, match="a seed is a whole number of 18 digits at most, such as 7"):
            plain.parse(line)
    with pytest.raises(LabwrightError, match="a seed is a whole number of 18 digits at most, such as top left:7"):
        task.parse("top left:x")
    with pytest.raises(LabwrightError, match="did you mean 'top left'"):
        task.parse("top lefft")


def test_a_generator_of_files_says_what_it_takes() -> None:
    task = conditional()
    task.prepare()
    with pytest.raises(LabwrightError, match="takes --label TEXT"):
        task.predict(nn.Identity(), (torch.zeros(1, 1, 8, 8),), [None])


def test_pictures_reach_from_minus_one_to_one_in_each_channel_and_back() -> None:
    data = Squares(channels=3)
    data.prepare()
    train = data.split("train")
    assert train is not None
    train.inputs[0][:, 1] = train.inputs[0][:, 1] * 5 + 2
    train.inputs[0][:, 2] = 0.25  # one value throughout
    scaling = Scaling.of(train, "here")
    unit = scaling.unit(train.inputs[0])
    assert unit[:, :2].amin((0, 2, 3)).tolist() == pytest.approx([-1, -1])
    assert unit[:, :2].amax((0, 2, 3)).tolist() == pytest.approx([1, 1])
    assert unit[:, 2].unique().tolist() == [0]
    torch.testing.assert_close(scaling.data(unit), train.inputs[0])


def test_pictures_of_one_colour_are_refused() -> None:
    data = Squares()
    data.prepare()
    train = data.split("train")
    assert train is not None
    train.inputs[0][:] = 1.0
    with pytest.raises(LabwrightError, match="Squares: all training pictures are of one colour"):
        Scaling.of(train, "Squares")


def test_a_split_of_one_sample_is_refused() -> None:
    with pytest.raises(LabwrightError, match="'valid' split of Squares has 1 sample"):
        Adversarial(Squares(held_out=1)).prepare()


def test_pictures_without_classes_are_compared_by_their_pixels(tmp_path: Path) -> None:
    run = duel(Adversarial(Unlabelled(), latent=4), {"name": "gan/dcgan", "width": 4}).run(tmp_path / "run")
    assert set(run.metrics["test"]) == {"fid", "kid", *PRDC, "memorised"}
    assert set(run.metrics["valid"]) == {"fid", "kid", *PRDC}
    section, _ = run.task.report(run.model, "test", run.device)
    assert "averaged to 8x8" in section.note
    for settings in ({"conditional": True}, {"judge": Path("runs")}):
        with pytest.raises(LabwrightError, match=r"needs classes; Unlabelled has targets Values"):
            Adversarial(Unlabelled(), **settings)


def test_data_that_is_neither_pictures_nor_points_is_refused() -> None:
    class Words(Squares):
        item = lw.Tokens

    with pytest.raises(LabwrightError, match="makes pictures or points; Words offers Tokens"):
        Adversarial(Words())


def test_the_judge_is_a_function_of_the_data_and_the_epochs() -> None:
    tasks = [conditional(), conditional()]
    for number, task in enumerate(tasks):
        torch.manual_seed(number)
        task.prepare()
    one, same = (task.judge for task in tasks)
    assert one is not None and same is not None
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))


def test_the_ring_is_what_it_says() -> None:
    data = Ring()
    data.prepare()
    train = data.split("train")
    assert train is not None
    assert data.centres.norm(dim=1).tolist() == pytest.approx([2.0] * 8)
    away = train.inputs[0] - data.centres[train.labels]
    assert away.std(0).tolist() == pytest.approx([0.05, 0.05], rel=0.03)
    assert (away.norm(dim=1) < 0.15).float().mean().item() == pytest.approx(0.989, abs=0.005)  # 1 - exp(-9 / 2)
    assert (data.split("valid") is not None) and data.split("other") is None


@pytest.mark.parametrize("loss", [{"name": "gan/wasserstein"}, R1_HINGE], ids=["wasserstein", "r1"])
def test_a_penalty_on_the_slope_of_a_critic_with_batch_norm_is_refused(loss: dict[str, Any], tmp_path: Path) -> None:
    experiment = duel(conditional(), {"name": "gan/cdcgan", "width": 4, "stages": 2, "critic_norm": "batch"}, loss)
    with pytest.raises(LabwrightError, match=r"goes with model\.critic_norm=spectral or none"):
        experiment.run(tmp_path / "run")


@pytest.mark.long
def test_a_film_shows_as_many_moments_and_changes_nothing(tmp_path: Path) -> None:
    finals = []
    for film in (0, 4):
        task = conditional(judge_epochs=1, film=film, critic_steps=2)
        model = {"name": "gan/cdcgan", "width": 4}
        run = duel(task, model, train={"steps": 12, "batch_size": 16}, device="cpu").run(tmp_path / f"{film}")
        finals.append(run.model.state_dict())
    films = [section for section in run.task.report(run.model, "test", run.device) if isinstance(section, lw.Film)]
    with Image.open(io.BytesIO(films[0].gif)) as gif:
        assert gif.n_frames == 4 and gif.size == (89 * 5, 17 * 5)  # 10 times 2 pictures of 8x8, 5 times as large
    assert all(torch.equal(one, finals[1][name]) for name, one in finals[0].items())
    assert "gone on with" not in films[0].note


@pytest.mark.long
def test_a_film_of_a_run_that_was_gone_on_with_says_where_it_begins(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"train": {"steps": 12, "batch_size": 16}, "device": "cpu"}
    experiment = duel(conditional(judge_epochs=1, film=4), {"name": "gan/cdcgan", "width": 4}, **settings)
    experiment.trainer(tmp_path / "run").fit(until=6)
    run, _ = experiment.resumed(tmp_path / "run")
    run.fit()
    films = [section for section in run.task.report(run.model, "test", run.device) if isinstance(section, lw.Film)]
    assert "It begins at 50% of the run, which was gone on with" in films[0].note


@pytest.mark.parametrize(("steps", "moments"), [(3, 20), (7, 10), (20, 20), (50, 4)])
def test_a_whole_film_of_fewer_steps_than_moments_is_not_taken_for_a_part_of_one(steps: int, moments: int) -> None:
    shown = dict.fromkeys(sorted({int(step / steps * moments) / moments for step in range(1, steps + 1)} - {0.0}))
    whole = report.film({share: torch.zeros(1, 1, 2, 2) for share in shown}, 1)
    assert "gone on with" not in whole.note


class OneClass(Squares):
    """Pictures of the first class alone, though there are four."""

    def prepare(self) -> None:
        super().prepare()
        for name, split in self.splits.items():
            rows = split.labels == 0
            self.splits[name] = lw.TensorSplit((split.inputs[0][rows],), split.labels[rows])


class Nameless(OneClass, Unlabelled):
    """The same without classes."""


def test_pictures_of_one_class_are_not_asked_for_by_class_nor_judged_by_what_tells_classes_apart() -> None:
    with pytest.raises(LabwrightError, match=r"task\.conditional: of the classes .* are of top left alone"):
        Adversarial(OneClass(), conditional=True).prepare()
    task, same = (Adversarial(data, latent=4) for data in (OneClass(), Nameless()))
    task.prepare()
    same.prepare()
    model = DCGAN(*task.ports(), width=4)
    figures = [evaluate(one, model, "valid", device=torch.device("cpu"), size=8, seed=0) for one in (task, same)]
    assert figures[0] is not None and figures[1] is not None
    # as where there are no classes: of pixels
    assert figures[0].metrics == pytest.approx(figures[1].metrics, nan_ok=True)


@pytest.mark.parametrize("data", [Unlabelled, OneClass])
def test_a_loaded_run_measures_by_the_same_features_as_the_run_did(data: type[Squares], tmp_path: Path) -> None:
    task, there = (Adversarial(data(side=12), latent=4) for _ in range(2))
    task.prepare()
    task.save(tmp_path)
    there.load(tmp_path)
    there.data.prepare()
    model = DCGAN(*task.ports(), width=4)
    both = [evaluate(one, model, "test", device=torch.device("cpu"), size=8, seed=0) for one in (task, there)]
    assert both[0] is not None and both[1] is not None and both[0].metrics == both[1].metrics


@pytest.mark.parametrize("count", [2, 65, 129])
def test_a_judge_learns_of_any_number_of_tiny_pictures(count: int) -> None:
    pictures, labels = squares(count, 4, 1, 0)  # of which its last convolution leaves a pixel
    judge = trained(lw.TensorSplit((pictures,), labels), lw.Image(1, 4, 4), 4, 1)
    assert judge(pictures)[1].isfinite().all()


def test_what_samples_are_is_told_of_targets_in_tables_as_well() -> None:
    class Boxed(lw.TensorSplit):
        def fetch(self, indices: Tensor, epoch: int, seed: int) -> lw.Batch:
            batch = super().fetch(indices, epoch, seed)
            labels = batch.targets
            return lw.Batch(batch.inputs, {"boxes": labels[:, None].repeat(1, 4), "parts": (labels, labels + 1)})

    (pictures, labels), (others, _) = squares(8, 8, 1, 0), squares(8, 8, 1, 1)
    digests = [
        digest(Boxed((x,), y))
        for x, y in ((pictures, labels), (pictures, labels), (others, labels), (pictures, 3 - labels))
    ]
    assert digests[0] == digests[1] and len(set(digests)) == 3


# ------------------------------------------------------------------------------------------------------------ floors


@pytest.mark.parametrize("conditional", [False, True])
def test_values_drawn_by_themselves_are_far_from_real_pictures_and_training_pictures_near(conditional: bool) -> None:
    task = Adversarial(Squares(), conditional=conditional, judge_epochs=2)
    task.prepare()
    (floor,) = task.floors("test").values()
    best = task.best("test")
    assert 0 <= best["fid"] < floor["fid"] / 3 and best["kid"] < floor["kid"]
    assert "memorised" in best and best["memorised"] == 1  # they are repeated, after all
    if conditional:  # training pictures are those of the class asked for
        assert best["read_as_asked"] == pytest.approx(best["judge_accuracy"], abs=0.1)
        assert best["read_as_asked"] > 0.5  # of four classes
    assert [*task.floors("test").values()] == [floor]  # the same each time


def test_values_drawn_by_themselves_are_those_of_the_training_samples_at_each_place() -> None:
    samples = torch.arange(12.0).view(4, 3)
    drawn = Shown(samples, each_alone=True)(torch.zeros(600, 1))
    assert [sorted(column.unique().tolist()) for column in drawn.T] == [sorted(column.tolist()) for column in samples.T]
    assert len(drawn.unique(dim=0)) > 50  # of 64 that there can be
    shown = Shown(samples, torch.tensor([0, 0, 1, 1]))(torch.zeros(200, 1), torch.tensor([0, 1] * 100))
    assert set(shown[::2, 0].tolist()) == {0.0, 3.0} and set(shown[1::2, 0].tolist()) == {6.0, 9.0}


def test_points_have_a_floor_as_well() -> None:
    task = Adversarial(Ring())
    task.prepare()
    (floor,) = task.floors("valid").values()
    assert floor["energy_distance"] > 0
