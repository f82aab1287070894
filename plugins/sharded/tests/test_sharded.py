"""Sharded parameters are those of one process to rounding, whatever number of processes goes on, sharded or not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright_sharded.device import Sharded
from labwright_sharded.units import units
from safetensors.torch import load_file
from torch import nn

HERE = Path(__file__).parent
CORE = HERE.parents[2] / "core" / "tests"
SCRIPT = HERE / "sharded_runs.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{CORE}:{os.environ.get('PYTHONPATH', '')}"}
CASES = [  # of the core's divided.py, and some of sharded_runs.py
    *("plain", "accumulated", "fewer-samples-than-processes", "clipped", "averaged", "ending-with-the-best", "adamw"),
    *("two-phases", "by-length", "drawing", "compound", "frozen", "weighted", "penalised", "normalised"),
    *("adam-averaged", "by-size", "without-blocks", "recomputed", "offloaded", "in-the-background", "started"),
]


def run(count: int, *arguments: object, options: Sequence[str] = ()) -> str:
    """Run sharded_runs.py on so many processes, and return what it prints."""
    start = [*TORCHRUN, *options, "--nproc-per-node", str(count)] if count > 1 else [sys.executable]
    command = [*start, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights that one process, which holds all of them, ends with."""
    folder = tmp_path_factory.mktemp("alone")
    run(1, "train", folder, *CASES)
    return folder


def far_apart(left: Path, right: Path, names: Sequence[str]) -> dict[str, float]:
    """The largest difference between the weights that a case ended with in two folders."""
    far = {}
    for name in names:
        one, other = (load_file(folder / f"{name}.safetensors") for folder in (left, right))
        assert one.keys() == other.keys()
        far[name] = max(float((one[key] - other[key]).abs().max()) for key in one)
    return far


@pytest.mark.long
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.release)])
def test_sharded_parameters_end_as_those_of_one_process(alone: Path, tmp_path: Path, count: int) -> None:
    run(count, "train", tmp_path, *CASES)
    assert max(far_apart(alone, tmp_path, CASES).values()) < 1e-12


@pytest.mark.release
def test_a_sharded_run_goes_on_on_another_number_of_processes_on_one_and_replicated(
    alone: Path, tmp_path: Path
) -> None:
    out = (
        "ending-with-the-best",
        "in-the-background",
        "started",
        "by-size",
        "without-blocks",
    )  # the last two are others' runs
    cases = [name for name in CASES if name not in out]
    ways = {"sharded": (4, "train"), "one": (1, "train"), "replicated": (2, "whole")}
    run(2, "until-4", tmp_path / "sharded", *cases)
    for way in ways:
        if way != "sharded":
            shutil.copytree(tmp_path / "sharded", tmp_path / way)
    for way, (count, verb) in ways.items():
        run(count, verb, tmp_path / way, *cases)
        assert max(far_apart(alone, tmp_path / way, cases).values()) < 1e-12, way


@pytest.mark.release
@pytest.mark.timing
def test_a_killed_process_and_a_restart_of_all_change_no_bit(tmp_path: Path) -> None:
    run(3, "die", tmp_path / "killed", 2, options=["--max-restarts", "2"])
    run(3, "die", tmp_path / "whole", 0)
    killed, whole = (
        sorted((tmp_path / which).glob("run/checkpoints/step-00000060/*.safetensors")) for which in ("killed", "whole")
    )
    assert [file.name for file in killed] == [file.name for file in whole] and len(whole) == 6
    assert [file.read_bytes() for file in killed] == [file.read_bytes() for file in whole]


@pytest.mark.long
def test_each_process_holds_a_part_to_the_end_and_all_may_call_the_model_together(tmp_path: Path) -> None:
    run(2, "sizes", tmp_path)
    sizes = json.loads((tmp_path / "sizes.json").read_text())
    total = 8 * 5 + 8 * 9 + 8 * 9 + 3 * 9  # rows by their length, the bias included
    assert sum(process["parameters"] for process in sizes["held"]) == total
    assert max(process["parameters"] for process in sizes["held"]) == 4 * 5 + 4 * 9 + 4 * 9 + 2 * 9
    for process in sizes["held"]:
        assert process["average"] == process["parameters"]
        assert process["state"] <= 2 * process["parameters"]  # `unused` has none
    assert sizes["after"] == [process["parameters"] for process in sizes["held"]]
    parts = [load_file(file) for file in sorted(tmp_path.glob("run/checkpoints/step-00000009/training*"))]
    weights = {
        name.partition("/average/")[2]: torch.cat([part[name] for part in parts])
        for name in parts[0]
        if "/average/" in name
    }
    h_BD = torch.tanh(torch.ones(2, 4, dtype=torch.float64) @ weights["body.0.weight"].T + weights["body.0.bias"])
    expected = h_BD @ weights["head.weight"].T + weights["head.bias"]  # x is below 3.5: not through `seldom`
    torch.testing.assert_close(torch.tensor(sizes["answer"], dtype=torch.float64), expected)


@pytest.mark.release
def test_no_process_ever_holds_more_than_its_parts_and_what_it_computes_with(tmp_path: Path) -> None:
    for steps, count in ((4, 2), (8, 3)):  # trained on two, gone on with on three
        run(count, "peak", tmp_path)
        parts = 4 / count  # of parameters, two moments and averages, in sizes of the model
        for most in json.loads((tmp_path / f"peak-{steps}.json").read_text()):
            # the first weights are drawn whole, on the host; a checkpoint is copied to be written, and read beside
            assert most["begun"] < (1 + parts if steps == 4 else 2 * parts) + 0.5
            assert most["trained"] < 2 * parts + 0.5
    assert "test: True" in (tmp_path / "run/report.html").read_text()  # the task's, which calls the model


@pytest.mark.long
def test_a_method_that_takes_gradients_itself_is_refused(tmp_path: Path) -> None:
    said = run(2, "refused", tmp_path, "sam", "pcgrad")
    for method in ("sam", "pcgrad"):
        assert re.search(f"^{method}: .*takes gradients of sharded parameters", said, re.MULTILINE), said


@pytest.mark.long
def test_weights_come_in_the_precision_of_the_run(tmp_path: Path) -> None:
    for count in (1, 2):
        run(count, "rounded", tmp_path / str(count), "bf16", "fp16")
    for precision in ("bf16", "fp16"):
        rounded = {
            count: json.loads((tmp_path / str(count) / precision / "rounded.json").read_text()) for count in (1, 2)
        }
        check_rounded(rounded, precision)


def check_rounded(rounded: Mapping[int, Any], precision: str) -> None:
    assert rounded[2]["seen"] == [{"bf16": "torch.bfloat16", "fp16": "torch.float16"}[precision]]
    for name, weight in rounded[1]["weights"].items():
        # nine steps of at most 0.01; what is rounded to 8 bits differs in the fourth digit
        torch.testing.assert_close(torch.tensor(rounded[2]["weights"][name]), torch.tensor(weight), atol=2e-3, rtol=0)


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2))
        self.head = nn.Linear(4, 2)


def test_units_are_of_classes_or_as_large_as_asked_for_the_innermost_first() -> None:
    model = Blocks()
    assert units(model, ["Sequential"], None) == [*model.blocks]
    assert units(model, [], 20) == [layer for block in model.blocks for layer in block]
    assert units(model, [], 40) == [*model.blocks]
    assert units(model, ["Linear"], 40) == [*(layer for block in model.blocks for layer in block), model.head]
    assert units(model, [], 41) == [model]  # not the list, which is never called
    with pytest.raises(lw.LabwrightError, match="no module of a class 'Sequental'; did you mean 'Sequential'"):
        units(model, ["Sequental"], None)


class Compiling(lw.Device):
    def find(self) -> torch.device:
        return torch.device("cpu")


def test_a_device_that_compiles_is_refused() -> None:
    with pytest.raises(lw.LabwrightError, match=r"device\.on: compile doesn't go with parameters that come and go"):
        Sharded(on=Compiling(compile=True)).shard(Blocks(), None)


def test_blocks_that_compute_again_have_to_be_named() -> None:
    with pytest.raises(lw.LabwrightError, match=r"device\.recompute: there are no blocks"):
        Sharded(on=Compiling(), recompute=True).shard(Blocks(), None)
