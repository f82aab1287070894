"""What the tests share: sound files they write, and the data kept beside the repository."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
Sing = Callable[..., Path]


def shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is kept beside the repository, not in it")
    return folder


@pytest.fixture
def fsdd() -> Path:
    """Spoken digits: train.zip and test.zip."""
    return shared("fsdd")


@pytest.fixture
def an4() -> Path:
    """Spelled words and numbers: audio.zip and transcripts.jsonl.gz."""
    return shared("an4_asr")


@pytest.fixture
def sing(tmp_path: Path) -> Sing:
    """Writes a tone below tmp_path: `sing("cat/1.wav", hertz=440, seconds=0.3, rate=8000)`."""

    def sung(
        name: str, hertz: float = 440.0, seconds: float = 0.3, rate: int = 8000, level: float = 0.5, channels: int = 1
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = level * np.sin(2 * math.pi * hertz * np.arange(round(seconds * rate)) / rate)
        soundfile.write(path, np.stack([wave] * channels, axis=1).astype(np.float32), rate)
        return path

    return sung
