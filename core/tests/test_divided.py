"""Several processes train what one would: every batch is divided among them, and a run goes on on another number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import divided
import pytest
from labwright.train.log import read_log
from safetensors.torch import load_file

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]


def on_processes(count: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run divided.py on so many processes."""
    command = [*TORCHRUN, "--nproc-per-node", str(count), str(divided.__file__), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    divided.train(folder)
    return folder


def told(log: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The numbers of a log but the time, and those that are random in an evaluation."""
    rows = [record | record.get("metrics", {}) for record in log]
    left_out = ("seconds", "distance")
    return [{k: v for k, v in row.items() if isinstance(v, int | float) and k not in left_out} for row in rows]


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.long)])
def test_several_processes_end_with_the_weights_of_one(alone: Path, tmp_path: Path, count: int) -> None:
    done = on_processes(count, tmp_path)
    assert done.returncode == 0, done.stderr
    far = {}
    for name in divided.CASES:
        expected, weights = load_file(alone / f"{name}.safetensors"), load_file(tmp_path / f"{name}.safetensors")
        far[name] = max(float((expected[key] - weights[key]).abs().max()) for key in expected)
        logs = [list(read_log(folder / name / "metrics.jsonl")) for folder in (alone, tmp_path)]
        for one, other in zip(*map(told, logs), strict=True):
            assert one == pytest.approx(other, rel=1e-6, abs=1e-9), name  # losses are logged in float32
    assert max(far.values()) < 1e-12, far
