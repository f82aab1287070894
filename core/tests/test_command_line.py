"""The command line itself: what goes to stdout, and how it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conftest import Site

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
