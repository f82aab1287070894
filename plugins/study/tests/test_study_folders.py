"""Whose a study's folder is: names, what is deleted, links, what is damaged, what can only be read."""

from __future__ import annotations

import io
import itertools
import json
import os
import pty
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from conftest import Site
from labwright.cli import main
from labwright_study.folder import OURS, checked_name
from labwright_study.joining import recalled

PLUGIN = """\
import labwright as lw

@lw.hookimpl
def labwright_components():
    yield lw.Component("task", "toys/sorting", "parts:Sorting", "tell blobs apart")
    yield lw.Component("data", "toys/blobs", "parts:Blobs", "three blobs")
    yield lw.Component("model", "toys/net", "parts:Net", "a small net")
"""
RECIPE = """\
task = { name = "toys/sorting", data = { name = "toys/blobs", size = 60, held_out = 30 } }
model = { name = "toys/net", width = 8 }
loss = "cross-entropy"
optimizer = { name = "sgd", lr = 0.01 }
train = { epochs = 1, batch_size = 15 }
search.only = ["optimizer.lr"]
"""


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a recipe and its plugin."""
    site.install("toys", PLUGIN)
    (site.folder.parent / "toy.toml").write_text(RECIPE)
    monkeypatch.setenv("COLUMNS", "200")
    return site.folder.parent


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Any:
    """What a command says, and how it ends: `said("study", "show", "s")`, in this process."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["labwright", *words])
        capfd.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        told = capfd.readouterr()
        return code, told.out, told.err

    return run


def tune(said: Any, name: str, *more: str) -> None:
    code, _, err = said("tune", "toy.toml", "--trials", "1", "--name", name, *more)
    assert code == 0, err


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "/x", "a\\b", ".hidden", " x", "x ", "a\nb", "a\x1b[2J", "a\0", "x" * 101]
)
def test_a_name_that_could_be_another_folder_is_refused_wherever_it_enters(here: Path, name: str):
    def refused(call: Any) -> None:
        with pytest.raises(lw.LabwrightError, match="given the study's name"):
            call()

    plugins = lw.Experiment.from_recipe("toy.toml").plugins
    refused(lambda: lw.Study(lw.Experiment.from_recipe("toy.toml"), name=name))
    for storage in ("", "sqlite:///x.db"):
        refused(lambda storage=storage: recalled(name, storage, plugins))
    assert sorted(file.name for file in here.iterdir()) == ["site", "toy.toml"]


def test_names_with_brackets_blanks_and_signs_are_names(here: Path, said: Any):
    for name in ("exp[1]", "größe 2", "a*b?", "-x", "a=b,c+d"):
        assert checked_name(name) == name
    tune(said, "exp[1]")
    code, out, err = said("study", "show", "exp[1]")
    assert code == 0 and "study exp[1]: 1 of 1 trials" in out, err
    code, _, err = said("study", "show", "exp[2]")
    assert code == 2 and "did you mean 'exp[1]'" in err
    assert said("study", "delete", "exp[1]")[0] == 0
    assert not (here / "studies" / "exp[1]").exists()


# ------------------------------------------------------------------------------------------------------------- deleting


def test_deleting_takes_what_labwright_wrote_and_leaves_the_rest(here: Path, said: Any):
    tune(said, "s")
    folder = here / "studies" / "s"
    (folder / "notes.md").write_text("precious")
    (folder / "mine").mkdir()
    code, _, err = said("study", "delete", "s")
    assert code == 0
    assert err.splitlines()[-1] == "note: studies/s stays, because labwright didn't write mine, notes.md"
    assert sorted(file.name for file in folder.iterdir()) == ["mine", "notes.md"]
    code, _, err = said("tune", "toy.toml", "--trials", "1", "--name", "s")
    assert code == 2 and "studies/s is there and holds mine, notes.md, but no study. Give another --name" in err
    assert sorted(file.name for file in folder.iterdir()) == ["mine", "notes.md"]


def test_deleting_a_study_of_a_database_leaves_the_folder_of_another(here: Path, said: Any):
    tune(said, "s")
    before = (here / "studies" / "s" / "journal.log").read_bytes()
    code, _, err = said("tune", "toy.toml", "--trials", "1", "--name", "s", "--storage", "sqlite:///x.db")
    assert code == 2 and "studies/s is the folder of the study 's' in journal:studies/s/journal.log" in err
    assert not (here / "x.db").exists()
    (here / "away").mkdir()
    os.chdir(here / "away")
    shutil.copy(here / "toy.toml", "toy.toml")
    tune(said, "s", "--storage", f"sqlite:///{here / 'x.db'}")
    os.chdir(here)
    code, _, err = said("study", "delete", "s", "--storage", "sqlite:///x.db")
    assert code == 0 and err.splitlines()[-1] == "note: studies/s stays, because it isn't this study's"
    assert (here / "studies" / "s" / "journal.log").read_bytes() == before
    assert "has no study 's'" in said("study", "delete", "s", "--storage", "sqlite:///x.db")[2]


def test_deleting_follows_no_link(here: Path, said: Any):
    tune(said, "s")
    kept = here / "kept"
    kept.mkdir()
    (kept / "precious").write_text("x")
    folder = here / "studies" / "s"
    shutil.rmtree(folder / "trials")
    (folder / "trials").symlink_to(kept)
    code, _, err = said("study", "delete", "s")
    assert code == 2 and "trials is a link to" in err
    (folder / "trials").unlink()
    assert said("study", "delete", "s")[0] == 0
    assert (kept / "precious").read_text() == "x" and not folder.exists()


@pytest.mark.parametrize(("answer", "stays"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_on_a_terminal_it_is_asked_first(here: Path, said: Any, monkeypatch: Any, answer: str, stays: bool):
    tune(said, "s")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "w") as keys, os.fdopen(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        keys.write(answer)
        keys.flush()
        code, _, err = said("study", "delete", "s")
    assert "Delete study s with 1 trials and its folder studies/s?" in err
    assert (here / "studies" / "s").exists() is stays and (code == 0) is not stays
    monkeypatch.setattr("sys.stdin", io.StringIO())
    if stays:
        assert said("study", "delete", "s", "--yes")[0] == 0


# ----------------------------------------------------------------------------------------------------- links, read-only


@pytest.mark.parametrize(
    "name", ["best.toml", "report.html", "lock", "study.json", "trials", "trials/0000/recipe.toml"]
)
def test_a_study_s_folder_with_a_link_in_it_is_not_written_to(here: Path, said: Any, name: str):
    tune(said, "s")
    folder, kept = here / "studies" / "s", here / "kept"
    path = folder / name
    if path.is_dir():
        path.rename(kept)
    else:
        kept.write_text("precious")
        path.unlink()
    path.symlink_to(kept)
    before = kept.read_text() if kept.is_file() else sorted(kept.rglob("*"))
    code, _, err = said("tune", "toy.toml", "--trials", "3", "--name", "s")
    assert code == 2 and err.count("\n") == 1 and f"{name} is a link to" in err
    assert (kept.read_text() if kept.is_file() else sorted(kept.rglob("*"))) == before


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Within it a folder can't be written, by the superuser neither: he is nobody, who can reach it."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.rglob("*"))}
    user = os.geteuid()
    reached = {path: mode for path in folder.parents if path.owner() == "root" for mode in [path.stat().st_mode]}
    for path in modes:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if user == 0:
        for path, mode in reached.items():
            path.chmod(mode | 0o055)
        os.seteuid(65534)
    try:
        assert not os.access(folder, os.W_OK, effective_ids=True)
        yield
    finally:
        os.seteuid(user)
        for path, mode in (modes | (reached if user == 0 else {})).items():
            path.chmod(mode)


@pytest.mark.parametrize("storage", ["", "sqlite:///studies/s/x.db"])
def test_a_study_that_can_only_be_read_is_shown(here: Path, said: Any, storage: str):
    more = ["--storage", storage] if storage else []
    tune(said, "s", *more)
    whole = said("study", "show", "s", *more)
    folder = here / "studies" / "s"
    with read_only(folder):
        assert said("study", "show", "s", *more) == whole
        assert said("study", "best", "s", *more)[0] == 0
        code, _, err = said("tune", "toy.toml", "--trials", "2", "--name", "s", *more)
        assert code == 2 and err.count("\n") == 1 and "can't be written: Permission denied" in err


# --------------------------------------------------------------------------------------------------------------- damage


def damaged(file: Path, how: str, chance: random.Random) -> None:
    """Damage a file in one of several ways."""
    content = bytearray(file.read_bytes())
    if how == "removed":
        file.unlink()
    elif how == "linked":
        file.rename(file.with_name("moved"))
        file.symlink_to("moved")
    elif how == "a folder":
        file.unlink()
        file.mkdir()
    else:
        place = chance.randrange(len(content)) if content else 0
        if how == "truncated":
            del content[place:]
        elif how == "flipped" and content:
            content[place] ^= 1 << chance.randrange(8)
        elif how == "replaced":
            content = bytearray(chance.choice(REPLACED))
        file.write_bytes(content)


REPLACED = (b"", b"\xff\0\n", b"{}\n", b"[]", b"null\n", b'{"op_code":7,"worker_id":1}\n')
WAYS = ("truncated", "flipped", "replaced", "removed", "linked", "a folder")


def outcomes(here: Path, said: Any, names: Sequence[str], times: int, seed: int) -> Counter[str]:
    """How `study show` answered to so many damages of each file: as before, with a note, or with one message."""
    folder, whole = here / "studies" / "s", here / "whole"
    before = said("study", "show", "s")
    folder.rename(whole)
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    for name, how, _ in itertools.product(names, WAYS, range(times)):
        shutil.copytree(whole, folder)
        damaged(folder / name, how, chance)
        code, out, err = said("study", "show", "s")
        case = f"{name} {how}: {code} {out} {err}"
        assert "Traceback" not in err, case
        report = "report: studies/s/report.html\n"
        if (code, out.replace(report, ""), err) == (0, before[1].replace(report, ""), before[2]):
            counts["same"] += 1
        elif code == 0:
            assert "note: " in err, case
            counts["note"] += 1
        else:
            assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, case
            counts["message"] += 1
        shutil.rmtree(folder)
    return counts


@pytest.mark.long
def test_a_damaged_study_is_shown_as_it_was_or_with_a_note_or_is_one_message(here: Path, said: Any):
    code, _, err = said("tune", "toy.toml", "--trials", "2", "--name", "s")
    assert code == 0, err
    counts = outcomes(here, said, ["journal.log", "study.json", "trials/0000/outcome.json"], 1, seed=0)
    assert counts["same"] and counts["message"], counts


@pytest.mark.long
@pytest.mark.parametrize("name", ["study.json", "best.toml", "confirmed.json", "lock"])
def test_a_damaged_file_beside_the_trials_costs_one_message_at_most(here: Path, said: Any, name: str):
    tune(said, "s", "--confirm", "1", "--seeds", "2")
    file = here / "studies" / "s" / name
    for content in (b"", b"{", b"\xff\xfe\0", b"[1, 2]"):
        file.write_bytes(content)
        code, _, err = said("tune", "toy.toml", "--trials", "1", "--name", "s")
        assert "Traceback" not in err
        if name == "study.json":
            assert code == 2 and "nobody knows whose folder it is" in err
            file.unlink()
            assert said("tune", "toy.toml", "--trials", "1", "--name", "s")[0] == 0
            assert set(json.loads(file.read_text())) == {"id", "name", "storage"}
        else:
            assert code == 0, err


def test_every_name_that_a_study_writes_is_known_to_be_its_own(here: Path, said: Any):
    tune(said, "s", "--confirm", "1", "--seeds", "2")
    two = ("--goal", "accuracy", "--goal", "parameters")
    tune(said, "t", *two)
    for name in ("s", "t"):
        assert {file.name for file in (here / "studies" / name).iterdir()} <= set(OURS)
        assert said("study", "delete", name)[0] == 0
    assert not any((here / "studies").iterdir())
