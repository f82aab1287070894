"""The rule for sizes, worked out by hand; a look into tables; a recipe as it is written."""

from __future__ import annotations

import gzip
import tomllib

import pytest
from labwright import LabwrightError
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
    ("name", "content", "written"),
    [
        ("a.csv", 'User ID,text\n1,"one, two"\n2,three\n,four\n', {}),
        ("b.csv", "User ID;text\n1;one, two\n2;three\n;four\n", {"delimiter": ";"}),
        ("c.tsv", "User ID\ttext\n1\tone, two\n2\tthree\n\tfour\n", {}),
        ("d.jsonl", '{"User ID": 1, "text": "one, two"}\n\n{"User ID": 2, "text": "three"}\n{"text": "four"}\n', {}),
        ("e.json", '[{"User ID": 1, "text": "one, two"}, {"User ID": 2, "text": "three"}, {"text": "four"}]', {}),
        ("f.dat", "User ID::text\n1::one, two\n2::three\n::four\n", {"delimiter": "::"}),
    ],
)
def test_a_table_is_looked_into_whatever_its_kind(tmp_path, name, content, written):
    (tmp_path / name).write_text(content)
    seen = glimpse(tmp_path / name)
    assert (seen.rows, seen.written) == (3, written)
    user = seen.called("user")
    assert user.name == "User ID" and list(user.cells) == ["1", "2"] and user.numeric
    assert seen.columns[1].words == pytest.approx(4 / 3)


def test_what_is_no_table_is_none(tmp_path):
    (tmp_path / "x.txt").write_text("a,b\n1,2\n")
    assert glimpse(tmp_path / "x.txt") is None and glimpse(tmp_path) is None


def test_what_isnt_plain_from_a_table_is_written_down(tmp_path):
    (tmp_path / "bare.csv").write_text("1,4.5,dull\n2,3.5,fine\n")
    assert glimpse(tmp_path / "bare.csv").written == {"columns": ["column 1", "column 2", "column 3"]}
    (tmp_path / "old.csv").write_bytes("text,label\ncafé,a\nthé,b\n".encode("cp1252"))
    assert glimpse(tmp_path / "old.csv").written == {"encoding": "cp1252"}
    (tmp_path / "split.csv").write_text("split,a\ntrain,1\ndev,2\n")
    seen = glimpse(tmp_path / "split.csv")
    assert seen.written == {"parts": {"column": "split"}} and [column.name for column in seen.columns] == ["a"]


def test_of_a_folder_the_table_is_taken_or_that_of_the_training_part(tmp_path):
    (tmp_path / "README.md").write_text("a, b")
    (tmp_path / "data_dictionary.csv").write_text("name,meaning\na,length\n")
    (tmp_path / "flowers.csv").write_text("a,b\n1,2\n")
    seen = glimpse(tmp_path)
    assert seen.path == tmp_path / "flowers.csv" and "Not read: README.md, data_dictionary.csv." in seen.notes
    (tmp_path / "more.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(LabwrightError, match=r"several tables, flowers\.csv, more\.tsv, and none is called `train`"):
        glimpse(tmp_path)
    for name, rows in (("train", 3), ("dev", 2), ("test", 1)):
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt") as file:
            file.write("a,b\n" + "1,2\n" * rows)
    seen = glimpse(tmp_path)
    assert (seen.path, seen.rows) == (tmp_path, 3)
    assert seen.notes[0] == "The parts are files of their own: train 3, valid 2, test 1 rows."


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
