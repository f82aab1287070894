"""Pictures that a table names: classes, several labels in a cell, numbers; parts as published, groups kept together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import labwright as lw
import numpy as np
import PIL.Image
import pytest
import torch
from labwright import Classes, Heads, Image, LabwrightError, Values
from labwright_vision.data.table import PictureTable

Paint = Callable[..., Path]


@pytest.fixture
def rows(tmp_path: Path, paint: Paint) -> list[dict[str, object]]:
    """Thirty pictures in img/, of five patients."""
    for number in range(30):
        paint(f"img/{number:02d}.png", colour=(number * 8, 0, 0))
    return [
        {
            "path": f"img/{n:02d}.png",
            "label": ("cat", "dog")[n % 2],
            "age": n / 2,
            "patient": f"p{n % 5}",
            "tags": "a;b" if n % 3 else "",
        }
        for n in range(30)
    ]


def written(tmp_path: Path, rows: list[dict[str, object]], name: str = "labels.csv") -> Path:
    if name.endswith(".jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]) + "\n"
    (tmp_path / name).write_text(text)
    return tmp_path / name


def prepared(path: Path, **settings: object) -> PictureTable:
    data = PictureTable(**{"path": path, "size": 8, "valid": 0.2, "test": 0.2} | settings)  # type: ignore[arg-type]
    data.prepare()
    return data


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl"])
def test_a_table_of_paths_and_classes(tmp_path: Path, rows: list[dict[str, object]], name: str) -> None:
    data = prepared(written(tmp_path, rows, name))
    assert data.ports() == (Image(3, 8, 8), Classes(("cat", "dog")))
    counts = {part: data.split(part).labels.bincount().tolist() for part in ("train", "valid", "test")}  # type: ignore[union-attr]
    assert counts == {"train": [9, 9], "valid": [3, 3], "test": [3, 3]}
    split = data.split("train")
    assert split is not None
    labels = [("cat", "dog")[int(path.name[:2]) % 2] for path in split.paths]  # type: ignore[attr-defined]
    assert [data.names[label] for label in split.labels.tolist()] == labels


def test_several_labels_in_a_cell_are_heads_and_an_empty_cell_has_none(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    data = prepared(written(tmp_path, rows), label="tags", targets="several", valid=0.0, test=0.0)
    outputs = data.ports()[1]
    assert isinstance(outputs, Heads) and [*outputs.ports] == ["a", "b"]
    split = data.split("train")
    assert split is not None
    targets = split.fetch(torch.arange(30), 0, 0).targets
    assert targets["a"].tolist() == [int(n % 3 > 0) for n in range(30)] == targets["b"].tolist()


def test_labels_that_no_training_row_has_are_told(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    parts = [
        {**row, "split": ("train", "test")[n % 3 == 0], "tags": ("a;b", "a;c")[n % 3 == 0]}
        for n, row in enumerate(rows)
    ]
    data = prepared(written(tmp_path, parts), label="tags", targets="several", parts=_parts())
    assert [(kind.count, kind.what, kind.why) for kind in data.left_out()] == [
        (10, "labels", "no row to learn from has c")
    ]
    other = data.on(written(tmp_path, [{**rows[0], "tags": "a;d"}], "new.csv"))
    assert [(kind.count, kind.what) for kind in other.left_out()] == [(1, "label")]


def test_a_part_of_which_no_picture_can_be_read_is_refused(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    gone = {**rows[0], "path": "img/77.png", "split": "valid"}
    table = written(tmp_path, [*({**row, "split": "train"} for row in rows), gone])
    with pytest.raises(LabwrightError, match=r"no picture of valid can be read"):
        prepared(table, parts=_parts(), on_damaged="leave-out")
    data = prepared(written(tmp_path, rows, "all.csv"), on_damaged="leave-out")
    with pytest.raises(LabwrightError, match=r"no picture of test can be read"):
        data.on(written(tmp_path, [gone], "new.csv"))


def test_numbers_are_targets_of_a_regression(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    data = prepared(written(tmp_path, rows), label="age", targets="numbers", valid=0.0, test=0.0)
    split = data.split("train")
    assert data.ports()[1] == Values(1) and split is not None
    assert split.labels[:, 0].tolist() == [n / 2 for n in range(30)]


def test_a_group_is_on_one_side_of_what_is_held_out(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    data = prepared(written(tmp_path, rows), group="patient")
    sides = {part: {int(path.name[:2]) % 5 for path in data.split(part).paths} for part in ("train", "valid", "test")}  # type: ignore[union-attr, attr-defined]
    assert sorted(len(side) for side in sides.values()) == [1, 1, 3]
    assert not sides["train"] & sides["test"] and not sides["train"] & sides["valid"]


def test_groups_that_are_larger_than_what_is_held_out_are_told(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    with pytest.raises(LabwrightError, match=r"30 rows are in groups too large to hold out 0\.1 of them: change"):
        prepared(written(tmp_path, rows), group="patient", test=0.1)


def test_rows_without_a_group_are_refused_and_groups_in_several_parts_told(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    with pytest.raises(LabwrightError, match=r"labels\.csv, line 4: task\.data\.group: the row has no group"):
        prepared(
            written(tmp_path, [{**row, "patient": "" if n == 2 else "p"} for n, row in enumerate(rows)]),
            group="patient",
        )
    parted = [{**row, "split": "train" if n < 28 else "test"} for n, row in enumerate(rows)]
    data = prepared(written(tmp_path, parted), group="patient", parts=_parts(), valid=0.3)
    assert data.remarks() == ["2 groups of test are in train as well, such as 'p3': test flatters."]


def test_names_without_an_ending_below_a_folder_and_a_column_of_parts(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    named = [
        {"id": str(row["path"])[4:6], "label": row["label"], "split": ("train", "val", "test")[n % 3]}
        for n, row in enumerate(rows)
    ]
    path = written(tmp_path, named)
    data = prepared(path, picture="id", folder=tmp_path / "img", suffix=".png", parts=_parts())
    assert [len(data.split(part) or ()) for part in ("train", "valid", "test")] == [10, 10, 10]


def _parts() -> object:
    from labwright_tasks.published import Parts

    return Parts(column="split")


def test_a_picture_that_is_not_there_is_named_or_left_out(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    path = written(tmp_path, [*rows, {**rows[0], "path": "img/77.png"}])
    with pytest.raises(LabwrightError, match=r"1 of 31 pictures can't be read \(img/77\.png: there is no such file\)"):
        prepared(path)
    data = prepared(path, on_damaged="leave-out", valid=0.0, test=0.0)
    assert len(data.split("train") or ()) == 30
    assert [(kind.count, kind.what) for kind in data.left_out()] == [(1, "picture")]


def test_a_column_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    with pytest.raises(LabwrightError, match=r"there is no column 'paht'; did you mean 'path'\?.*task\.data\.picture"):
        prepared(written(tmp_path, rows), picture="paht")


def test_other_data_is_another_table_and_what_was_learned_is_kept(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    data = prepared(written(tmp_path, rows))
    (tmp_path / "kept").mkdir()
    data.save(tmp_path / "kept")
    loaded = PictureTable(path=tmp_path / "gone.csv", size=8)
    loaded.load(tmp_path / "kept")
    assert loaded.ports() == data.ports()
    other = loaded.on(written(tmp_path, [*rows[:4], {**rows[5], "label": "cow"}], "new.csv"))
    split = other.split("test")
    assert split is not None and split.labels.tolist() == [0, 1, 0, 1]
    assert [kind.count for kind in other.left_out()] == [1]


def test_a_picture_listed_twice_with_other_labels_is_told_with_its_rows(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    again = [*rows, {**rows[3], "label": "cat", "tags": "b"}, rows[4]]
    data = prepared(written(tmp_path, again), valid=0.0, test=0.0)
    assert data.remarks() == [
        f"1 picture under two classes, such as img/03.png ({tmp_path}/labels.csv, line 32) and img/03.png "
        f"({tmp_path}/labels.csv, line 5): take the wrong ones away."
    ]
    data = prepared(written(tmp_path, again), label="tags", targets="several", valid=0.0, test=0.0)
    assert [remark.split(",")[0] for remark in data.remarks()] == ["1 picture with different labels"]


def test_a_table_names_pictures_to_be_answered_with_labels_or_without(
    tmp_path: Path, rows: list[dict[str, object]]
) -> None:
    data = prepared(written(tmp_path, rows))
    new = written(tmp_path, [{"path": "img/01.png"}, {"path": "img/77.png"}], "new.csv")
    inputs = dict(data.inputs(new) or ())
    first, gone = (f"img/{name}.png ({new}, line {line})" for name, line in (("01", 2), ("77", 3)))
    assert [*inputs] == [first, gone]
    assert torch.equal(inputs[first]()[0], data.read(tmp_path / "img/01.png")[0])
    with pytest.raises(LabwrightError, match=r"img/77\.png: there is no such file"):
        inputs[gone]()
    assert data.inputs(tmp_path / "img") is None and data.inputs(tmp_path / "img/01.png") is None


@pytest.mark.parametrize(("label", "targets"), [("tags", "several"), (("warmth", "ground"), "classes")])
def test_several_labels_are_learned_measured_by_head_shown_and_answered(
    tmp_path: Path, label: object, targets: str
) -> None:
    """Red above and green below are there or not: both are learned from a few pictures."""
    draws, lines = np.random.default_rng(0), ["path,tags,warmth,ground"]
    for number in range(120):
        pixels = draws.integers(0, 80, (16, 16, 3), dtype=np.uint8)
        red, green = number % 2 == 0, number % 3 == 0
        pixels[2:6, 2:6, 0], pixels[10:14, 10:14, 1] = 255 * red, 255 * green
        PIL.Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        tags = ";".join(["red"] * red + ["green"] * green)
        lines.append(f"{number}.png,{tags},{'warm' if red else 'cold'},{'grass' if green else 'bare'}")
    (tmp_path / "all.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "new.csv").write_text("\n".join(lines[:13]) + "\n")
    data = {"name": "vision/table", "path": str(tmp_path / "all.csv"), "label": label, "targets": targets, "size": 16}
    run = lw.Experiment(
        task={"name": "multi", "data": data, "metrics": {"warmth": ["accuracy", "f1"]} if label != "tags" else None},
        model={"name": "heads", "features": 16, "trunk": {"name": "vision/mlp", "width": 32, "depth": 1}},
        loss="weighted",
        optimizer={"name": "adamw", "lr": 0.01},
        device={"name": "cpu", "threads": 1},
        train={"epochs": 12, "batch_size": 32},
        log=["report"],
    ).run(tmp_path / "run")
    heads = ("red", "green") if label == "tags" else ("warmth", "ground")
    assert all(run.metrics["test"][f"{head}/accuracy"] > 0.9 for head in heads)
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(f"{head}: Confusion matrix" in page for head in heads)
    loaded = lw.load(tmp_path / "run")
    (answer,) = loaded.task.predict(loaded.model, loaded.task.data.read(tmp_path / "3.png"), [None])
    said = [answer[f"{head}/label"] for head in heads]
    assert said == (["no", "yes"] if label == "tags" else ["cold", "grass"])
    other = loaded.task.on(tmp_path / "new.csv")
    measured = lw.evaluate(other, loaded.model, "test", device=torch.device("cpu"), size=8, seed=0)
    assert measured is not None and measured.samples == 12 and measured.metrics[f"{heads[0]}/accuracy"] > 0.9
