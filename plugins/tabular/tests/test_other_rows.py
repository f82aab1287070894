"""Other rows than a run's own: measured and answered by what it has learned, as one would compute it by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import LabwrightError
from labwright_tabular.data.table import ClassTable

HEADER = "age,school,pay,stays"


def people(count: int, first: int = 0, older: int = 0) -> list[str]:
    return [
        f"{20 + older + number * 7 % 41},{('none', 'degree', '?')[number * 5 % 3]},{number % 9 * 100},"
        f"{'yes' if number * 7 % 41 > 20 and number * 5 % 3 == 1 else 'no'}"
        for number in range(first, first + count)
    ]


@pytest.fixture
def learned(write: Callable[[str, Sequence[str]], Path]) -> ClassTable:
    data = ClassTable(path=write("people.csv", [HEADER, *people(200)]), target="stays")
    data.prepare()
    return data


def test_other_rows_are_all_measured_in_the_units_of_the_first(learned: ClassTable, tmp_path: Path, write: Any) -> None:
    learned.save(tmp_path)
    again = ClassTable(path=Path("not there"), target="stays")
    again.load(tmp_path)
    lines = people(30, first=500)
    other = again.on(write("later.csv", [HEADER, *lines, "30,none,5,perhaps", "30,none,5,"]))
    assert [other.split(name) is None for name in ("train", "valid")] == [True, True]
    test = other.split("test")
    assert test is not None and len(test) == 30
    for row, line in enumerate(lines):
        expected = again.parse(line)
        assert all(torch.equal(kept[row], parsed[0]) for kept, parsed in zip(test.inputs, expected, strict=True))
    assert test.labels.tolist() == [line.endswith("yes") for line in lines]
    assert other.place("test", 3).endswith("later.csv, line 5")
    assert [part.why.partition(":")[0] for part in other.left_out()] == [
        f"no stays, as in {tmp_path / 'later.csv'}, line 33",
        "of a class that the run doesn't know",
    ]
    assert again.split("test") is None  # the first is as it was


def test_how_other_rows_differ_is_said(learned: ClassTable, write: Any) -> None:
    (sentence,) = learned.on(write("older.csv", [HEADER, *people(60, older=40)])).remarks()
    assert sentence.startswith("unlike what the run learned from, age is 79.3, where it was 40.")
    assert learned.on(write("same.csv", [HEADER, *people(200)])).remarks() == []
    (told,) = learned.on(write("signs.csv", [line.replace(",", ";") for line in (HEADER, *people(200))])).remarks()
    assert told.endswith("signs.csv is read with semicolons between cells; task.data.delimiter says otherwise.")


def test_what_cannot_be_measured_is_said(learned: ClassTable, write: Any) -> None:
    with pytest.raises(LabwrightError, match=r"has no sample of a class the run knows: it has maybe"):
        learned.on(write("strange.csv", [HEADER, "30,none,5,maybe"]))
    with pytest.raises(LabwrightError, match=r"less.csv: there is no column 'age'"):
        learned.on(write("less.csv", ["school,pay,stays", "none,5,no"]))
    with pytest.raises(LabwrightError, match=r"untold.csv: there is no column 'stays'"):
        learned.on(write("untold.csv", ["age,school,pay", "30,none,5"]))


def test_each_row_of_a_file_is_answered_with_its_place(tmp_path: Path, write: Any, labwright: Any) -> None:
    write("people.csv", [HEADER, *people(120)])
    recipe = ["task.data.path=people.csv", "task.data.target=pay", "train.epochs=1", "device=cpu"]
    lw.Experiment.from_recipe("tabular/number-table", recipe).run(tmp_path / "run")
    write("later.csv", ["school,age,stays", "degree,40,yes", "none,old,no", "?,20,no"])
    answered = labwright("predict", "run", "--on", "later.csv", "--json")
    lines = [json.loads(line) for line in answered.out.splitlines()]
    assert answered.code == 2 and "later.csv, line 3: 'age' is 'old'" in lines[1]["error"]
    assert [line["input"] for line in lines] == [f"later.csv, line {number}" for number in (2, 3, 4)]
    assert all(len(line["values"]) == 1 for line in (lines[0], lines[2]))
    write("told.csv", [HEADER, *people(40)])
    measured = labwright("evaluate", "run", "--on", "told.csv", "--json")
    assert measured.code == 0, measured.errors
    assert '"rmse"' in measured.out


def test_predict_tells_how_other_rows_were_read(learned: ClassTable, write: Any) -> None:
    rows = write("later.csv", [line.replace(",", ";") for line in [HEADER, *people(5)]])
    assert len(list(learned.inputs(rows))) == 5
    told = f"{rows} is read with semicolons between cells; task.data.delimiter says otherwise."
    assert learned.noticed() == [told]
    assert learned.noticed() == []  # once
