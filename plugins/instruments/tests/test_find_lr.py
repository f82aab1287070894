"""The range test on a parabola, whose losses at any rates are known; what it refuses; what it leaves."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import labwright as lw
import pytest
from instrument_lines import Said, said  # noqa: F401 - a fixture
from labwright_instruments.lr_range import SMOOTHING, Range, lr_range, phase_of
from labwright_instruments.workbench import lengthened, workbench
from parts import Blobs, Sorting, duel, sorting
from torch import Tensor, nn, ones

RATES = 30


class Weights(nn.Module):
    """Two numbers that begin at 1; what goes in doesn't matter."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.fast, self.slow = nn.Parameter(ones(())), nn.Parameter(ones(()))

    def forward(self, x_BD: Tensor) -> Tensor:
        return (self.fast + self.slow) * ones(len(x_BD), 3)


class Parabola(Sorting):
    """The sum of the squares of the model's weights: its gradient is twice each weight."""

    def __init__(self, data: Annotated[lw.Data, lw.Part("data")]) -> None:
        super().__init__(data)

    def loss(self, model: Any, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        return model.fast.square() + model.slow.square()


def ranged(low: float, high: float, **changed: Any) -> Range:
    optimizer = {"name": "sgd", "lr": 0.5, "groups": {"slow": {"lr_factor": 0.1}}} | changed
    experiment = sorting(task=Parabola(Blobs()), model=Weights, optimizer=optimizer)
    with workbench(lengthened(experiment, RATES)) as trainer:
        return lr_range(trainer, "train", low, high, RATES)


@pytest.fixture(scope="module")
def gentle() -> Range:
    return ranged(1e-4, 0.4, schedule="cosine", warmup=0.5)


def test_each_update_uses_its_own_rate_times_the_factor_of_the_group_and_no_schedule(gentle: Range):
    fast = slow = 1.0
    for number, (lr, loss) in enumerate(zip(gentle.lrs, gentle.losses, strict=True)):
        assert lr == pytest.approx(1e-4 * (0.4 / 1e-4) ** (number / (RATES - 1)))
        assert loss == pytest.approx(fast**2 + slow**2, rel=1e-4)
        fast, slow = fast * (1 - 2 * lr), slow * (1 - 0.2 * lr)
    assert len(gentle.lrs) == RATES and not gentle.diverged


def test_the_loss_is_smoothed_by_a_moving_average_without_bias(gentle: Range):
    for number, smooth in enumerate(gentle.smoothed):
        ages = [SMOOTHING ** (number - earlier) for earlier in range(number + 1)]
        mean = sum(age * loss for age, loss in zip(ages, gentle.losses, strict=False)) / sum(ages)
        assert smooth == pytest.approx(mean)


def test_the_steepest_descent_lies_before_the_lowest_loss(gentle: Range):
    assert gentle.steepest is not None
    slopes = [
        (after - before) / math.log(later / earlier)
        for before, after, earlier, later in zip(
            gentle.smoothed, gentle.smoothed[1:], gentle.lrs, gentle.lrs[1:], strict=False
        )
    ]
    steepest = slopes.index(min(slopes))  # between two rates, of which the mark is one
    assert gentle.lrs[steepest - 1] <= gentle.steepest <= gentle.lrs[min(steepest + 2, RATES - 1)]
    assert gentle.steepest <= gentle.lowest


def test_it_ends_where_a_parabola_diverges():
    found = ranged(1e-3, 1e3)
    assert found.diverged
    assert 1 < found.lrs[-1] < 1e3  # a weight grows once |1 - 2 lr| > 1, which is above a rate of 1


def test_where_no_rate_lets_the_loss_fall_none_is_suggested():
    assert ranged(1e2, 1e3).steepest is None


def test_of_several_phases_one_is_named_and_the_others_keep_their_rates():
    experiment = duel()
    with pytest.raises(lw.LabwrightError, match="has the phases critic, generator"):
        phase_of(experiment, None)
    with pytest.raises(lw.LabwrightError, match="no phase 'generater'; did you mean 'generator'"):
        phase_of(experiment, "generater")
    assert phase_of(experiment, "generator") == ("generator", 3)
    with workbench(lengthened(experiment, 12 * 3)) as trainer:
        found = lr_range(trainer, "generator", 1e-6, 1e-2, 12)
        assert trainer.phase_steps[0].optimizer.lr == 0.01
        assert trainer.run.step == 36
    assert (len(found.lrs), found.lrs[-1]) == (12, pytest.approx(1e-2))


@pytest.mark.long
def test_the_verb_draws_a_picture_and_touches_no_run(said: Said, tmp_path: Any):  # noqa: F811
    command = ("find-lr", "vision/digits-mlp", "device=cpu", "model.width=16", "--steps", "20")
    code, out, _ = said(*command, "--json")
    told = json.loads(out)
    assert code == 0 and len(told["rates"]) <= 20
    assert (told["setting"], told["picture"]) == ("optimizer.lr", "find-lr-vision-digits-mlp-001.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["find-lr-vision-digits-mlp-001.svg"]
    assert "<svg" in (tmp_path / told["picture"]).read_text()
    code, _, errors = said(*command, "--out", told["picture"])
    assert (code, "is there already" in errors) == (2, True)
    code, _, errors = said(*command, "--out", "curve.gif")
    assert (code, "ends in none of .pdf, .png, .svg" in errors) == (2, True)
    code, _, errors = said("find-lr", "vision/digits-mlp", "--from", "1", "--to", "0.1")
    assert (code, "rates grow" in errors) == (2, True)
    code, _, errors = said("find-lr", "recsys/movielens-popularity")
    assert (code, "closed form" in errors) == (2, True)
