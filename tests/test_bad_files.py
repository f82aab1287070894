"""What may lie about or be typed beside a recipe's settings: each gets its one message, and nothing is changed by it.

Slips in recipes, data and run folders are in test_bad_input.py.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from labwright.cli import main

MLP = "vision/digits-mlp"
LONG = "a" * 300
RECIPE = b"""\
task = { name = "classification", data = "vision/digits" }
model = "vision/mlp"
loss = "cross-entropy"
optimizer = "sgd"
train = { steps = 3 }
"""


@dataclass(frozen=True)
class Case:
    """A command in a folder with some files, and a pattern of its one message."""

    command: list[str]
    said: str
    files: dict[str, bytes | None] = field(default_factory=dict)  # None: a folder


def show(said: str, *overrides: str, text: bytes | None = RECIPE) -> Case:
    """`labwright show` of a file that is a recipe, or none."""
    return Case(["show", "mine.toml", *overrides], said, {"mine.toml": text})


def recipe(said: str, before: bytes, after: bytes) -> Case:
    """`labwright show` of the recipe with some of its text replaced."""
    assert before in RECIPE
    return show(said, text=RECIPE.replace(before, after))


def local(said: str, source: str, name: str = "mine_local.py") -> Case:
    """`labwright --plugin FILE list` of a file with this source."""
    return Case(["--plugin", name, "list"], said, {name: source.encode()})


def settings(said: str, text: bytes | None, name: str = "labwright.toml") -> Case:
    return Case(["list"], said, {name: text})


def says(said: str, *command: str) -> Case:
    return Case(list(command), said)


CASES = {
    # recipes that are none
    "a recipe in UTF-16": show(
        r"mine\.toml can't be read: line 1 is no UTF-8, byte 0xff; save it as UTF-8",
        text=RECIPE.decode().encode("utf-16"),
    ),
    "a recipe in another encoding": show(r"line 6 is no UTF-8, byte 0xe9", text=RECIPE + b"# caf\xe9"),
    "a recipe nested too deep": show(r"nested more than 50 deep", text=b"a = " + b"[" * 9_000 + b"]" * 9_000),
    "a recipe of tables in tables": show(r"nested more than 50 deep", text=b"[" + b"a." * 9_000 + b"a]"),
    "a recipe that is far too long": show(r"more than 1,000,000 bytes", text=RECIPE + b"# " + b"a" * 1_000_000),
    "a number of five thousand digits": show(r"can't be read: ", text=b"a = " + b"9" * 5_000),
    "a number of more than 64 bits": show(r"a whole number of 80 bits; 64", text=b"a = 0x" + b"f" * 20),
    "a folder for a recipe": show(r"mine\.toml can't be read: Is a directory", text=None),
    "an empty recipe": show(r"task: the recipe names no task", text=b""),
    "a binary file for a recipe": show(r"is no UTF-8|can't be read", text=bytes(range(256))),
    "a key that stands there twice": show(r"can't be read: Cannot overwrite", text=RECIPE + b'loss = "mse"'),
    "a recipe with a name too long": says(r"a+\.toml can't be read: File name too long", "show", LONG + ".toml"),
    # values that no setting has
    "a date for a number": recipe(
        r"toml:5: train\.steps: train is given datetime\.date\(2026, 1, 1\), which no recipe", b"3", b"2026-01-01"
    ),
    "nan for a number": recipe(
        r"train\.clip: train is given nan, which no recipe can hold", b"steps", b"clip = nan, steps"
    ),
    "a list for a number": recipe(r"train\.steps: given \[3\]; it should be a whole number", b"3", b"[3]"),
    "a table for a number": recipe(r"train\.steps: given \{'a': 3\}; it should", b"3", b"{ a = 3 }"),
    "a number for a table": recipe(r"toml:5: train: given 3; it is a table", b"{ steps = 3 }", b"3"),
    "a text for a list": show(
        r"stop: given 'early'; it is a list, such as \[\"early\"\]", text=RECIPE + b'stop = "early"'
    ),
    "a number for a component": recipe(r"toml:2: model: given 3; a model is a name", b'"vision/mlp"', b"3"),
    "a date for a component": recipe(
        r"toml:2: model: given a datetime\.date, which is no torch", b'"vision/mlp"', b"2026-01-01"
    ),
    "a name that is no text": recipe(
        r"toml:2: model\.name: given \[1\]; a model is one of", b'"vision/mlp"', b"{ name = [1] }"
    ),
    "an object of another process": recipe(r"was an object given from Python", b'"vision/mlp"', b'{ object = "a.b" }'),
    "a name with control characters": show(r"loss: no loss is called '\\x1b\[31mred'", "loss=\x1b[31mred"),
    "a name with brackets": show(r"loss: no loss is called '\[/bold\]'", "loss=[/bold]"),
    # paths
    "a path of nobody": show(
        r"task\.data\.folder: given '~nobody-at-all/x'; there is nobody",
        "task.data={name='vision/image-folder',folder='~nobody-at-all/x'}",
    ),
    "a path with a zero byte": recipe(
        r"task\.data\.folder: given 'a\\x00'; a path has no zero bytes",
        b'"vision/digits"',
        b'{ name = "vision/image-folder", folder = "a\\u0000" }',
    ),
    "a path too long": show(
        r"folder: given 'a+ \.\.\. a+'; the name is too long",
        "task.data=vision/image-folder",
        f"task.data.folder={LONG}",
    ),
    "a path that is no Unicode": show(
        r"folder: .* is given '\\udcff', which no recipe can hold: it is no Unicode",
        "task.data=vision/image-folder",
        "task.data.folder=\udcff",
    ),
    # overrides
    "an override a hundred deep": show(
        r"override .*: it leads 101 tables deep; a recipe has 50", "model" + ".a" * 100 + "=1"
    ),
    "an override that sets nothing": show(r"override '=5' is no assignment", "=5"),
    "an override through a list": show(r"log is \[\], which has no fields", "log=[]", "log.first=1"),
    "an override of a thousand characters": show(
        r"given .{150,260}; it should be a whole number", "train.steps=" + "x" * 1_000
    ),
    "a model beyond all memory": Case(
        ["run", MLP, "model.width=9000000000000", "--folder", "run"],
        r"'vision/mlp' can't be built: it asks for a tensor of shape \(9000000000000, 64\), which takes 2,304,000\.0 ",
    ),
    # settings of the project
    "settings that are no TOML": settings(r"labwright\.toml can't be read: Invalid value", b"disable ="),
    "settings in UTF-16": settings(r"labwright\.toml can't be read: line 1 is no UTF-8", "allow = []".encode("utf-16")),
    "settings that are a folder": settings(r"labwright\.toml can't be read: .*directory", None),
    "a misspelt setting of the project": settings(r"no setting 'dissable'; did you mean 'disable'", b"dissable = []"),
    "plugins that are no list": settings(r"allow is a list of plugin names, .*not 'nlp'", b'allow = "nlp"'),
    "a pyproject that is no TOML": settings(r"pyproject\.toml can't be read: ", b"[tool", "pyproject.toml"),
    "a local file that isn't there": settings(r"plugin .*absent\.py: there is no such file", b'local = ["absent.py"]'),
    "a lock that is torn": Case(
        ["--locked", "list"], r"labwright\.lock can't be read.*writes it anew", {"labwright.lock": b"[nlp"}
    ),
    "no lock": says(r"--locked: there is no labwright\.lock here or above", "--locked", "list"),
    # plugins in a file
    "a plugin that isn't there": says(r"plugin .*absent\.py: there is no such file", "--plugin", "absent.py", "list"),
    "a plugin that is no module": local(r"my-plugin\.py: it is a Python module, called like", "", "my-plugin.py"),
    "a plugin that doesn't import": local(r"mine_local\.py failed to import: ZeroDivisionError", "1 / 0"),
    "a plugin that ends the program": local(r"mine_local\.py failed to import: SystemExit: 3", "raise SystemExit(3)"),
    "a plugin that is no Python": local(r"mine_local\.py failed to import: SyntaxError", "def (:"),
    "a plugin that brings nothing": local(r"implements none of labwright's hooks", "x = 1"),
    "a plugin of a name too long": says(
        r"plugin 'a+ \.\.\. a+\.py': the name is too long", "--plugin", LONG + ".py", "list"
    ),
    # verbs
    "a misspelt action on plugins": says(r"given 'lokc'; did you mean 'lock'", "plugins", "lokc"),
    "a plugin to check that isn't there": says(
        r"no plugin is called 'visoin'; did you mean 'vision'", "check", "--quick", "visoin"
    ),
    "no plugin to check": says(r"takes the name of a plugin; `labwright check --quick` looks at all", "check"),
    "a check where it was in 0.1": says(
        r"given 'check nlp'; that is `labwright check --quick` since 0\.2", "plugins", "check", "nlp"
    ),
    "a kind without a name": says(r"`show model` takes one name: .*vision/cnn", "show", "model"),
    "a component that isn't there": says(
        r"no model is called 'vision/mpl'; did you mean 'vision/mlp'", "show", "model", "vision/mpl"
    ),
    "what fits a recipe that isn't there": says(
        r"did you mean 'vision/digits'", "list", "models", "--for", "vision/digist"
    ),
    "nothing that can be made": says(r"makes no 'modle'; did you mean 'model'", "new", "modle", "x"),
    "a new plugin that no name is for": says(r"can't be called 'My Plugin'", "new", "plugin", "My Plugin"),
    "a new plugin that Python needs the word for": says(
        r"can't be called 'class': that is a word of Python's", "new", "plugin", "class"
    ),
    "a new plugin of a name in use": says(r"a plugin called 'vision' is installed", "new", "plugin", "vision"),
    "a new component outside a plugin": says(r"there is no pyproject\.toml here or above", "new", "model", "x"),
    "a new component in a pyproject of something else": Case(
        ["new", "model", "x"], r"has no \[project\.entry-points\.labwright\]", {"pyproject.toml": b"project = 3"}
    ),
    "a sampler that isn't there": says(
        r"no sampler is called 'tpee'; did you mean 'tpe'", "tune", MLP, "--sampler", "tpee"
    ),
    "a range that is no assignment": says(r"--search 'x': write PATH=RANGE", "tune", MLP, "--search", "x"),
    "a fixed path that nobody searches": says(
        r"'nothing\.at\.all' is nothing that is searched", "tune", MLP, "--fix", "nothing.at.all"
    ),
    "a misspelt action on a study": says(r"has no 'shwo'; did you mean 'show'", "study", "shwo", "x"),
    "a study that isn't there": says(r"there is no study 'absent'", "study", "show", "absent"),
    "a study to join that isn't there": says(r"there is no study 'absent'", "worker", "absent"),
    "nothing to compare": says(r"needs two candidates or more", "compare"),
    "a candidate that isn't there": says(r"did you mean 'vision/digits'", "compare", "vision/digist", MLP),
    "no run to export": says(r"'absent' is no run folder", "export", "absent"),
    "no run to predict with": says(r"'absent' is no run folder", "predict", "absent", "x"),
    "a run of a name too long": says(r"[Ff]ile name too long", "evaluate", LONG),
}


@pytest.mark.parametrize("case", CASES)
def test_what_lies_about_or_is_typed_gets_one_message(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one = CASES[case]
    for name, content in one.files.items():
        (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["labwright", *one.command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, ""), said.err
    assert said.err.count("error: ") == 1 and "Traceback" not in said.err, said.err
    assert re.search(one.said, said.err, re.DOTALL), said.err
    assert len(said.err) < 3_000 and "\x1b" not in said.err
    there = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    assert there == set(one.files)


@pytest.mark.parametrize(
    "command",
    [
        ["[red]x"],
        ["list", "--jsn"],
        ["schema", "x"],
        ["run"],
        ["run", MLP, "--trials", "3"],
        ["tune", MLP, "--trials", "x"],
        ["verify-resume", MLP, "--steps", "1"],
        ["study", "show"],
        ["a\x1b[31mb"],
        ["list\udcff"],
    ],
)
def test_a_command_line_that_is_none_is_answered_with_the_way_to_help(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["labwright", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert re.search(r"Try '.* -h' for help|`labwright (--help|study list)` shows", said.err)
    assert "Traceback" not in said.err and "\x1b[31mb" not in said.err


def test_a_recipe_with_a_byte_order_mark_is_a_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = []
    for mark in (b"", b"\xef\xbb\xbf"):
        Path("mine.toml").write_bytes(mark + RECIPE.replace(b"\n", b"\r\n"))
        monkeypatch.setattr(sys, "argv", ["labwright", "show", "mine.toml"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and 'name = "vision/mlp"' in shown[0]


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe stands for it where the tests run as the administrator, who may read everything."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("mine.toml")
    monkeypatch.setattr(sys, "argv", ["labwright", "show", "mine.toml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "error: mine.toml can't be read: it is a pipe or a device." in capsys.readouterr().err


def test_there_are_seventy_cases_here() -> None:
    assert len(CASES) >= 70
