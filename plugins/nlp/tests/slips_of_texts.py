"""What the tests of slips share: commands on texts that are given, and what is said of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from labwright.cli import main

Command = Callable[[Path], list[str]]

GOOD = "".join(f'{{"text": "text {number}", "label": {number % 2}}}\n' for number in range(40))

CSV = "text,label\n" + "".join(f"text {number},{number % 2}\n" for number in range(40))


def labelled(content: str | bytes, *overrides: str, name: str = "rows.jsonl") -> Command:
    """`labwright run nlp/polarity-bag` on a file with this content."""

    def args(here: Path) -> list[str]:
        file = here / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        path = file.parent if file.parent != here else file
        return ["run", "nlp/polarity-bag", f"task.data.path={path}", "log=[]", *overrides]

    return args


def running(content: str | bytes, *overrides: str, name: str = "text.txt") -> Command:
    """`labwright run nlp/shakespeare` on a text with this content."""

    def args(here: Path) -> list[str]:
        (here / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return ["run", "nlp/shakespeare", f"task.data.path={here / name}", "log=[]", *overrides]

    return args


def told(args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command that can't be followed says, on one line."""
    monkeypatch.setattr(sys, "argv", ["labwright", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert "Traceback" not in said
    return said.replace("\n       ", " ")


def answered(
    case: tuple[Command, str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Assert that the command ends with one message, of this pattern, and that nothing was begun."""
    command, pattern = case
    monkeypatch.chdir(here)
    args = command(here)
    capsys.readouterr()
    said = told(args, capsys, monkeypatch)
    assert re.search(pattern, said), said
    assert len(re.findall(r"^error:", said, re.MULTILINE)) == 1
    assert not (here / "runs").exists()
