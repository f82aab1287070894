"""What augmentation does to pictures, that gradients pass, and that its strength follows the critic and is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import LabwrightError, generator
from labwright_gan.adaptive import Adaptive
from labwright_gan.augment import augmented, draws
from labwright_gan.data.ring import Ring
from labwright_gan.task import Adversarial
from labwright_testing.verify_resume import verify_resume
from torch import Tensor, nn

ALL = ("colour", "translation", "cutout")


class Faces(lw.Data):
    """Random pictures of two classes."""

    item = lw.Image
    target = lw.Classes
    source = "made by this test"
    licence = "none needed"

    def prepare(self) -> None:
        self.parts = {
            name: lw.TensorSplit((torch.rand(40, 1, 8, 8, generator=generator(seed)),), torch.arange(40) % 2)
            for seed, name in enumerate(("train", "test"))
        }

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Image(1, 8, 8), lw.Classes(("a", "b"))

    def split(self, name: str) -> lw.TensorSplit | None:
        return self.parts.get(name)


class Validated(Faces):
    """The same with something to validate on."""

    def prepare(self) -> None:
        super().prepare()
        self.parts["valid"] = self.parts["test"]


def pictures(count: int = 64, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 16, 12, generator=generator(5)) * 2 - 1


def test_colour_keeps_what_the_paper_says_it_keeps() -> None:
    x = pictures()
    drawn = draws(("colour",), 1.0, len(x), generator(1))
    brightness, saturation, contrast = drawn[:, :3].T
    changed = augmented(x, ("colour",), drawn)
    # the mean moves by the brightness alone; what is left of it is scaled by the contrast, colours by both
    torch.testing.assert_close(changed.mean((1, 2, 3)), x.mean((1, 2, 3)) + brightness - 0.5)
    colour = x - x.mean(1, keepdim=True)
    factor = (2 * saturation * (contrast + 0.5)).view(-1, 1, 1, 1)
    torch.testing.assert_close(changed - changed.mean(1, keepdim=True), colour * factor)


def test_translation_moves_whole_pixels_up_to_an_eighth_and_fills_with_0() -> None:
    x = pictures() + 5
    drawn = draws(("translation",), 1.0, len(x), generator(1))
    moves = [((drawn[:, axis] * (2 * most + 1)).floor() - most).long().tolist() for axis, most in ((0, 2), (1, 2))]
    for before, after, down, right in zip(x, augmented(x, ("translation",), drawn), *moves, strict=True):
        rolled = before.roll((down, right), (1, 2))
        empty = torch.zeros(16, 12, dtype=torch.bool)
        empty[slice(0, down) if down > 0 else slice(16 + down, 16)] = True
        empty[:, slice(0, right) if right > 0 else slice(12 + right, 12)] = True
        torch.testing.assert_close(after, rolled.masked_fill(empty, 0.0))
    assert {min(moves[0]), max(moves[0]), min(moves[1]), max(moves[1])} == {-2, 2}


def test_cutout_takes_a_rectangle_of_half_of_each_side() -> None:
    x = torch.ones(300, 1, 16, 12)
    cut = augmented(x, ("cutout",), draws(("cutout",), 1.0, 300, generator(1)))[:, 0] == 0
    sizes = cut.any(2).sum(1) * cut.any(1).sum(1)
    assert torch.equal(sizes, cut.sum((1, 2)))  # a rectangle
    assert int(sizes.max()) == 8 * 6 and int(sizes.min()) < 8 * 6  # one in the corner is cut off by the edge
    assert cut.any(0).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_each_kind_is_done_with_its_probability(share: float) -> None:
    x = pictures(2000, 1)
    for kind in ALL:
        changed = augmented(x, (kind,), draws((kind,), share, len(x), generator(2)))
        same = (changed == x).flatten(1).all(1).float().mean().item()
        still = 1 - share * (24 / 25 if kind == "translation" else 1)  # one move of 25 is none
        assert same == pytest.approx(still, abs=0.03 if 0 < still < 1 else 1e-6)


def test_gradients_pass_through_and_agree_with_differences() -> None:
    x = pictures(2).double().requires_grad_()
    drawn = draws(ALL, 1.0, 2, generator(3)).double()
    assert torch.autograd.gradcheck(lambda one: augmented(one, ALL, drawn), (x,))


def test_the_critic_sees_real_and_generated_pictures_changed_and_the_generator_learns_through_it() -> None:
    task = Adversarial(Faces(), latent=4, augment=("cutout",), judge_epochs=1)
    task.prepare()
    part = task.data.split("train")
    assert part is not None
    batch = task.draw(part.fetch(torch.arange(16), 0, 0), generator(1))
    seen: list[Tensor] = []

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8)))
            self.critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))

    from labwright_gan.losses import Hinge

    model = Model()
    model.critic.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for phase in ("critic", "generator"):
        task.loss(model, batch, Hinge(), phase)
    cut = [(one[:, 0] == 0).sum((1, 2)) for one in seen]
    assert len(cut) == 3 and all(bool((one >= 4).all()) for one in cut)  # 4x4 of 8x8, less at the edges
    assert not torch.equal(cut[0], cut[1])  # each has draws of its own


def adaptive(**changed: Any) -> lw.Experiment:
    settings: dict[str, Any] = {
        "task": {"name": "gan/adaptive", "data": Faces, "latent": 4, "judge_epochs": 1, "ramp": 400},
        "model": {"name": "gan/dcgan", "width": 4},
        "loss": "gan/hinge",
        "optimizer": {"name": "adam", "lr": 0.01, "betas": [0.0, 0.9]},
        "device": "cpu",
        "train": {"steps": 14, "batch_size": 16},
        "log": (),
    } | changed
    return lw.Experiment(**settings)


@pytest.mark.slow
def test_the_strength_is_part_of_a_checkpoint_and_resumes_exactly() -> None:
    verdict = verify_resume(adaptive(), 9)
    assert verdict.exact, verdict


def test_it_rises_where_the_critic_is_sure_and_falls_where_it_is_not() -> None:
    task = Adaptive(Faces(), latent=4, ramp=320, judge_epochs=1)
    task.prepare()
    part = task.data.split("train")
    assert part is not None
    model = nn.ModuleDict({"critic": nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))})
    shares = []
    for bias in (100.0, -100.0):  # so that every score says real, or none
        nn.init.constant_(model["critic"][1].bias, bias)  # type: ignore[index]
        for _ in range(8):
            task.draw(part.fetch(torch.arange(16), 0, 0), generator(1))
            task.after_step(model, "critic", 0.5)
            task.after_step(model, "generator", 0.5)
            shares.append(task.share)
    # 4 updates of 16 pictures are a fifth of the ramp
    assert shares == pytest.approx([0, 0, 0, 0.2, 0.2, 0.2, 0.2, 0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2, 0.0])
    kept = task.state()
    task.phases()  # another run begins
    assert (task.share, task.state()["updates"]) == (0.0, 0)
    task.load_state(kept)
    assert task.state() == kept


@pytest.mark.slow
def test_the_log_tells_the_strength_beside_what_is_measured_while_it_trains(tmp_path: Path) -> None:
    run = adaptive(
        task={"name": "gan/adaptive", "data": Validated, "latent": 4, "judge_epochs": 1, "ramp": 400},
        train={"steps": 14, "batch_size": 16, "evaluate_every": "7 steps", "save_every": "7 steps"},
    ).run(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    told = [line["metrics"]["augmented"] for line in lines if line.get("split") == "valid"]
    # from 0 by 4 * 16 / 400 up or down at the 4th, the 8th and the 12th update
    assert told[0] in (0.0, pytest.approx(0.16)) and told[1] == pytest.approx(run.task.share)
    assert "augmented" not in run.metrics["test"]
    assert "augmented" not in run.task.best("valid") | next(iter(run.task.floors("valid").values()))
    loaded = Adaptive(Validated(), latent=4, judge_epochs=1)
    loaded.load(tmp_path / "run" / "task")
    assert "augmented" not in loaded.metrics()  # of a run that isn't trained it isn't known


def test_scores_without_a_sign_are_refused_and_so_are_points(tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match=r"says nothing where they come of Wasserstein; 'gan/hinge'"):
        adaptive(loss={"name": "gan/wasserstein", "penalty": 0.0}).run(tmp_path / "run")
    with pytest.raises(LabwrightError, match=r"task\.augment: it changes pictures; Ring offers points"):
        Adversarial(Ring(), augment=("cutout",))
