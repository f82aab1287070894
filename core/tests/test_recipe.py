"""Reading recipe files, and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
from labwright.base.errors import LabwrightError
from labwright.config.recipe import override, parsed, read_recipe


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("{ a = 1 }", {"a": 1}),
        ('"3"', "3"),
        ("cosine", "cosine"),
        ("vision/digits", "vision/digits"),
        ("True", "True"),
        (".5", ".5"),
        ("1979-05-27", "1979-05-27"),  # TOML has dates; no setting has
        ("1\nother = 2", "1\nother = 2"),
        ("", ""),
    ],
)
def test_a_value_is_what_toml_reads_and_else_the_text(text, value):
    assert parsed(text) == value
    assert type(parsed(text)) is type(value)


def test_overrides_lead_through_tables_made_on_the_way_and_leave_the_recipe_as_it_is():
    recipe = {"task": "classification", "train": {"epochs": 5}}
    changed, notes = override(recipe, ["task.data.valid=0.2", "train.epochs=7", "device.threads=1"])
    assert changed == {
        "task": {"name": "classification", "data": {"valid": 0.2}},
        "train": {"epochs": 7},
        "device": {"threads": 1},
    }
    assert notes == []
    assert recipe == {"task": "classification", "train": {"epochs": 5}}


@pytest.mark.parametrize(
    ("train", "overrides", "length", "notes"),
    [
        ({"epochs": 5}, ["train.steps=4"], {"steps": 4}, ["train.epochs=5 is left out: train.steps=4 says how long."]),
        ({"steps": 9}, ["train.epochs=2"], {"epochs": 2}, ["train.steps=9 is left out: train.epochs=2 says how long."]),
        ({"epochs": 5}, ["train.epochs=2"], {"epochs": 2}, []),
        ({"epochs": 5}, ["train.epochs=", "train.steps=4"], {"steps": 4}, []),
        (
            {"epochs": 5},
            ["train.steps=4", "train.steps=6"],
            {"steps": 6},
            ["train.epochs=5 is left out: train.steps=4"],
        ),
        ({"epochs": 5}, ["train.steps=4", "train.steps="], {}, ["train.epochs=5 is left out: train.steps=4"]),
        # both are said, and a run has one of them: refused later
        ({"epochs": 5}, ["train.steps=4", "train.epochs=5"], {"steps": 4, "epochs": 5}, []),
        ({"epochs": 5, "steps": 3}, ["train.steps=4"], {"steps": 4, "epochs": 5}, []),
        ({}, ["train={epochs=2}", "train.steps=4"], {"steps": 4}, ["train.epochs=2 is left out: train.steps=4"]),
    ],
)
def test_of_epochs_and_steps_an_override_replaces_the_other(train, overrides, length, notes):
    recipe = {"train": train | {"seed": 1}} if train else {}
    changed, told = override(recipe, iter(overrides))
    assert {key: value for key, value in changed["train"].items() if key != "seed"} == length
    assert len(told) == len(notes) and all(one.startswith(other) for one, other in zip(told, notes, strict=True))
    assert recipe == ({"train": train | {"seed": 1}} if train else {})


def test_a_key_with_dots_stands_in_quotes():
    changed, _ = override({}, ['optimizer.groups."*.bias".lr_factor=2', "optimizer.groups.'a.b'.lr_factor=3"])
    assert changed == {"optimizer": {"groups": {"*.bias": {"lr_factor": 2}, "a.b": {"lr_factor": 3}}}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "train.epochs",
            "override 'train.epochs' is no assignment: write field=value without spaces, such as train.epochs=5.",
        ),
        ("=5", "override '=5' is no assignment"),
        ("train..epochs=5", "override 'train..epochs=5' is no assignment"),
        (
            "trian.epochs=5",
            "override 'trian.epochs=5': a recipe has no 'trian'; did you mean 'train'? It has task, model",
        ),
        ("train.epochs.many=5", "override 'train.epochs.many=5': train.epochs is 5, which has no fields."),
        ("log.progress=5", "override 'log.progress=5': log is ['report'], which has no fields."),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(text, said):
    with pytest.raises(LabwrightError) as caught:
        override({"train": {"epochs": 5}, "log": ["report"]}, [text])
    assert str(caught.value).startswith(said)


def test_a_file_that_is_not_there_is_answered_with_the_nearest_beside_it(tmp_path: Path):
    (tmp_path / "digits.toml").write_text("")
    with pytest.raises(LabwrightError) as caught:
        read_recipe(tmp_path / "digit.toml")
    assert str(caught.value) == (
        f"there is no recipe file '{tmp_path}/digit.toml'; did you mean '{tmp_path}/digits.toml'? What ends in "
        ".toml is a file, anything else a recipe's name: `labwright list recipes`."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model =", "can't be read: Invalid value"),
        (b"a = 1\na = 2", "can't be read: Cannot overwrite a value"),
        (b"a = 1\nb = '\xe9'", "can't be read: line 2 is no UTF-8, byte 0xe9; save it as UTF-8."),
        ("a = 1\n".encode("utf-16"), "can't be read: line 1 is no UTF-8, byte 0xff; save it as UTF-8."),
        (b"a = " + b"[" * 60_000 + b"]" * 60_000, "is nested more than 50 deep"),
        (b"a." * 9_000 + b"a = 1", "is nested more than 50 deep"),
        (b"a = " + b"9" * 5_000, "can't be read: Exceeds the limit"),
        (b"a = 0x" + b"f" * 5_000, "a whole number of 20000 bits; 64 are the most"),
        (b"#" * 1_000_001, "more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_recipe_says_what_is_wrong_with_it(tmp_path: Path, content, said):
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(LabwrightError, match=said):
        read_recipe(tmp_path / "recipe.toml")


def test_a_folder_is_no_recipe(tmp_path: Path):
    (tmp_path / "recipe.toml").mkdir()
    with pytest.raises(LabwrightError, match="can't be read"):
        read_recipe(tmp_path / "recipe.toml")
