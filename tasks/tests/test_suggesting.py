"""The rule for sizes, worked out by hand; a look into tables; a recipe as it is written."""

from __future__ import annotations

import tomllib

import pytest
from labwright_tasks.suggesting.columns import glimpse
from labwright_tasks.suggesting.sizes import sized
from labwright_tasks.suggesting.suggestion import Suggestion


@pytest.mark.parametrize(
    ("samples", "batch_size", "dropout"),
    [
        (40, 16, 0.5),
        (1_600, 32, 0.5),  # 1,600 / 32 are 50 updates
        (1_599, 16, 0.5),  # at 32 there would be fewer than 50
        (6_400, 128, 0.3),
        (100_000, 128, 0.1),
    ],
)
def test_sizes_follow_from_the_number_of_samples(samples, batch_size, dropout):
    sizes = sized(samples)
    assert (sizes.batch_size, sizes.dropout) == (batch_size, dropout)
    assert sizes.train()["epochs"] == "auto"
    assert f"{samples:,} samples" in sizes.reasons[0]


def test_of_a_folder_the_table_of_its_training_part_is_looked_into(tmp_path):
    for name, rows in (("valid.csv", 2), ("train.csv", 3), ("notes.csv", 4)):
        (tmp_path / name).write_text("a,b\n" + "1,2\n" * rows)
    seen = glimpse(tmp_path)
    assert seen is not None and seen.rows == 3


def test_a_recipe_is_written_as_it_is_with_its_reasons_above():
    recipe = {
        "task": {
            "name": "classification",
            "data": {"name": "x/y", "folder": 'a "b" \\ é', "flip": False, "rate": 3e-3},
        },
        "stop": [{"name": "early", "patience": 3}],
    }
    written = Suggestion("pictures", recipe, {"task": ("Because " + "so " * 60,)}, ("One is odd.",)).toml()
    assert tomllib.loads(written) == recipe
    lines = written.splitlines()
    assert lines[:2] == ["# Pictures.", "# One is odd."]
    assert lines[3].startswith("# Because so") and all(len(line) <= 120 for line in lines if line.startswith("#"))


@pytest.mark.parametrize(
    ("name", "content", "sign"),
    [
        ("a.csv", 'User ID,text\n1,"one, two"\n2,three\n,four\n', ","),
        ("b.csv", "User ID;text\n1;one, two\n2;three\n;four\n", ";"),
        ("c.tsv", "User ID\ttext\n1\tone, two\n2\tthree\n\tfour\n", "\t"),
        ("d.jsonl", '{"User ID": 1, "text": "one, two"}\n\n{"User ID": 2, "text": "three"}\n{"text": "four"}\n', ""),
    ],
)
def test_a_table_is_looked_into_whatever_its_kind(tmp_path, name, content, sign):
    (tmp_path / name).write_text(content)
    seen = glimpse(tmp_path / name)
    assert (seen.rows, seen.sign) == (3, sign)
    user = seen.called("user")
    assert user.name == "User ID" and list(user.cells) == ["1", "2"] and user.numeric
    assert seen.columns[1].words == pytest.approx(4 / 3)


def test_what_is_no_table_is_none(tmp_path):
    (tmp_path / "x.txt").write_text("a,b\n1,2\n")
    assert glimpse(tmp_path / "x.txt") is None and glimpse(tmp_path) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no file or folder 'nowhere'"),
        (["empty"], "nothing here knows what that is"),
        (["empty", "--out", "recipe.txt"], "ends in .toml"),
        (["empty", "--out", "there.toml"], "there.toml is there already"),
        (["empty", "--as", "vision/class-picture"], "did you mean 'vision/class-pictures'?"),
    ],
)
def test_a_slip_is_answered_in_one_message(command, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.toml").touch()
    code, _, err = command("suggest", *arguments)
    assert code == 2 and message in err and "Traceback" not in err
    assert not (tmp_path / "suggested.toml").exists()
