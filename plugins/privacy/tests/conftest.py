"""Secrets of tests lie in a folder of their own, and are the same each time: what chance decides is decided once."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from labwright.cli import main


@pytest.fixture(autouse=True)
def secrets(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    monkeypatch.setenv("LABWRIGHT_PRIVACY_SECRETS", str(folder))
    drawn = random.Random(0)
    monkeypatch.setattr(
        "labwright_privacy.differential.secrets.secrets.token_hex", lambda size: drawn.randbytes(size).hex()
    )
    return folder


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

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["labwright", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return Said(int(end.value.code or 0), said.out, said.err)

    return run
