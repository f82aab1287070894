"""What the tests share: the data kept beside the repository, and small picture files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from labwright.cli import main
from PIL import Image

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written to the cache of whoever runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def mnist_folder() -> Path:
    """20,000 + 10,000 pictures of MNIST as mnist.npz."""
    folder = SHARED / "mnist"
    if not (folder / "mnist.npz").is_file():
        pytest.skip(f"needs {folder / 'mnist.npz'}, which is kept beside the repository, not in it")
    return folder


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture of one colour below tmp_path: `paint("cat/1.png", size=(20, 10), colour=(255, 0, 0))`."""

    def painted(name: str, size: tuple[int, int] = (12, 10), colour: tuple[int, int, int] = (90, 30, 200)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((size[1], size[0], 3), colour, dtype=np.uint8)).save(path)
        return path

    return painted


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """`command("evaluate", "run")`: the exit code and what labwright printed and said."""

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labwright", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return called
