"""A process that is killed at any moment loses nothing but the steps since its last checkpoint."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

import parts
import pytest
import torch
from labwright.checkpoint import Checkpoints

KILLS = 20


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "labwright.experiment", "parts"])
    moments = random.Random(0)
    checkpoints = Checkpoints(tmp_path / "killed" / "checkpoints")
    steps = [0]
    for number in range(KILLS):
        worker = context.Process(target=parts.train_or_go_on, args=(str(tmp_path / "killed"),))
        worker.start()
        while number % 4 and worker.is_alive() and max(checkpoints.steps(), default=0) == steps[-1]:
            worker.join(0.005)  # three of four kills fall between checkpoints, or into the writing of one
        worker.join(
            moments.uniform(0, 0.1 if number % 4 else 0.5)
        )  # and one of four anywhere, also before the first step
        worker.kill()
        worker.join()
        steps.append(max(checkpoints.steps(), default=0))
    for folder in ("killed", "whole"):
        worker = context.Process(target=parts.train_or_go_on, args=(str(tmp_path / folder),))
        worker.start()
        worker.join()
        assert worker.exitcode == 0
    assert steps == sorted(steps)  # no kill undid what a checkpoint held
    assert len(set(steps)) > KILLS // 2  # and the run did go on between kills
    killed, whole = (Checkpoints(tmp_path / folder / "checkpoints").read(300) for folder in ("killed", "whole"))
    for name, tensor in (whole.model | whole.training).items():
        assert torch.equal(tensor, (killed.model | killed.training)[name]), name
    without_times = [{key: value for key, value in one.state.items() if key != "seconds"} for one in (killed, whole)]
    assert without_times[0] == without_times[1]
