"""Token files, tar shards and row groups, trained by another number of processes from the middle of an epoch on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytestmark = pytest.mark.long
SCRIPT = Path(__file__).with_name("bigger_data.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]


def on_processes(count: int, *arguments: object) -> None:
    command = [*TORCHRUN, "--nproc-per-node", str(count), str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.release
def test_a_run_on_indexed_data_goes_on_on_another_number_of_processes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    data, alone = tmp_path / "data", tmp_path / "alone"
    on_processes(1, data, alone)
    on_processes(2, data, tmp_path / "to-three", 3)  # of 6 or more steps an epoch
    shutil.copytree(tmp_path / "to-three", tmp_path / "to-one")
    for count, folder in ((3, "to-three"), (1, "to-one")):
        on_processes(count, data, tmp_path / folder)
        for name in ("tokens", "shards", "texts"):
            ended, whole = (load_file(at / f"{name}.safetensors") for at in (tmp_path / folder, alone))
            assert max(float((ended[key] - whole[key]).abs().max()) for key in whole) < 1e-12, (folder, name)
