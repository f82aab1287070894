"""Settings of a project: where they are looked for, and what is said of files that are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from labwright.base.errors import LabwrightError
from labwright.plugin.project_config import FILE, PYPROJECT, nearby, read


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_byte_order_mark_and_an_empty_file_are_no_fault(here: Path):
    (here / FILE).write_bytes(b"\xef\xbb\xbfdisable = ['nlp']\r\n")
    assert read().disable == ("nlp",)
    (here / FILE).write_bytes(b"")
    assert (read().disable, read().allow, read().file) == ((), None, here / FILE)


@pytest.mark.parametrize("text", ["tool = 3", "[tool]\nother = 1", "tool.labwright = {}", ""])
def test_a_pyproject_that_says_nothing_of_labwright_says_nothing(here: Path, text: str):
    (here / PYPROJECT).write_text(text)
    assert (read().disable, read().allow) == ((), None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"disable = [", "can't be read: Invalid"),
        ("disable = []".encode("utf-16"), "can't be read: line 1 is no UTF-8, byte 0xff; save it as UTF-8."),
        (b"allow = ['caf\xe9']", "can't be read: line 1 is no UTF-8, byte 0xe9; save it as UTF-8."),
        (b"allow = " + b"[" * 9_000 + b"]" * 9_000, "can't be read: it is nested more than 50 deep."),
        (b"#" * 1_000_001, "can't be read: it has more than 1,000,000 bytes"),
        (
            b"local = ['~nobody-of-that-name/x.py']",
            "local has .*; there is nobody called 'nobody-of-that-name' on this",
        ),
        (b'local = ["a\\u0000.py"]', "local has .*; a path has no zero bytes."),
        (b"local = ['" + b"a" * 300 + b".py']", "local has .*; the name is too long for a file."),
        (b"disable = 3", "disable is a list of plugin names, such as .*, not 3."),
    ],
)
def test_a_file_that_is_no_settings_says_what_is_wrong_with_it(here: Path, content: bytes, said: str):
    (here / FILE).write_bytes(content)
    with pytest.raises(LabwrightError, match=f"{FILE}:? {said}"):
        read()


def test_a_folder_or_a_pipe_in_the_place_of_settings_is_named(here: Path):
    (here / FILE).mkdir()
    with pytest.raises(LabwrightError, match=f"{FILE} can't be read: .*directory"):
        read()
    (here / FILE).rmdir()
    os.mkfifo(here / FILE)
    with pytest.raises(LabwrightError, match=f"{FILE} can't be read: it is a pipe or a device"):
        read()


def test_a_link_that_leads_nowhere_is_no_file(here: Path):
    (here / FILE).symlink_to(here / FILE)
    (here / PYPROJECT).write_text("")
    assert nearby(FILE, PYPROJECT) == here / PYPROJECT


def test_a_working_folder_that_was_removed_is_named_by_the_command_line(here: Path):
    gone = here / "gone"
    gone.mkdir()
    code = f"import os; os.rmdir({str(gone)!r}); from labwright.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "list"], cwd=gone, capture_output=True, text=True)
    said = "error: the working folder is gone: it was deleted or moved. Go to another one.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
