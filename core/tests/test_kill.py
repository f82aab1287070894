"""A process that is killed at any moment loses nothing but the steps since its last checkpoint."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import mortal
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from waiting import until

COUNTED, ELSEWHERE = 16, 4  # kills by the process itself, and by another one
CALLS = 10_000  # as many as a step with its checkpoint makes; one without makes 400


def work(*arguments: Any) -> BaseProcess:
    """A process that begins or goes on with the run in a folder."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "labwright.runs.experiment", "mortal"])
    worker = context.Process(target=mortal.train_or_go_on, args=arguments)
    worker.start()
    return worker


def newest(folder: Path) -> int:
    """The step of the newest checkpoint, 0 if there is none."""
    return max((int(one.name.removeprefix("step-")) for one in folder.glob("checkpoints/step-*")), default=0)


def end_of(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that the last checkpoint of a run holds: its tensors, and everything else but the time it took."""
    last = folder / "checkpoints" / "step-00000300"
    state = json.loads((last / "state.json").read_text())
    del state["seconds"]
    return load_file(last / "model.safetensors") | load_file(last / "training.safetensors"), state


@pytest.mark.long
@pytest.mark.timing
def test_twenty_kills_at_counted_steps_and_anywhere_within_them_change_nothing(tmp_path: Path) -> None:
    chance, killed = random.Random(0), tmp_path / "killed"
    for number in range(COUNTED):
        before, steps = newest(killed), 0 if number % 4 == 3 else chance.randint(1, 14)
        calls = chance.randrange(CALLS * (1 if steps else 30))  # a process makes 300,000 and more before its first step
        worker = work(str(killed), steps, calls)
        worker.join()
        assert worker.exitcode == -signal.SIGKILL
        assert newest(killed) >= max(before, before + steps - 3)  # there is a checkpoint every third step
    for _ in range(ELSEWHERE):  # at a moment that nobody chose: when the other process has seen a new checkpoint
        before = newest(killed)
        worker = work(str(killed))
        until(lambda before=before, worker=worker: newest(killed) > before or not worker.is_alive())
        worker.kill()
        worker.join()
        assert newest(killed) >= before
    for folder in (killed, tmp_path / "whole"):
        worker = work(str(folder))
        worker.join()
        assert worker.exitcode == 0
    (tensors, state), (expected, expected_state) = end_of(killed), end_of(tmp_path / "whole")
    assert tensors.keys() == expected.keys() and state == expected_state
    for name, tensor in expected.items():
        assert torch.equal(tensor, tensors[name]), name
