"""SAM and PCGrad: closed forms on quadratics in float64, a loop written by hand, and what neither can train."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright_tasks.pcgrad import ProjectedGradients, without_conflicts
from labwright_tasks.sam import SharpnessAware
from torch import Generator, Tensor, nn
from torch.nn import functional

STEPS, LR = 12, 0.1
CURVES = {"left": torch.tensor([4.0, 1.0, 0.5]), "right": torch.tensor([0.3, 2.0, 3.0])}  # diagonals of A
CENTRES = {"left": torch.tensor([1.0, -1.0, 2.0]), "right": torch.tensor([-2.0, 1.5, 2.0])}


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Rows(lw.Data):
    """Rows of three numbers, which are their own targets."""

    item, target = lw.Features, lw.Values
    source = "made by this test"
    licence = "CC0-1.0"

    def prepare(self) -> None:
        self.x_ND = 0.1 * torch.randn(32, 3, generator=Generator().manual_seed(1))

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return lw.Features((3,)), lw.Values(3)

    def split(self, name: str) -> lw.TensorSplit | None:
        return lw.TensorSplit((self.x_ND,), self.x_ND) if name in ("train", "valid") else None


class Point(nn.Module):
    """Three numbers that both parts of the loss depend on, and one for each part alone; the input is added to all."""

    def __init__(self, inputs: lw.Features, outputs: lw.Values) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.tensor([3.0, 2.0, -1.0]))
        self.left, self.right = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(-0.5))

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.shared + x_BD


class Bowls(lw.Task):
    """Two quadratics that pull to different centres, means over the batch: (w - c + x)' A (w - c + x) / 2."""

    goal = lw.Goal("value", "minimize")

    def __init__(self, data: lw.Data) -> None:
        self.data = data

    def loss(self, model: Any, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:
        point_BD = model(*batch.inputs)
        return {
            name: (CURVES[name] * (point_BD - CENTRES[name]).square()).sum(1).mean() / 2 + getattr(model, name) ** 2
            for name in CURVES
        }

    def evaluate(self, model: Any, batch: lw.Batch) -> tuple[Tensor]:
        return (torch.stack(tuple(Bowls.loss(self, model, batch, None, "train").values())).sum(),)

    def metrics(self) -> dict[str, lw.Metric]:
        return {"value": lw.Mean()}


class OneBowl(Bowls):
    """Their sum as one number."""

    def loss(self, model: Any, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:  # type: ignore[override]
        return torch.stack(tuple(super().loss(model, batch, criterion, phase).values())).sum()


class Alternating(Bowls):
    """The two in phases, each with its own number alone."""

    def phases(self) -> tuple[lw.Phase, ...]:
        return lw.Phase("left", ("first",)), lw.Phase("right", ("second",))


def rows_ND() -> Tensor:
    data = Rows()
    data.prepare()
    return data.x_ND


def trained(folder: Path, task: Any, method: Any, model: Any = Point, **changed: Any) -> lw.Run:
    settings: dict[str, Any] = {
        "optimizer": {"name": "sgd", "lr": LR, "momentum": 0.0},
        "train": {"steps": STEPS, "batch_size": 32},
        "device": {"name": "cpu"},
        "log": (),
    }
    return lw.Experiment(task=task, model=model, method=method, **{**settings, **changed}).run(folder)


def test_sam_steps_as_the_closed_form_on_a_quadratic_says(tmp_path: Path) -> None:
    rho = 0.3
    run = trained(tmp_path / "run", OneBowl(Rows()), SharpnessAware(rho=rho))
    x = rows_ND().mean(0)
    w, own = torch.tensor([3.0, 2.0, -1.0]), torch.tensor([0.5, -0.5])

    def slope(w: Tensor, own: Tensor) -> Tensor:
        bowls = [CURVES[name] * (w + x - CENTRES[name]) for name in CURVES]
        return torch.cat([bowls[0] + bowls[1], 2 * own])

    for _ in range(STEPS):
        g = slope(w, own)
        climbed = torch.cat([w, own]) + rho * g / g.norm()
        w, own = (torch.cat([w, own]) - LR * slope(climbed[:3], climbed[3:])).split([3, 2])
    model: Any = run.model
    torch.testing.assert_close(model.shared.detach(), w, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.stack([model.left, model.right]).detach(), own, rtol=0, atol=1e-12)


class Net(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Values) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def fitted(folder: Path, method: Any, **changed: Any) -> lw.Run:
    task = {"name": "regression", "data": Rows()}
    return trained(folder, task, method, Net, loss="mse", **changed)


def test_sam_is_the_loop_one_would_write_by_hand(tmp_path: Path) -> None:
    run = fitted(tmp_path / "run", SharpnessAware(rho=0.1))
    model: Any = (
        lw.Experiment(
            task={"name": "regression", "data": Rows()}, model=Net, loss="mse", optimizer="sgd", train={"steps": 1}
        )
        .build()
        .model
    )
    x = y = rows_ND()
    for _ in range(STEPS):  # Foret et al. 2021, algorithm 1; one batch is all there is, so that its order is no matter
        parameters = list(model.parameters())
        g = torch.autograd.grad(functional.mse_loss(model(x), y), parameters)
        length = torch.sqrt(sum(each.square().sum() for each in g))  # type: ignore[arg-type]
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        with torch.no_grad():
            for parameter, each in zip(parameters, g, strict=True):
                parameter += 0.1 * each / length
        h = torch.autograd.grad(functional.mse_loss(model(x), y), parameters)
        model.load_state_dict(kept)
        with torch.no_grad():
            for parameter, each in zip(parameters, h, strict=True):
                parameter -= LR * each
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=0, atol=1e-12, msg=name)


def test_the_climb_is_undone_bit_for_bit_and_statistics_are_of_the_first_pass(tmp_path: Path) -> None:
    seen = []

    class Watched(SharpnessAware):
        def gradients(
            self, update: lw.Update, batches: Sequence[Any], weights: Sequence[float]
        ) -> Mapping[str, Tensor]:
            before = [parameter.detach().clone() for parameter in update.parameters]
            losses = super().gradients(update, batches, weights)
            seen.extend(torch.equal(*pair) for pair in zip(before, update.parameters, strict=True))
            return losses

    sharp = fitted(tmp_path / "sharp", Watched(rho=0.7), train={"steps": 1, "batch_size": 32})
    plain = fitted(tmp_path / "plain", lw.Method(), train={"steps": 1, "batch_size": 32})
    assert seen and all(seen)
    for name, buffer in plain.model.named_buffers():  # of one step from the same weights: the first pass is the same
        assert torch.equal(buffer, dict(sharp.model.named_buffers())[name]), name


def test_clipping_bounds_the_gradient_that_sam_found(tmp_path: Path) -> None:
    clip = {"train": {"steps": 1, "batch_size": 32, "clip": 0.01}}
    run = trained(tmp_path / "run", OneBowl(Rows()), SharpnessAware(rho=0.3), **clip)
    model: Any = run.model
    step = torch.cat(
        [model.shared - torch.tensor([3.0, 2.0, -1.0]), torch.stack([model.left - 0.5, model.right + 0.5])]
    )
    assert float(step.detach().norm()) == pytest.approx(LR * 0.01, rel=1e-5)  # clip_grad_norm_ adds 1e-6 to the norm


class Two(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Values) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 1, bias=False), nn.Linear(3, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x), self.second(x)], dim=1)


class Turns(Bowls):
    """Two phases, the second of which goes through the first's weights."""

    def phases(self) -> tuple[lw.Phase, ...]:
        return lw.Phase("one", ("first",)), lw.Phase("other", ("second",))

    def loss(self, model: Any, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:  # type: ignore[override]
        both = model(*batch.inputs)
        return (both[:, 0] * both[:, 1]).mean() + both.square().mean()

    def evaluate(self, model: Any, batch: lw.Batch) -> tuple[Tensor]:
        return (self.loss(model, batch, None, "one"),)


def test_each_of_several_phases_climbs_with_its_own_parameters(tmp_path: Path) -> None:
    one = {"steps": 1, "batch_size": 32}
    run = trained(tmp_path / "run", Turns(Rows()), SharpnessAware(rho=0.2), Two, train=one)
    task, x = Turns(Rows()), rows_ND()
    model: Any = lw.Experiment(task=task, model=Two, optimizer="sgd", train={"steps": 1}).build().model
    for name in ("first", "second"):
        weight = getattr(model, name).weight
        (g,) = torch.autograd.grad(task.loss(model, lw.Batch((x,), x), None, name), weight)
        weight.data += 0.2 * g / g.norm()
        (h,) = torch.autograd.grad(task.loss(model, lw.Batch((x,), x), None, name), weight)
        weight.data += -0.2 * g / g.norm() - LR * h
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=0, atol=1e-12, msg=name)


# ------------------------------------------------------------------------------------------------------------- PCGrad


def by_hand(gradients: Sequence[Tensor], order: Generator) -> Tensor:
    """Yu et al. 2020, algorithm 1."""
    total = torch.zeros_like(gradients[0])
    for own, gradient in enumerate(gradients):
        projected = gradient.clone()
        for other in torch.randperm(len(gradients), generator=order).tolist():
            against = torch.dot(projected, gradients[other])
            if other != own and against < 0:
                projected -= against / gradients[other].norm() ** 2 * gradients[other]
        total += projected
    return total


@pytest.mark.parametrize(
    ("left", "right", "whole"),
    [
        ([1.0, 0.0], [1.0, 1.0], [2.0, 1.0]),  # cosine > 0: the sum
        ([1.0, 0.0], [0.0, 3.0], [1.0, 3.0]),  # orthogonal: the sum
        ([1.0, 0.0], [-1.0, 1.0], [0.5, 1.5]),  # (1, 0) becomes (1/2, 1/2), (-1, 1) becomes (0, 1)
        ([2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]),  # opposite: nothing is left of either
        ([1.0, 2.0], [0.0, 0.0], [1.0, 2.0]),  # one has come to rest
    ],
)
def test_two_gradients_conflict_where_their_cosine_is_negative(
    left: list[float], right: list[float], whole: list[float]
) -> None:
    (found,) = without_conflicts([[torch.tensor(left)], [torch.tensor(right)]], Generator().manual_seed(0))
    assert found is not None
    torch.testing.assert_close(found, torch.tensor(whole), rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", range(20))
def test_many_gradients_are_projected_one_after_the_other_in_a_drawn_order(seed: int) -> None:
    random = Generator().manual_seed(seed)
    each = [torch.randn(7, generator=random) for _ in range(5)]
    pieces = [[gradient[:3].view(3, 1), gradient[3:]] for gradient in each]
    found = without_conflicts(pieces, Generator().manual_seed(seed))  # type: ignore[arg-type]
    flat = torch.cat([piece.flatten() for piece in found if piece is not None])
    torch.testing.assert_close(flat, by_hand(each, Generator().manual_seed(seed)), rtol=0, atol=1e-12)


def test_what_one_part_alone_depends_on_is_left_as_it_is_and_counts_for_nothing() -> None:
    shared = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    own = torch.tensor([1e6]), torch.tensor([-3.0])
    first, left, right, unused = without_conflicts(
        [[shared[0], own[0], None, None], [shared[1], None, own[1], None]], Generator().manual_seed(0)
    )
    assert first is not None and unused is None
    torch.testing.assert_close(first, torch.tensor([0.5, 1.5]), rtol=0, atol=1e-15)
    assert left is own[0] and right is own[1]


def test_pcgrad_trains_as_the_loop_one_would_write_by_hand(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", Bowls(Rows()), "pcgrad")
    x = rows_ND().mean(0)
    w, own, conflicts = torch.tensor([3.0, 2.0, -1.0]), {"left": 0.5, "right": -0.5}, 0
    for _ in range(STEPS):
        both = [CURVES[name] * (w + x - CENTRES[name]) for name in CURVES]
        conflicts += int(torch.dot(*both) < 0)
        w = w - LR * by_hand(both, Generator().manual_seed(0))  # of two gradients the order is no matter
        own = {name: value - LR * 2 * value for name, value in own.items()}
    model: Any = run.model
    assert 0 < conflicts < STEPS
    torch.testing.assert_close(model.shared.detach(), w, rtol=0, atol=1e-12)
    assert [model.left.item(), model.right.item()] == pytest.approx([own["left"], own["right"]], abs=1e-12)


def test_without_conflicts_pcgrad_is_descent(tmp_path: Path) -> None:
    class Agreeing(Bowls):
        def loss(self, model: Any, batch: lw.Batch, criterion: Any, phase: str) -> dict[str, Tensor]:
            left = super().loss(model, batch, criterion, phase)["left"]
            return {"one": left, "half": left / 2}

    projected = trained(tmp_path / "projected", Agreeing(Rows()), "pcgrad").model.state_dict()
    for name, value in trained(tmp_path / "plain", Agreeing(Rows()), "descent").model.state_dict().items():
        torch.testing.assert_close(projected[name], value, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("method", ["sam", "pcgrad", "descent"])
def test_accumulation_changes_nothing(method: str, tmp_path: Path) -> None:
    def after(accumulate: int) -> Tensor:
        device = {"name": "cpu", "accumulate": accumulate}
        model: Any = trained(tmp_path / f"{accumulate}", Bowls(Rows()), method, device=device).model
        return model.shared.detach()

    whole, halves, quarters = after(1), after(2), after(4)
    torch.testing.assert_close(halves, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(quarters, whole, rtol=0, atol=1e-12)


def test_the_log_has_the_sum_and_each_part_of_it(tmp_path: Path) -> None:
    logged: dict[str, list[dict[str, Tensor]]] = {}
    for method in ("descent", "pcgrad", "sam"):

        class Listening:
            @lw.hookimpl
            def labwright_step_ended(self, losses: Mapping[str, Tensor], method: str = method) -> None:
                logged.setdefault(method, []).append(dict(losses))

        one = {"steps": 1, "batch_size": 32}
        lw.Experiment(
            task=Bowls(Rows()), model=Point, method=method, optimizer="sgd", train=one, log=[Listening()]
        ).run(tmp_path / method)
    first = logged["descent"][0]
    assert list(first) == ["train", "train/left", "train/right"]
    for method in ("pcgrad", "sam"):
        for name, value in first.items():
            torch.testing.assert_close(logged[method][0][name], value, rtol=0, atol=1e-12)


# ----------------------------------------------------------------------------------------------------- what they refuse


class Looking(nn.Module):
    def __init__(self, inputs: lw.Features, outputs: lw.Values) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.table(x[:, 0].long() % 4)
        return out


@pytest.mark.parametrize("method", ["sam", "pcgrad"])
def test_sparse_gradients_are_refused(method: str, tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match=f"method: '{method}'.*'table' is sparse.*sparse=False"):
        trained(tmp_path / "run", Bowls(Rows()), method, Looking)


def test_pcgrad_is_refused_where_the_loss_is_one_number(tmp_path: Path) -> None:
    with pytest.raises(lw.LabwrightError, match=r"loss of task OneBowl has none: .* Task 'multi'"):
        trained(tmp_path / "run", OneBowl(Rows()), ProjectedGradients())
    assert not (tmp_path / "run").exists()


def test_a_loss_that_does_not_say_what_it_returns_is_refused_at_the_first_step(tmp_path: Path) -> None:
    class Silent(Bowls):
        def loss(self, model, batch, criterion, phase):  # type: ignore[no-untyped-def, override]
            return model(*batch.inputs).square().mean()

    with pytest.raises(lw.LabwrightError, match="the loss of this run has none"):
        trained(tmp_path / "run", Silent(Rows()), "pcgrad")


def test_rho_is_more_than_nothing() -> None:
    with pytest.raises(lw.LabwrightError, match=r"method\.rho: given 0; it should be greater than 0"):
        lw.Experiment.from_recipe("vision/digits-mlp", ["method={name='sam',rho=0}"])


def test_a_radius_of_almost_nothing_is_descent(tmp_path: Path) -> None:
    near = fitted(tmp_path / "near", SharpnessAware(rho=1e-13)).model.state_dict()
    for name, value in fitted(tmp_path / "plain", "descent").model.state_dict().items():
        torch.testing.assert_close(near[name], value, rtol=0, atol=1e-10, msg=name)
    assert math.isfinite(float(near["layers.0.weight"].sum()))
