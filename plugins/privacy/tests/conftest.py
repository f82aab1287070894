"""What the tests share: tables kept beside the repository, and small ones written for a test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from labwright.cli import main

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """A file of the data kept beside the repository; without it the test is left out."""

    def file(name: str) -> Path:
        path = SHARED / name
        if not path.is_file():
            pytest.skip(f"needs {path}, which is kept beside the repository, not in it")
        return path

    return file


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Sequence[str]], Path]:
    """Writes lines into a file below tmp_path and returns it."""

    def written(name: str, lines: Sequence[str]) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return written


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    errors: str


@pytest.fixture
def labwright(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Said]:
    """The command line, in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def answer(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["labwright", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, captured.out, captured.err)

    return answer
