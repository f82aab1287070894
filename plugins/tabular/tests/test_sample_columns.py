"""Columns that say how much a row counts, what it belongs with and when it was: weights, groups, times."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from labwright import LabwrightError
from labwright_tabular.data.table import ClassTable, NumberTable
from labwright_tasks.fold_data import Fold

Write = Callable[[str, Sequence[str]], Path]


@pytest.fixture
def visits(write: Write) -> Path:
    """200 visits of 40 patients, each on a day of its own, with weights."""
    random.seed(0)
    rows = ["patient,age,day,weight,ill"]
    for number in range(200):
        age = random.randint(20, 80)
        day = f"2024-{1 + number % 12:02d}-{1 + number // 12:02d}"
        rows.append(f"p{number % 40},{age},{day},{number % 4 / 2},{'yes' if age + random.gauss(0, 5) > 50 else 'no'}")
    return write("visits.csv", rows)


def test_rows_carry_their_weights_and_nothing_is_predicted_from_them(visits: Path) -> None:
    data = ClassTable(path=visits, target="ill", weight="weight", group="patient")
    data.prepare()
    assert [column.name for column in data.columns.used] == ["age", "day"]
    train = data.split("train")
    assert train is not None
    assert train.weights is not None
    batch = train.fetch(torch.tensor([0, 1, 2]), 0, 0)
    torch.testing.assert_close(batch.weights, train.weights[:3])  # type: ignore[attr-defined]
    assert any("rows weigh 0 to 1.5 in the loss, by 'weight'" in remark for remark in data.remarks())


@pytest.mark.parametrize("cell", ["-1", "", "heavy", "nan", "inf"])
def test_a_cell_that_is_no_weight_is_named(write: Write, cell: str) -> None:
    file = write("rows.csv", ["a,w,y", "1,1,0", f"2,{cell},1", "3,1,0"])
    with pytest.raises(LabwrightError, match=r"rows.csv, line 3: the weight is .* a number from 0 on"):
        NumberTable(path=file, target="y", weight="w").prepare()


def test_a_column_that_isnt_there_is_answered_with_the_nearest(visits: Path) -> None:
    with pytest.raises(LabwrightError, match=r"task.data.weight: no column is called 'wieght'.*'weight'"):
        ClassTable(path=visits, target="ill", weight="wieght").prepare()


def test_groups_stay_on_one_side_of_what_is_held_out_and_of_folds(visits: Path) -> None:
    data = ClassTable(path=visits, target="ill", group="patient")
    data.prepare()
    groups = {name: set(data.split(name).groups.tolist()) for name in ("train", "valid", "test")}  # type: ignore[union-attr]
    assert not groups["train"] & groups["valid"] | groups["train"] & groups["test"] | groups["valid"] & groups["test"]
    assert {name: len(some) for name, some in groups.items()} == {"train": 28, "valid": 4, "test": 8}
    fold = Fold(ClassTable(path=visits, target="ill", group="patient", valid=0.0), number=1, of=4)
    fold.prepare()
    of_fold = {name: set(fold.split(name).groups.tolist()) for name in ("train", "test")}  # type: ignore[union-attr]
    assert not of_fold["train"] & of_fold["test"]


def test_with_times_the_latest_are_held_out_and_folds_learn_from_what_came_before(visits: Path) -> None:
    data = ClassTable(path=visits, target="ill", time="day")
    data.prepare()
    times = {name: data.split(name).times for name in ("train", "valid", "test")}  # type: ignore[union-attr]
    assert times["train"].max() < times["valid"].min() <= times["valid"].max() < times["test"].min()
    assert [len(times[name]) for name in ("train", "valid", "test")] == [140, 20, 40]
    fold = Fold(ClassTable(path=visits, target="ill", time="day"), number=2, of=3)
    fold.prepare()
    assert fold.split("train").times.max() < fold.split("test").times.min()  # type: ignore[union-attr]


def test_too_few_groups_are_refused(write: Write) -> None:
    file = write("rows.csv", ["a,g,y", *(f"{number},{number % 2},{number % 3}" for number in range(30))])
    with pytest.raises(LabwrightError, match=r"task.data.group: 2 groups are too few"):
        ClassTable(path=file, target="y", group="g").prepare()


def test_a_weighted_run_accumulates_is_cross_validated_and_measured_on_rows_without_weights(
    labwright: Callable[..., object], visits: Path, write: Write
) -> None:
    recipe = ["tabular/table", f"task.data.path={visits}", "task.data.target=ill", "task.data.weight=weight"]
    recipe += ["task.data.min_count=1", "device=cpu", "model.dropout=0.0", "train.epochs=2", "train.batch_size=16"]
    whole = labwright("run", *recipe, "--folder", "whole", "--json")
    assert whole.code == 0, whole.errors  # type: ignore[attr-defined]
    cut = labwright("run", *recipe, "device.accumulate=4", "--folder", "cut", "--json")
    assert cut.code == 0, cut.errors  # type: ignore[attr-defined]
    losses = [
        [json.loads(line)["loss"] for line in Path(run, "metrics.jsonl").read_text().splitlines() if '"loss"' in line]
        for run in ("whole", "cut")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    lines = visits.read_text().splitlines()
    plain = write("plain.csv", [",".join(line.split(",")[:3] + line.split(",")[4:]) for line in lines[:60]])
    measured = labwright("evaluate", "whole", "--on", plain, "--json")
    assert measured.code == 0, measured.errors  # type: ignore[attr-defined]
    folds = labwright("run", *recipe, "task.data.group=patient", "--folds", "3", "--folder", "folds", "--json")
    assert folds.code == 0, folds.errors  # type: ignore[attr-defined]
