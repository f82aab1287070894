"""Losses for rare classes against closed forms, other implementations and their own limits."""

from __future__ import annotations

import math
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import Classes, LabwrightError
from labwright_tasks.dense_labels import PositionClasses
from labwright_tasks.losses import CrossEntropy, Summed
from labwright_tasks.rare_losses import Dice, Focal, GeneralizedDice, Tversky
from torch import Tensor
from torch.nn import functional


def drawn(count: int = 40, classes: int = 4) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes, generator=draw, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(0, classes, (count,), generator=draw)


def half_right() -> tuple[Tensor, Tensor]:
    """Two positions of class 0 and one of class 1, of which 0.75 is given to class 0 each."""
    return torch.tensor([[0.75, 0.25]] * 3).log(), torch.tensor([0, 0, 1])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_of_two_classes_is_torchvisions(gamma: float) -> None:
    ops = pytest.importorskip("torchvision.ops")
    logits, labels = drawn(classes=2)
    # of the difference of two logits the sigmoid is the softmax
    margin = logits[:, 1] - logits[:, 0]
    theirs = ops.sigmoid_focal_loss(margin, labels.double(), alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(Focal(gamma=gamma)(logits, labels), theirs)


def test_focal_by_hand_and_without_gamma_it_is_cross_entropy() -> None:
    logits, labels = half_right()
    by_hand = -(2 * 0.25**2 * math.log(0.75) + 0.75**2 * math.log(0.25)) / 3
    assert float(Focal()(logits, labels)) == pytest.approx(by_hand, rel=1e-6)
    logits, labels = drawn()
    torch.testing.assert_close(Focal(gamma=0.0)(logits, labels), functional.cross_entropy(logits, labels))


def test_focal_has_a_gradient_where_a_class_is_certain() -> None:
    logits = torch.tensor([[200.0, -200.0], [0.0, 0.0]], requires_grad=True)
    Focal(gamma=0.5)(logits, torch.tensor([0, 1])).backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and logits.grad[1].any()


def test_dice_tversky_and_generalized_dice_by_hand() -> None:
    logits, labels = half_right()
    # right 1.5 and 0.25, given 2.25 and 0.75, true 2 and 1
    dice = 1 - ((3.0 + 1) / (4.25 + 1) + (0.5 + 1) / (1.75 + 1)) / 2
    assert float(Dice()(logits, labels)) == pytest.approx(dice, rel=1e-6)
    wrong, missed = (0.75, 0.5), (0.5, 0.75)
    rows = zip((1.5, 0.25), wrong, missed, strict=True)
    tversky = 1 - sum((r + 1) / (r + 0.3 * w + 0.7 * m + 1) for r, w, m in rows) / 2
    assert float(Tversky()(logits, labels)) == pytest.approx(tversky, rel=1e-6)
    generalized = 1 - 2 * (1.5 / 4 + 0.25) / (4.25 / 4 + 1.75)
    assert float(GeneralizedDice()(logits, labels)) == pytest.approx(generalized, rel=1e-6)


def test_dice_is_monais_formula_over_a_batch() -> None:
    logits, labels = drawn()
    # monai.losses.DiceLoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=1, smooth_dr=1), written out
    p, true = logits.softmax(1), functional.one_hot(labels, 4).double()
    theirs = (1 - (2 * (p * true).sum(0) + 1) / (p.sum(0) + true.sum(0) + 1)).mean()
    torch.testing.assert_close(Dice()(logits, labels), theirs)


def test_tversky_of_two_halves_is_dice_and_with_ones_the_jaccard_index() -> None:
    logits, labels = drawn()
    torch.testing.assert_close(Tversky(alpha=0.5, beta=0.5, smooth=0.5)(logits, labels), Dice()(logits, labels))
    p, true = logits.softmax(1), functional.one_hot(labels, 4).double()
    both = (p * true).sum(0)
    jaccard = 1 - ((both + 1) / (p.sum(0) + true.sum(0) - both + 1)).mean()
    torch.testing.assert_close(Tversky(alpha=1.0, beta=1.0)(logits, labels), jaccard)


LOSSES = [Focal(), Dice(), Tversky(), GeneralizedDice()]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_what_is_left_out_changes_nothing_and_trials_pass_through(loss: lw.Loss) -> None:
    logits, labels = drawn()
    whole = loss(logits, labels)
    longer = torch.cat([logits, torch.randn(3, 4, dtype=torch.float64)])
    torch.testing.assert_close(loss(longer, torch.cat([labels, torch.full((3,), -100)])), whole)
    two = loss(torch.stack([logits, -logits]), torch.stack([labels, labels]))
    torch.testing.assert_close(two, torch.stack([whole, loss(-logits, labels)]))  # type: ignore[list-item]
    assert torch.autograd.gradcheck(lambda some: loss(some, labels[:6]), drawn(6)[0])


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_what_is_all_right_costs_nothing(loss: lw.Loss) -> None:
    _, labels = drawn()
    sure = 50.0 * functional.one_hot(labels, 4).double()
    assert float(loss(sure, labels)) == pytest.approx(0, abs=1e-12)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------------- sums


def test_a_sum_gives_each_part_times_its_weight() -> None:
    logits, labels = drawn()
    parts = Summed({"ce": CrossEntropy(), "dice": Dice()}, weights={"dice": 0.5})(logits, labels)
    torch.testing.assert_close(parts["ce"], functional.cross_entropy(logits, labels))
    torch.testing.assert_close(parts["dice"], 0.5 * Dice()(logits, labels))


def test_a_sum_is_cut_into_micro_batches_if_its_losses_may_be_and_divide_by_the_same() -> None:
    ports = PositionClasses(tuple("abcd"), (8, 8), counts=(4, 1, 2, 1))

    def summed(**losses: Any) -> Summed:
        loss = Summed(losses)
        loss.prepare(ports)
        return loss

    assert summed(ce=CrossEntropy(), focal=Focal()).separable
    assert not summed(ce=CrossEntropy(), dice=Dice()).separable
    assert not summed(ce=CrossEntropy(weights="balanced"), focal=Focal()).separable
    assert summed(ce=CrossEntropy(), focal=Focal()).normalizer(torch.tensor([1, -100, 2])) == 2
    assert summed(ce=CrossEntropy(weights="balanced")).normalizer(torch.tensor([0, 1])) == pytest.approx(0.5 + 2.0)


@pytest.mark.parametrize(
    ("losses", "weights", "words"),
    [
        ({}, None, "nothing to sum"),
        ({"ce": CrossEntropy()}, {"ce": 0.0}, "not all of which weigh 0"),
        ({"ce": CrossEntropy()}, {"dice": 1.0}, r"loss.weights.dice: the sum has no such loss"),
        ({"ce": functional.cross_entropy}, None, "loss.losses.ce: a sum is one of losses over classes"),
    ],
)
def test_a_sum_of_what_cannot_be_summed_is_refused(losses: Any, weights: Any, words: str) -> None:
    with pytest.raises(LabwrightError, match=words):
        Summed(losses, weights=weights)


def test_classes_of_positions_are_balanced_as_those_of_samples_are() -> None:
    logits, labels = drawn()
    counts = (20, 10, 5, 5)
    values = []
    for ports in (Classes(tuple("abcd"), counts), PositionClasses(tuple("abcd"), (40,), counts=counts)):
        loss = CrossEntropy(weights="balanced")
        loss.prepare(ports)
        values.append(loss(logits, labels))
    assert values[0] == values[1]


@pytest.mark.parametrize("loss", [Dice(), Tversky(), GeneralizedDice(), Focal()])
def test_half_precision_of_logits_is_not_one_of_sums(loss: Any) -> None:
    """Counts of pixels go beyond the 256 up to which bfloat16 has each whole number."""
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(30_000, 3, generator=random).bfloat16(), torch.randint(3, (30_000,), generator=random)
    with torch.autocast("cpu", torch.bfloat16):
        ours = loss(logits, labels)
    assert float(ours) == float(loss(logits.float(), labels))
