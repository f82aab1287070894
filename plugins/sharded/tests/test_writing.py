"""Checkpoints in parts and in the background: what they hold, and what is damaged, doesn't fit or can't be written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import divided
import labwright as lw
import labwright_sharded.writing as writing
import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch import nn

CORE = Path(divided.__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{CORE}:{os.environ.get('PYTHONPATH', '')}", "LABWRIGHT_RANKS_SECONDS": "10"}
RECIPE = """
task = { name = "faulty", data = "made/doubles" }
model = "made/plain"
loss = "cross-entropy"
optimizer = "adamw"
device = { name = "sharded/parameters", on = "cpu", blocks = ["Sequential"], save_async = true }
train = { steps = 6, batch_size = 30, log_every = 1, ema = 0.5, save_every = "3 steps" }
"""
LAST = "checkpoints/step-00000006"
FILES = [
    *(f"{kind}-0000{number}-of-00002.safetensors" for kind in ("model", "training") for number in (1, 2)),
    *("checksums.json", "state.json"),
]


def labwright(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "labwright", "--plugin", str(CORE / "faulty_processes.py"), *arguments]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def plugins() -> lw.Plugins:
    return lw.Plugins.discover(local=[CORE / "faulty_processes.py"])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that two processes made."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "recipe.toml").write_text(RECIPE)
    labwright(folder, "run", "recipe.toml", "--folder", "run", "--processes", "2")
    return folder / "run"


@pytest.mark.long
def test_what_reads_a_run_finds_an_ordinary_one(ran: Path, plugins: lw.Plugins) -> None:
    assert sorted(file.name for file in (ran / LAST).iterdir()) == sorted(FILES)
    outcome = json.loads((ran / "outcome.json").read_text())
    loaded = lw.load(ran, plugins=plugins)
    assert all(type(parameter) is nn.Parameter for parameter in loaded.model.parameters())
    loaded.task.prepare()
    split = lw.evaluate(loaded.task, loaded.model, "test", device=torch.device("cpu"), size=30, seed=0)
    assert split is not None and split.metrics == pytest.approx(outcome["metrics"]["test"])
    assert "the report has no sections" not in (ran / "report.html").read_text()


@pytest.mark.long
def test_a_sharded_model_is_measured_in_parts_and_whole_to_the_same_figures(ran: Path) -> None:
    page = ran.parent / "page"
    one = json.loads(labwright(ran.parent, "evaluate", "run", "--json").stdout)
    two = json.loads(labwright(ran.parent, "evaluate", "run", "--json", "--processes", "2", "--out", str(page)).stdout)
    assert two == one | {"metrics": pytest.approx(one["metrics"], rel=1e-12)}
    assert (page / "report.html").exists()


@pytest.mark.long
def test_each_file_that_is_missing_or_changed_is_noticed(ran: Path, plugins: lw.Plugins, tmp_path: Path) -> None:
    for name in FILES:
        for damage in ("missing", "changed"):
            folder = tmp_path / f"{name}-{damage}"
            shutil.copytree(ran, folder)
            file = folder / LAST / name
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.unlink() if damage == "missing" else file.write_bytes(content)
            (note,) = [note for note in lw.load(folder, plugins=plugins).notes if "step 3 is used instead" in note]
            assert name in note or (name == "checksums.json" and damage == "changed"), note
            shutil.rmtree(folder / "checkpoints/step-00000003")
            with pytest.raises(lw.LabwrightError, match="has no whole checkpoint"):
                lw.load(folder, plugins=plugins)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_torchs_own_reader_finds_the_parts_in_their_places(ran: Path, tmp_path: Path) -> None:
    files = [shutil.copy(file, tmp_path) for file in sorted((ran / LAST).glob("model*"))]
    first, second = map(load_file, files)
    expected = {name: torch.cat([part, second[name]]) if name in second else part for name, part in first.items()}
    theirs = {name: torch.full_like(tensor, -1) for name, tensor in expected.items()}
    dcp.load(theirs, storage_reader=dcp.HuggingFaceStorageReader(str(tmp_path)), no_dist=True)
    assert len(second) and all(torch.equal(tensor, expected[name]) for name, tensor in theirs.items())


class Alone:
    """A run of one process; `listeners` are told of its steps."""

    def __init__(self, folder: Path, *listeners: object, **device: Any) -> None:
        settings = divided.settings(train={"save_every": "2 steps", "ema": 0.9}, optimizer="adamw")
        settings["device"] = {"name": "sharded/parameters", "on": settings["device"], **device}
        self.folder = folder
        torch.set_default_dtype(torch.float64)
        try:
            lw.Experiment(**settings).run(folder, listeners=listeners)
        finally:
            torch.set_default_dtype(torch.float32)

    def tensors(self) -> dict[str, bytes]:
        files = (self.folder / "checkpoints").glob("*/*.safetensors")
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}


class Steps:
    """Lets the first step's checkpoint be written once the second was taken; whether it was is kept."""

    def __init__(self) -> None:
        self.second = Event()
        self.taken: bool | None = None

    @lw.hookimpl
    def labwright_step_ended(self, step: int) -> None:
        if step == 2:  # before its checkpoint, which waits for the first one
            self.second.set()

    def save_file(self, tensors: Any, file: Path, header: Any) -> None:
        if self.taken is None:
            self.taken = self.second.wait(60)
        save_file(tensors, file, header)


def test_steps_go_on_while_a_checkpoint_is_written_and_do_not_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps()
    at_once = Alone(tmp_path / "at-once").tensors()
    monkeypatch.setattr(writing, "save_file", steps.save_file)
    beside = Alone(tmp_path / "beside", steps, save_async=True)
    assert beside.tensors() == at_once
    assert steps.taken
    last = [load_file(file) for file in (beside.folder / "checkpoints/step-00000009").glob("*.safetensors")]
    size = sum(tensor.nbytes for tensors in last for tensor in tensors.values()) / 1e6
    notes = json.loads((beside.folder / "outcome.json").read_text())["notes"]
    assert f"checkpoints are written from copies that take {size:,.3f} MB of the host's memory." in notes


def test_copies_that_do_not_fit_end_the_run_in_its_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lw, "free_memory", lambda: 1000)
    with pytest.raises(lw.RunFailed, match=r"device\.save_async keeps a copy .* are needed and 0\.00 GB are free"):
        Alone(tmp_path / "run", save_async=True)
    assert json.loads((tmp_path / "run/outcome.json").read_text())["step"] == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "process", "message"),
    [
        ("fills the disk", 0, "error: can't write "),  # the log, which comes first
        ("fills the disk", 1, "can't write the checkpoint"),
        ("hangs", 1, "process 1 of 2 (counted from 0) ended, or didn't answer within 10 s"),
        ("breaks", 1, "ZeroDivisionError: of this test"),
    ],
)
def test_what_goes_wrong_on_one_process_ends_all_and_is_said_once(
    tmp_path: Path, fault: str, process: int, message: str
) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    arguments = (f"task.fault={fault}", f"task.process={process}", "train.steps=30")
    done = labwright(tmp_path, "run", "recipe.toml", "--folder", "run", "--processes", "2", *arguments, code=1)
    assert done.stderr.count(message) == 1, done.stderr
    assert sum(line.startswith("error:") for line in done.stderr.splitlines()) == (fault != "breaks")
