"""Columns: what each is taken for, what is learned from the training part, what rows become."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labwright import Classes, LabwrightError
from labwright_tabular.data.columns import Columns, learned, roles_of
from labwright_tabular.data.embedded import Diabetes, Wine
from labwright_tabular.data.parts import divided
from labwright_tabular.data.table import ClassTable, NumberTable
from labwright_tabular.ports import Fields, Scaled
from labwright_tasks.published import Parts
from labwright_tasks.tables import Table

MISSING = ("?", "NA")


def table(**columns: Sequence[object]) -> Table:
    cells = {name: [str(value) for value in values] for name, values in columns.items()}
    return Table("made.csv", cells, range(2, 2 + len(next(iter(cells.values())))))


def learn(rows: Table, train: Sequence[bool] | None = None, **settings: Any) -> Columns:
    mask = np.ones(len(rows), bool) if train is None else np.array(train)
    roles = roles_of(rows, rows.columns, settings.pop("roles", {}), MISSING)
    return learned(rows, roles, mask, **({"scale": "standard", "min_count": 1, "missing": MISSING} | settings))


def test_what_a_column_holds_is_seen_from_its_cells() -> None:
    count = 60
    days = [str(date(2024, 1, 1) + timedelta(days=number % 9)) for number in range(count)]
    rows = table(
        row=range(100, 100 + count),
        name=[f"person {number}" for number in range(count)],
        weight=[*(number / 2 for number in range(count - 1)), "?"],
        area=[f"0{number % 7}1" for number in range(count)],
        colour=["red", "blue", ""] * (count // 3),
        since=days,
    )
    assert roles_of(rows, rows.columns, {}, MISSING) == {
        "row": "ignore",
        "name": "ignore",
        "weight": "number",
        "area": "category",  # a number would have lost the 0
        "colour": "category",
        "since": "date",
    }
    assert roles_of(rows, ["weight"], {"weight": "category"}, MISSING) == {"weight": "category"}


def test_numbers_are_standard_by_the_training_part_alone_and_what_is_missing_says_so() -> None:
    rows = table(weight=[1, 3, "?", 1001, ""], height=[1, 2, 3, 4, 5])
    columns = learn(rows, [True, True, True, False, False])
    x_RN, codes_RC = columns.encode(rows)
    assert columns.port().numbers == ("weight", "weight missing", "height")
    # of 1 and 3 the mean is 2 and the deviation 1; of 1, 2, 3 they are 2 and the root of 2/3
    torch.testing.assert_close(x_RN[:, 0], torch.tensor([-1.0, 1.0, 0.0, 999.0, 0.0]))
    torch.testing.assert_close(x_RN[:, 1], torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0]))
    torch.testing.assert_close(x_RN[:, 2], (torch.arange(1.0, 6.0) - 2) / (2 / 3) ** 0.5)
    assert codes_RC.shape == (5, 0) and codes_RC.dtype == torch.int64


def test_whether_a_cell_is_there_may_be_all_that_a_column_says() -> None:
    columns = learn(table(member=[1, "", 1, "?"], same=[3, 3, 3, 3]))
    assert columns.port().numbers == ("member missing",)
    x_RN, codes_RC = columns.encode(table(member=["", 1]))
    assert x_RN.tolist() == [[1.0], [0.0]]
    assert columns.words(x_RN, codes_RC) == ["member ?", "member is there"]


def test_scaled_by_quantiles_any_distribution_is_normal_as_scikit_learn_has_it() -> None:
    from sklearn.preprocessing import QuantileTransformer

    values = np.exp(3 * np.random.default_rng(0).normal(size=4000))
    rows = table(price=values.tolist())
    x_RN, _ = learn(rows, scale="quantile").encode(rows)
    reference = QuantileTransformer(n_quantiles=1000, output_distribution="normal").fit_transform(values[:, None])
    middle = np.abs(reference[:, 0]) < 2.5  # the ends are clipped elsewhere
    np.testing.assert_allclose(x_RN[middle, 0].numpy(), reference[middle, 0], atol=0.03)


def test_a_value_that_many_rows_have_lies_in_the_middle_of_their_ranks() -> None:
    rows = table(gain=[0] * 90 + list(range(1, 11)))
    x_RN, _ = learn(rows, scale="quantile").encode(rows)
    assert float(x_RN[0, 0]) == pytest.approx(float(torch.special.ndtri(torch.tensor(0.45))), abs=1e-6)
    assert len(learn(rows).port().values[0]) == 11  # all there are, though nine tenths are 0


def test_a_level_that_is_rare_or_unknown_has_code_0() -> None:
    rows = table(job=["cook", "cook", "?", "?", "smith", "smith", "clerk", "smith"])
    columns = learn(rows, [True] * 7 + [False], min_count=2)
    assert columns.columns[0].levels == ("", "cook", "smith")  # missing is a level as well
    assert columns.encode(rows)[1].flatten().tolist() == [2, 2, 1, 1, 3, 3, 0, 3]
    assert columns.encode(table(job=["tailor"]))[1].tolist() == [[0]]
    assert columns.port().levels == (4,)


def test_a_date_becomes_its_day_month_weekday_and_hour() -> None:
    rows = table(
        at=["1970-01-03", "2024-05-31T18:30:00", "2024-05-31T18:30:00+02:00", "NA"],
        on=["2024-05-31"] * 4,
        x=[1, 2, 3, 4],
    )
    columns = learn(rows)
    assert columns.port().numbers == ("at day", "at month", "at weekday", "at hour", "at missing", "x")
    values_PR = columns.values(rows, "at", "date")
    # 3 January 1970 was a Saturday, 31 May 2024 a Friday and day 19,874
    np.testing.assert_allclose(
        values_PR.T, [[2, 1, 5, 0], [19874 + 18.5 / 24, 5, 4, 18.5], [19874 + 16.5 / 24, 5, 4, 16.5], [np.nan] * 4]
    )
    seconds = table(at=["86400", "86401.5"])
    assert learn(seconds, roles={"at": "date"}).values(seconds, "at", "date")[0].tolist() == [1, 1 + 1.5 / 86400]


def test_a_cell_that_is_no_number_is_named_with_its_line() -> None:
    rows = table(weight=[1, "heavy", 3])
    with pytest.raises(LabwrightError, match=r"made\.csv, line 3: 'weight' is 'heavy', where a finite number"):
        learn(rows, roles={"weight": "number"})
    with pytest.raises(LabwrightError, match=r"line 4: 'at' is '2024-05-31', where a date"):
        learn(table(at=[1, 2.5, "2024-05-31"]), roles={"at": "date"})


@pytest.mark.parametrize("place", [0, 99])
def test_a_slip_among_many_numbers_is_named_instead_of_losing_the_column(place: int) -> None:
    cells = [f"{number}.5" for number in range(100)]
    cells[place] = "oops"
    with pytest.raises(
        LabwrightError, match=rf"made\.csv, line {place + 2}: 'weight' is 'oops', where a finite number"
    ):
        learn(table(weight=cells))
    assert roles_of(table(weight=cells), ["weight"], {"weight": "ignore"}, MISSING) == {"weight": "ignore"}
    codes = [f"{number}a" if number % 10 else str(number) for number in range(100)]  # nine in ten aren't numbers
    assert roles_of(table(code=codes), ["code"], {}, MISSING) == {"code": "ignore"}


def test_what_was_learned_is_the_same_after_json() -> None:
    rows = table(weight=[1, "?", 3.25], job=["a", "b", "a"], at=["2024-05-31", "2024-06-01", "2024-06-02"])
    for scale in ("standard", "quantile"):
        columns = learn(rows, scale=scale)
        again = Columns.of_json(json.loads(json.dumps(columns.json())))
        assert again == columns
        assert all(torch.equal(*both) for both in zip(again.encode(rows), columns.encode(rows), strict=True))


def test_a_row_is_shown_in_the_words_of_its_table() -> None:
    rows = table(
        age=[20, "?", 60, 40, 40],
        job=["cook", "", "clerk", "cook", "clerk"],
        since=[f"2024-0{day}-01" for day in range(1, 6)],
    )
    for scale in ("standard", "quantile"):
        columns = learn(rows, scale=scale)
        assert columns.words(*columns.encode(rows))[:3] == [
            "age 20, job cook, since 2024-01-01",
            "age ?, job ?, since 2024-02-01",
            "age 60, job clerk, since 2024-03-01",
        ]
    only = learn(table(age=[1, 2]))
    assert only.words(*only.encode(table(age=[2]))) == ["age 2"]


def test_parts_are_shares_of_the_rows_with_each_class_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    parts = divided(labels, valid=0.1, test=0.2, seed=0)
    assert np.bincount(parts).tolist() == [700, 100, 200]
    for label, count in enumerate((700, 250, 50)):
        assert np.abs(np.bincount(parts[labels == label]) / count - [0.7, 0.1, 0.2]).max() <= 1.5 / count
    assert (parts == divided(labels, valid=0.1, test=0.2, seed=0)).all()
    assert (parts != divided(labels, valid=0.1, test=0.2, seed=1)).any()


@pytest.fixture
def census(write: Callable[[str, Sequence[str]], Path]) -> Path:
    """100 made-up people: those above 40 with a degree earn more."""
    people = random.Random(0)
    lines = ["person,age,school,joined,pay"]
    for number in range(100):
        age, school = people.randint(20, 60), people.choice(["none", "degree", "?"])
        pay = "high" if age > 40 and school == "degree" else "low"
        lines.append(f"p{number},{age},{school},2024-{1 + number % 12:02d}-01,{pay}")
    return write("census.csv", [*lines, "p100,30,none,2024-01-01,"])


def test_a_table_says_what_it_is_taken_for_and_what_is_left_out(census: Path) -> None:
    data = ClassTable(path=census, target="pay", min_count=2)
    data.prepare()
    inputs, outputs = data.ports()
    assert isinstance(inputs, Fields) and outputs == Classes(("high", "low"))
    assert inputs.numbers == ("age", "joined day", "joined month", "joined weekday")
    assert inputs.categories == ("school",) and inputs.levels == (4,)
    assert {name: len(data.split(name) or ()) for name in ("train", "valid", "test")} == {
        "train": 70,
        "valid": 10,
        "test": 20,
    }
    assert data.remarks() == [
        "taken for 1 number (age); 1 category (school); 1 date (joined); ignored person, which name the rows: "
        "task.data.roles changes it."
    ]
    assert [(part.count, part.why) for part in data.left_out()] == [(1, f"no pay, as in {census}, line 102")]


def test_a_row_is_read_as_json_as_cells_or_as_a_file_alike(census: Path, tmp_path: Path, write: Any) -> None:
    data = ClassTable(path=census, target="pay", min_count=2)
    data.prepare()
    data.save(tmp_path)
    again = ClassTable(path=Path("not there"), target="pay")
    again.load(tmp_path)
    assert again.ports() == data.ports()
    rows = [
        again.parse('{"school": "degree", "age": 47, "joined": "2024-03-01"}'),
        again.parse("p7,47,degree,2024-03-01"),
        again.parse("p7,47,degree,2024-03-01,low"),
        again.parse("p7;47;degree;2024-03-01"),
        again.read(write("row.csv", ["school,joined,age", "degree,2024-03-01,47"])),
    ]
    for row in rows[1:]:
        assert all(torch.equal(*both) for both in zip(row, rows[0], strict=True))
    again.parse('{"school": "unheard of"}')
    assert again.noticed() == ["1 row has a level of 'school' that no training row has, or too few."]
    assert again.noticed() == []
    with pytest.raises(LabwrightError, match=r"has 2 cells; a row has 4, in the order person, age, school, joined"):
        again.parse("47,degree")
    with pytest.raises(LabwrightError, match=r"no column is called 'scool'; did you mean 'school'\?"):
        again.parse('{"scool": "degree"}')
    with pytest.raises(LabwrightError, match=r"has 101 rows, .*: `labwright predict RUN --on census.csv`"):
        again.read(census)


def test_what_is_wrong_with_a_table_is_said(census: Path, write: Any) -> None:
    for settings, message in (
        ({"target": "pey"}, r"there is no column 'pey'; did you mean 'pay'\? task.data.target"),
        ({"target": "pay", "roles": {"agee": "number"}}, r"task.data.roles: no column is called 'agee'; did you mean"),
        ({"target": "pay", "valid": 0.5, "test": 0.5}, r"task.data.valid and task.data.test: given 0.5 and 0.5"),
        ({"target": "pay", "roles": dict.fromkeys(("age", "school", "joined"), "ignore")}, r"no column but 'pay'"),
    ):
        with pytest.raises(LabwrightError, match=message):
            ClassTable(path=census, **settings).prepare()
    with pytest.raises(LabwrightError, match=r"census\.csv, line 2: 'pay' is 'high', where a.* 'tabular/table'"):
        NumberTable(path=census, target="pay").prepare()
    with pytest.raises(LabwrightError, match=r"column 1 has no name"):
        ClassTable(path=write("unnamed.csv", [",a,b", "0,1,x", "1,2,y"]), target="b").prepare()


def test_json_lines_and_parquet_give_what_csv_gives(census: Path, tmp_path: Path, write: Any) -> None:
    import pyarrow
    from pyarrow import parquet

    header, *lines = census.read_text().splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    objects = [{key: int(cell) if key == "age" else cell or None for key, cell in row.items()} for row in rows]
    write("census.jsonl", [json.dumps(row) for row in objects])
    parquet.write_table(pyarrow.Table.from_pylist(objects), tmp_path / "census.parquet")
    tables = [ClassTable(path=tmp_path / f"census.{ending}", target="pay") for ending in ("csv", "jsonl", "parquet")]
    for data in tables:
        data.prepare()
        assert data.ports() == tables[0].ports()
        for name in ("train", "valid", "test"):
            ours, theirs = data.split(name), tables[0].split(name)
            assert ours is not None and theirs is not None
            assert all(torch.equal(*both) for both in zip(ours.inputs, theirs.inputs, strict=True))
            assert torch.equal(ours.labels, theirs.labels)


def test_embedded_tables_are_scikit_learns() -> None:
    from sklearn.datasets import load_diabetes, load_wine

    wine = Wine()
    wine.prepare()
    assert wine.ports()[1] == Classes(("class_0", "class_1", "class_2"))
    parts = [part for name in ("train", "valid", "test") if (part := wine.split(name)) is not None]
    assert sum(map(len, parts)) == 178
    assert torch.cat([part.labels for part in parts]).bincount().tolist() == np.bincount(load_wine().target).tolist()
    diabetes = Diabetes()
    diabetes.prepare()
    outputs, train = diabetes.ports()[1], diabetes.split("train")
    assert isinstance(outputs, Scaled) and train is not None
    assert train.labels.mean().item() == pytest.approx(outputs.mean[0])
    target = np.sort(load_diabetes(scaled=False).target)
    ours = torch.cat([part.labels for name in ("train", "valid", "test") if (part := diabetes.split(name)) is not None])
    assert np.sort(ours.flatten().numpy()).tolist() == target.tolist()


@pytest.mark.parametrize(
    ("file", "target", "rows", "categories", "ignored"),
    [
        ("criteo_2000.csv.gz", "Label", 1999, {f"C{number}" for number in range(1, 27)}, {"Id"}),
        ("criteo_200_deepctr.csv.gz", "label", 200, {f"C{number}" for number in range(1, 27)}, set()),
    ],
)
def test_criteo_loads_as_it_is_published(
    shared: Callable[[str], Path], file: str, target: str, rows: int, categories: set[str], ignored: set[str]
) -> None:
    data = ClassTable(path=shared(f"criteo_tiny/{file}"), target=target)
    data.prepare()
    inputs = data.ports()[0]
    assert isinstance(inputs, Fields)
    assert sum(len(data.split(name) or ()) for name in ("train", "valid", "test")) == rows
    assert {column.name for column in data.columns.columns if column.role == "category"} <= categories
    assert set(inputs.categories) <= categories
    assert {name for name in inputs.numbers if "missing" not in name} <= {f"I{number}" for number in range(1, 14)}
    assert ignored <= {column.name for column in data.columns.columns if column.role == "ignore"}


def test_parts_that_were_published_are_kept_and_a_header_may_be_given(write: Any, tmp_path: Path) -> None:
    rows = [f"{number},{'ab'[number % 2]},{number % 3 > 0}" for number in range(60)]
    for name, some in (("train.csv", rows[:40]), ("test.csv", rows[40:])):
        write(name, some)
    files = ClassTable(path=tmp_path, target="y", columns=["x", "kind", "y"], min_count=1)
    files.prepare()
    sizes = {name: len(files.split(name) or ()) for name in ("train", "valid", "test")}
    assert sizes == {"train": 36, "valid": 4, "test": 20}
    assert [column.name for column in files.columns.columns] == ["x", "kind"]
    train, test = files.split("train"), files.split("test")
    assert train is not None and test is not None
    assert test.labels.tolist() == [int(number % 3 > 0) for number in range(40, 60)]
    assert files.place("test", 0) == f"{tmp_path / 'test.csv'}, line 1"
    sets = [f"{row},{'test' if number % 4 == 0 else 'train'}" for number, row in enumerate(rows)]
    column = ClassTable(
        path=write("sets.csv", ["x,kind,y,set", *sets]), target="y", parts=Parts(column="set"), valid=0.0, min_count=1
    )
    column.prepare()
    assert column.split("valid") is None and len(column.split("test") or ()) == 15
    assert [used.name for used in column.columns.used] == ["x", "kind"]
