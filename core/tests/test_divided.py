"""Several processes train what one would: every batch is divided among them, and a run goes on on another number."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import divided
import pytest
from labwright.train.log import read_log
from safetensors.torch import load_file

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]


def on_processes(count: int, *arguments: object, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run divided.py on so many processes."""
    command = [*TORCHRUN, *options, "--nproc-per-node", str(count), str(divided.__file__), *map(str, arguments)]
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


@pytest.mark.long
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    cases = ("accumulated", "two-phases", "normalised")
    divided.train(tmp_path / "alone", cases)
    done = on_processes(2, "train", tmp_path / "two", *cases)
    assert done.returncode == 0, done.stderr
    assert max(far_apart(tmp_path / "alone", tmp_path / "two", cases).values()) < 1e-12


@pytest.mark.long
@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.release)])
def test_several_processes_end_with_the_weights_of_one(alone: Path, tmp_path: Path, count: int) -> None:
    done = on_processes(count, "train", tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(far_apart(alone, tmp_path).values()) < 1e-12
    for name in divided.CASES:
        logs = [list(read_log(folder / name / "metrics.jsonl")) for folder in (alone, tmp_path)]
        for one, other in zip(*map(told, logs), strict=True):
            assert one == pytest.approx(other, rel=1e-6, abs=1e-9), name  # losses are logged in float32


@pytest.mark.long
def test_a_run_goes_on_on_another_number_of_processes(alone: Path, tmp_path: Path) -> None:
    cases = [name for name in divided.CASES if name != "ending-with-the-best"]
    assert on_processes(2, "until-4", tmp_path, *cases).returncode == 0
    shutil.copytree(tmp_path, tmp_path / "on-one")
    done = on_processes(3, "train", tmp_path, *cases)
    assert done.returncode == 0, done.stderr
    divided.train(tmp_path / "on-one", cases)
    for folder in (tmp_path, tmp_path / "on-one"):
        assert max(far_apart(alone, folder, cases).values()) < 1e-12


KILLS = int(os.environ.get("LABWRIGHT_KILLS", "2"))


@pytest.mark.long
@pytest.mark.timing
def test_a_killed_process_and_a_restart_of_all_change_no_bit(tmp_path: Path) -> None:
    done = on_processes(2, "die", tmp_path / "killed", KILLS, options=["--max-restarts", str(KILLS)])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("exitcode: -9") >= KILLS or KILLS == 0, done.stderr
    assert on_processes(2, "die", tmp_path / "whole", 0).returncode == 0
    for kept in ("model", "training"):
        file = f"run/checkpoints/step-00000060/{kept}.safetensors"
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def far_apart(left: Path, right: Path, names: Sequence[str] = ()) -> dict[str, float]:
    """The largest difference between the weights that a case ended with in two folders."""
    far = {}
    for name in names or divided.CASES:
        one, other = (load_file(folder / f"{name}.safetensors") for folder in (left, right))
        far[name] = max(float((one[key] - other[key]).abs().max()) for key in one)
    return far


RECIPE = """
task = { name = "faulty", data = "made/blobs" }
model = "made/net"
loss = "cross-entropy"
optimizer = "adamw"
device = "cpu"
train = { steps = 30, batch_size = 30, log_every = 1, save_every = "3 steps" }
"""


@pytest.fixture
def labwright(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls `labwright --plugin faulty_processes.py run RECIPE --processes 2 --folder run` with more arguments."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    here = Path(__file__).parent
    environment = os.environ | {
        "PYTHONPATH": f"{here}:{os.environ.get('PYTHONPATH', '')}",
        "LABWRIGHT_RANKS_SECONDS": "10",
    }

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "labwright",
            "--plugin",
            str(here / "faulty_processes.py"),
            "run",
            "recipe.toml",
        ]
        return subprocess.run(
            [*command, "--folder", "run", "--processes", "2", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call


@pytest.mark.long
def test_several_processes_measure_what_one_does(tmp_path: Path) -> None:
    text = RECIPE.replace("made/blobs", "made/doubles").replace("made/net", "made/plain")
    (tmp_path / "recipe.toml").write_text(text.replace("cross-entropy", "made/inseparable").replace("30,", "8,", 1))
    (tmp_path / "others").write_text("77")  # samples
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{here}:{os.environ.get('PYTHONPATH', '')}"}

    def labwright(*arguments: str, start: Sequence[str] = ("-m",)) -> dict[str, Any]:
        command = [sys.executable, *start, "labwright", "--plugin", str(here / "faulty_processes.py"), *arguments]
        done = subprocess.run(
            [*command, "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        assert "train together" not in str(said["notes"])
        return said

    labwright("run", "recipe.toml", "--folder", "run")
    torchrun = (*TORCHRUN[1:], "--nproc-per-node", "3", "--module")
    for given, samples, processes, start in (
        (["--split", "valid"], 61, ["--processes", "2"], ("-m",)),
        (["--on", "others"], 77, [], torchrun),  # three
    ):
        one = labwright("evaluate", "run", *given)
        assert one["samples"] == samples
        several = labwright("evaluate", "run", *given, *processes, start=start)
        assert several == one | {"metrics": pytest.approx(one["metrics"], rel=1e-12)}


FAULTS = {
    "diverges": "the loss of phase 'train' became inf at step 5. The checkpoint of step 3 is kept",
    "breaks": "",  # its traceback says so
    "hangs": "process 1 of 2 (counted from 0) ended, or didn't answer within 10 s ($LABWRIGHT_RANKS_SECONDS sets",
    "fills the disk": "can't write ",
}


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong_on_one_process_ends_all_with_one_message(labwright: Any, tmp_path: Path, fault: str) -> None:
    process = int(fault != "fills the disk")
    done = labwright(f"task.fault={fault}", f"task.process={process}")
    errors = [line for line in done.stderr.splitlines() if re.match(r"error:|(\[rank\d\]: *)?Traceback", line)]
    assert done.returncode == 1 and len(errors) == 1, done.stderr
    assert FAULTS[fault] in errors[0] and (fault == "breaks") == ("ZeroDivisionError: of this test" in done.stderr)
    if fault != "fills the disk":
        assert json.loads((tmp_path / "run/outcome.json").read_text())["status"] == "failed"


@pytest.mark.long
def test_a_run_that_is_stopped_by_one_process_ends_on_all_at_that_step(labwright: Any, tmp_path: Path) -> None:
    done = labwright('stop=["one-process"]', "--json")
    outcome = json.loads((tmp_path / "run/outcome.json").read_text())
    assert done.returncode == 0, done.stderr
    assert (outcome["status"], outcome["reason"], outcome["step"]) == ("stopped", "as the test says", 5)
    assert json.loads(done.stdout)["metrics"] == outcome["metrics"]  # said by one of them


def test_a_job_whose_first_node_has_no_address_says_so_at_once() -> None:
    step = {"STEP_NUM_TASKS": "2", "PROCID": "1", "LOCALID": "0", "STEP_NODELIST": "no-such-node[07-08]"}
    environment = os.environ | {f"SLURM_{key}": value for key, value in step.items()}
    command = [sys.executable, "-m", "labwright", "evaluate", "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: the first node of this job is called 'no-such-node07'"), done.stderr


def test_a_verb_that_joins_nobody_says_its_error_whichever_process_it_is() -> None:
    environment = os.environ | {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    command = [sys.executable, "-m", "labwright", "show", "nothing/like-it"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
