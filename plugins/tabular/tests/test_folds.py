"""Folds of tables: what is learned of columns and of the target knows nothing of what its fold holds out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from labwright_tabular.data.columns import Scale
from labwright_tabular.data.table import ClassTable, NumberTable
from labwright_tabular.ports import Scaled
from labwright_tasks.fold_data import Fold

Write = Callable[[str, Sequence[str]], Path]
LEVELS = ("red", "blue", "green")


def lines(poisoned: Sequence[int]) -> list[str]:
    rows = []
    for row in range(60):
        bad = row in poisoned
        size, level, price = (1e9, f"poison{row % 2}", 1e9) if bad else (row / 7, LEVELS[row % 3], row * 1.5)
        rows.append(f"{size},{level},{price},{'yes' if row % 2 else 'no'}")
    return ["size,colour,price,sold", *rows]


def rows_of(fold: Fold, part: str) -> list[int]:
    split = fold.split(part)
    assert split is not None
    return split.rows.tolist()


@pytest.mark.parametrize("scale", ["standard", "quantile"])
@pytest.mark.parametrize("target", ["sold", "price"])
def test_a_huge_value_and_levels_that_are_held_out_change_nothing_that_is_learned(
    write: Write, target: str, scale: Scale
) -> None:
    def fold_of(poisoned: Sequence[int]) -> Fold:
        kind = ClassTable if target == "sold" else NumberTable
        roles = {"price" if target == "sold" else "sold": "ignore"}
        path = write("rows.csv", lines(poisoned))
        data = kind(path=path, target=target, roles=roles, scale=scale, min_count=2, valid=0.2, test=0.0)
        fold = Fold(data, number=2, of=3, by="nothing", valid=0.1)
        fold.prepare()
        return fold

    clean = fold_of([])
    # with a part of its own the data's rows are in another order: train's, then valid's
    seen = {clean.data.place(*of) for of in places(clean, "train")}
    held_out = [row for row in range(60) if not any(place.endswith(f"line {row + 2}") for place in seen)]
    assert len(held_out) > 20
    poisoned = fold_of(held_out)
    assert clean.data.columns == poisoned.data.columns
    assert clean.data.columns.used[1].levels == ("blue", "green", "red")
    assert clean.ports() == poisoned.ports()

    # what was held out is a level that nobody knows, and its number is far away
    test = poisoned.split("test")
    assert test is not None
    x_BN, codes_BC = test.fetch(torch.arange(len(test)), 0, 0).inputs
    assert (codes_BC[:, 0] == 0).all() and (x_BN[:, 0] > (2 if scale == "quantile" else 1e6)).all()
    if isinstance(clean.data.outputs, Scaled):
        prices = [row * 1.5 for row in range(60) if row not in held_out]
        assert clean.data.outputs.mean[0] == pytest.approx(np.mean(prices))
        assert clean.data.outputs.deviation[0] == pytest.approx(np.std(prices))


def places(fold: Fold, part: str) -> list[tuple[str, int]]:
    split = fold.split(part)
    assert split is not None
    origins = map(split.origin, range(len(split)))
    return [(("train", "valid")[part], index) for part, index in origins]


def test_what_is_said_and_left_out_is_said_once_although_the_table_is_read_twice(write: Write) -> None:
    path = write("rows.csv", [*lines([]), "1.0,red,3.0,"])
    fold = Fold(ClassTable(path=path, target="sold", valid=0.0, test=0.0), number=1, of=3)
    fold.prepare()
    assert [part.count for part in fold.left_out()] == [1]
    assert sum("taken for" in remark for remark in fold.remarks()) == 1


def test_what_other_rows_are_compared_with_is_as_the_fold_sees_it(write: Write) -> None:
    rows = ["level,size,kind", *(f"l{row // 4},{row * 37 % 60},{'ab'[row % 2]}" for row in range(60))]
    data = ClassTable(
        path=write("rows.csv", rows), target="kind", roles={"level": "category"}, min_count=4, valid=0.0, test=0.0
    )
    Fold(data, number=1, of=4).prepare()
    train = data.split("train")
    assert train is not None
    unknown = (train.inputs[1] == 0).double().mean().item()
    assert unknown > 0.5  # each fold lacks one or more of the four rows of most levels
    assert data.facts["the share of rare or unknown levels of level"][0] == pytest.approx(unknown)
