"""The command line itself: what goes to stdout, and how it is called."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pyte
import pytest
from conftest import Site
from labwright.base.errors import LabwrightError
from labwright.cli import app
from labwright.cli.shared import print_table

LOUD = """\
import os
import subprocess
import sys
import labwright as lw

print("as Python prints")
os.write(1, b"as a library of C prints\\n")
subprocess.run([sys.executable, "-c", "print('as another process prints')"])

@lw.hookimpl
def labwright_components():
    yield lw.Component("model", "loud/net", "labwright_loud.models:Net", "it prints")
"""


def answered(site: Site, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of a process of its own that finds the site's plugins."""
    code = f"import sys; sys.path.insert(0, {str(site.folder)!r}); from labwright.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)


def test_with_json_stdout_holds_json_alone_whoever_prints(site: Site):
    site.install("loud", LOUD, models="print('when it is used')\nclass Net: ...\n")
    done = answered(site, "list", "models", "--json")
    assert done.returncode == 0
    assert "loud/net" in {row["name"] for row in json.loads(done.stdout)}
    for said in ("as Python prints", "as a library of C prints", "as another process prints"):
        assert said in done.stderr
    assert "as Python prints" not in answered(site, "list", "models").stdout


def test_an_error_under_json_leaves_stdout_empty(site: Site):
    done = answered(site, "show", "model", "vision/absent", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no model is called 'vision/absent'")


def test_what_trains_says_which_plugins_did_not_load(site: Site):
    """A logger that someone counts on may be in one of them."""
    site.install("wrong", "import no_such_module")
    done = answered(site, "run", "no/such")
    assert "plugin wrong did not load: labwright_wrong.plugin failed to import: ModuleNotFound" in done.stderr


def test_names_with_control_characters_are_spelt_out(site: Site):
    site.install("odd", "raise ValueError('\\x1b]0;title\\x07\\x1b[2J\\u202e')")
    done = answered(site, "plugins")
    assert r"ValueError: \x1b]0;title\x07\x1b[2J\u202e" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_python_dash_m_labwright_is_the_command(tmp_path: Path):
    command = [sys.executable, "-m", "labwright", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.startswith("labwright ")


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (["--epochs", "3"], "train.epochs=3"),
        (["--epochs=3"], "train.epochs=3"),
        (["--batch-size", "32"], "train.batch_size=32"),
        (["--lr", "0.1"], "optimizer.lr=0.1"),
        (["--model.width", "8"], "model.width=8"),
        (["train.seed=1", "--model.width"], "model.width=VALUE"),
    ],
    ids=" ".join,
)
def test_a_setting_that_is_written_as_an_option_is_answered_with_how_it_is_written(words, setting):
    with pytest.raises(LabwrightError) as refused:
        app(["run", "no/such", *words], standalone_mode=False)
    given = next(word for word in words if word.startswith("--")).partition("=")[0]
    assert str(refused.value) == f"no option is called {given}; a setting is written as {setting}."


def test_an_option_that_a_task_may_have_is_no_setting():
    with pytest.raises(LabwrightError, match="is no run folder"):
        app(["predict", "no/run", "--seed", "3"], standalone_mode=False)  # the lines of an environment's data


def test_a_table_on_a_narrow_terminal_goes_on_below_its_columns(monkeypatch: pytest.MonkeyPatch):
    rows = [("name", "what it is", "by"), ("first/one", "a long account of a thing " * 4, "[plugin]"), ("b", "", "[x]")]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 50))
    monkeypatch.setenv("COLUMNS", "50")
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        print_table(rows, indent="  ")
        terminal.flush()
        screen = pyte.Screen(50, 40)
        pyte.Stream(screen).feed(os.read(ours, 65536).decode())
    os.close(ours)
    lines = [line.rstrip() for line in screen.display if line.strip()]
    places = [[found.start() for found in re.finditer(r"\S+(?: \S+)*", line)] for line in lines]
    assert places[0] == places[1] == [2, 13, places[0][2]]
    assert all(place == [13] for place in places[2:-1]) and len(places) > 4  # below where the cell began
    assert " ".join(line[13 : places[0][2]].strip() for line in lines[1:-1]) == rows[1][1].strip()
