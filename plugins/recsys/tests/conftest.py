"""What the tests share: MovieLens as it is kept beside the repository, and small made-up data in its formats."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from labwright.cli import main
from labwright_recsys.data.recommendation import Recommendation
from labwright_recsys.data.table import Table

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture
def movielens() -> Path:
    """MovieLens 100k: u.data.gz, u.item.gz, u.user.gz."""
    folder = SHARED / "movielens_100k"
    if not (folder / "u.data.gz").is_file():
        pytest.skip(f"needs {folder / 'u.data.gz'}, which is kept beside the repository, not in it")
    return folder


class Made(Recommendation):
    """Interactions given in Python."""

    source = "made by a test"
    licence = "none needed"

    def __init__(self, table: Table, *, split: str = "random", valid: float = 0.1, test: float = 0.1, seed: int = 0):
        super().__init__(split, valid, test, seed)
        self.given = table

    def table(self) -> Table:
        return self.given


@pytest.fixture
def made() -> type[Made]:
    """Data of a table given in Python; its settings are those of a split."""
    return Made


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


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Sequence[str]], Path]:
    """Writes lines into a file below tmp_path and returns it."""

    def written(name: str, lines: Sequence[str], encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
        return path

    return written
