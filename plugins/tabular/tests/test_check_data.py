"""What check-data says of tables: columns that say nothing, name rows, or say the target; and none of sound ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from labwright import Finding
from labwright_tabular.data.embedded import BreastCancer, Diabetes, Wine
from labwright_tabular.data.table import ClassTable, NumberTable
from labwright_tasks.checking.look import look

Write = Callable[[str, Sequence[str]], Path]
COUNT = 300


def columns() -> dict[str, Sequence[object]]:
    """Two columns that say something of the target, one that says nothing, and the target."""
    draws = np.random.default_rng(0)
    size, price = draws.normal(size=COUNT), draws.normal(size=COUNT)
    sold = size + 0.5 * draws.normal(size=COUNT) > 0.3
    return {
        "size": size.round(4).tolist(),
        "colour": draws.choice(["red", "blue", "green"], COUNT).tolist(),
        "noise": draws.normal(size=COUNT).round(4).tolist(),
        "price": (price + size).round(4).tolist(),
        "sold": np.where(sold, "yes", "no").tolist(),
    }


def checked(write: Write, table: dict[str, Sequence[object]], target: str = "sold") -> list[Finding]:
    lines = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))]
    kind = ClassTable if target == "sold" else NumberTable
    data = kind(path=write("rows.csv", lines), target=target)
    data.prepare()
    return list(data.checks())


@pytest.mark.parametrize("target", ["sold", "price"])
def test_nothing_is_odd_about_sound_columns(write: Write, target: str) -> None:
    assert checked(write, columns(), target) == []


def test_columns_that_name_rows_or_are_alike_are_told(write: Write) -> None:
    table = columns()
    naming, alike = checked(
        write, {"row": range(COUNT), "who": [f"person {n}" for n in range(COUNT)], "unit": ["cm"] * COUNT, **table}
    )
    assert naming.sentence == "columns that name rows and are ignored: row, who." and not naming.wrong
    assert alike.sentence == "columns alike in all rows, or whose levels are too rare: unit." and not alike.wrong


def test_columns_that_say_the_class_are_wrong_and_those_that_say_much_are_not(write: Write) -> None:
    table = columns()
    sold = [value == "yes" for value in table["sold"]]
    # a code of it, the time since it was sold, a copy with 1 row in 15 changed: that says much and isn't it
    table["code"] = ["S1" if yes else "S0" for yes in sold]
    table["days since"] = [n % 17 + 1 if yes else -1 for n, yes in enumerate(sold)]
    table["nearly"] = ["a" if yes != (n % 15 == 0) else "b" for n, yes in enumerate(sold)]
    (leak,) = checked(write, table)
    assert leak.wrong
    assert "(" + "'days since' tells 100.0%, 'code' tells 100.0%" + ")" in leak.sentence


def test_a_column_that_says_the_number_is_wrong_whatever_its_unit(write: Write) -> None:
    table = columns()
    table["cents"] = [round(100 * float(str(price)) + 7) for price in table["price"]]
    (leak,) = checked(write, table, "price")
    assert leak.wrong and "('cents' tells " in leak.sentence


def test_a_rare_class_is_no_leak_of_every_column(write: Write) -> None:
    table = columns()
    table["sold"] = ["yes" if n % 150 == 0 else "no" for n in range(COUNT)]
    assert not any(finding.wrong for finding in checked(write, table))


@pytest.mark.parametrize("kind", [BreastCancer, Diabetes, Wine])
def test_tables_that_are_well_known_have_no_odd_columns(kind: type[Wine]) -> None:
    data = kind()
    data.prepare()
    result = look(data, most=10_000, seed=0, say=str)
    assert [finding for finding in result.findings if finding.check == "columns"] == []
