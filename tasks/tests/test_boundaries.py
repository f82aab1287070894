"""Dice and borders between classes, on masks made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from labwright import Classes
from labwright_tasks.boundaries import BoundaryF1
from labwright_tasks.metrics import F1
from labwright_tasks.overlap import Dice, IoU
from torch.nn import functional

TWO = Classes(("ground", "square"))


def square(top: int, left: int, side: int = 8, size: int = 40) -> torch.Tensor:
    labels = torch.zeros(1, size, size, dtype=torch.int64)
    labels[:, top : top + side, left : left + side] = 1
    return labels


def measured(given: torch.Tensor, true: torch.Tensor, tolerance: float = 1 / math.hypot(40, 40)) -> dict[str, float]:
    metric = BoundaryF1(TWO, tolerance=tolerance)
    metric.update(given, true)
    told = metric.compute()
    assert told["macro"] == pytest.approx(sum(told["class"].values()) / len(told["class"]))
    return told["class"]


def test_what_is_met_within_the_tolerance_is_right() -> None:
    true = square(10, 10)
    assert measured(true, true) == {"ground": 1.0, "square": 1.0}
    assert measured(square(10, 11), true) == {"ground": 1.0, "square": 1.0}  # each border is one pixel off
    assert measured(square(25, 25), true) == {"ground": 0.0, "square": 0.0}


def test_a_border_that_is_off_counts_as_its_share_by_hand() -> None:
    # of each border's 28 pixels those of 6 columns in the rows above and below are within one of the other's, and with
    # them the two beside the corners there: 14
    given, true = square(10, 13), square(10, 10)
    assert measured(given, true)["square"] == pytest.approx(14 / 28, abs=1e-9)
    assert measured(given, true, tolerance=3 / math.hypot(40, 40))["square"] == 1.0


def test_a_class_that_is_missed_or_made_up_has_0_and_one_that_is_nowhere_has_none() -> None:
    three = Classes(("ground", "square", "disc"))
    metric = BoundaryF1(three)
    metric.update(torch.zeros(1, 40, 40, dtype=torch.int64), square(10, 10))
    assert metric.compute() == {"macro": 0.0, "class": {"ground": 0.0, "square": 0.0}}


def test_what_does_not_count_has_no_border() -> None:
    true = square(10, 10)
    true[:, :, 20:] = -100
    given = true.clone()
    given[given == -100] = 1
    assert measured(given, true) == {"ground": 1.0, "square": 1.0}
    true[:] = -100
    metric = BoundaryF1(TWO)
    metric.update(given, true)
    assert math.isnan(metric.compute()["macro"])


def test_it_is_a_mean_over_pictures_however_they_come() -> None:
    draw = torch.Generator().manual_seed(0)
    true, given = torch.randint(0, 2, (2, 5, 12, 12), generator=draw)
    whole, parts = BoundaryF1(TWO), BoundaryF1(TWO)
    whole.update(given, true)
    for row in range(5):
        parts.update(given[row : row + 1], true[row : row + 1])
    assert whole.compute()["class"] == pytest.approx(parts.compute()["class"])


def test_dice_is_the_f1_of_positions_and_follows_from_the_overlap() -> None:
    draw = torch.Generator().manual_seed(0)
    names = Classes(tuple("abcd"))
    true, given = torch.randint(0, 3, (2, 200), generator=draw)
    confusion = torch.bincount(true * 4 + given, minlength=16).view(4, 4)
    dice, f1, iou = Dice(names), F1(names), IoU(names)
    dice.update(confusion)
    iou.update(confusion)
    f1.update(functional.one_hot(given, 4).float(), true)
    assert dice.compute()["class"] == pytest.approx(f1.compute()["class"])
    assert dice.compute()["macro"] == pytest.approx(f1.compute()["macro"])
    for name, value in dice.compute()["class"].items():
        assert value == pytest.approx(2 * iou.compute()[name] / (1 + iou.compute()[name]))
