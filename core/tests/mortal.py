"""Processes that die or wait at counted moments, so that no test depends on how fast a machine is.

A moment is a number of steps, and after them a number of calls and returns of functions, Python's and C's: it may lie
anywhere within a step, in its loss, its update, an evaluation or the writing of a checkpoint.

What is to become of the processes of a study stands in the folder that the environment calls LAB (see lab.py):

    fates/NUMBER-WHO-TRIAL-STEP-CALLS   whom a process kills in that trial of its own: itself, if a person started it
                                        (`self`), or it is a worker of such a one (`worker`); or its `driver`
    met/...                             fates of the past
    dying/PID                           a driver that has met its fate: no worker meets another for it
    hold                                how many trials each process may begin before it waits
    held/PID                            a process that waits; it goes on when the file is gone
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import labwright as lw
import torch
from parts import Blobs, Sorting, sorting
from torch import Tensor, nn
from waiting import until


def kill_after(calls: int, process: int) -> None:
    """Kill a process when this thread has made so many calls and returns more."""

    def count(*_: Any) -> None:
        nonlocal calls
        calls -= 1
        if calls < 0:
            sys.setprofile(None)
            os.kill(process, signal.SIGKILL)

    sys.setprofile(count)


class DiesAfter:
    """A listener that kills its process some calls after it has seen so many steps; 0 are at once."""

    def __init__(self, steps: int, calls: int) -> None:
        self.steps, self.calls = steps, calls
        if not steps:
            kill_after(calls, os.getpid())

    @lw.hookimpl
    def labwright_step_ended(self) -> None:
        self.steps -= 1
        if not self.steps:
            kill_after(self.calls, os.getpid())


def train_or_go_on(folder: str, steps: int | None = None, calls: int = 0) -> None:
    """The work of a process that may be killed at any moment: begin the run in `folder`, or go on with it.

    It kills itself so many calls after its first `steps` steps, if they are given.
    """
    torch.set_num_threads(1)
    dies = [] if steps is None else [DiesAfter(steps, calls)]
    experiment = sorting(
        Blobs(noise=0.3),
        train={"steps": 300, "batch_size": 15, "ema": 0.9, "save_every": "3 steps", "evaluate_every": "10 steps"},
    )
    path = Path(folder)
    if list(path.glob("checkpoints/step-*")):
        experiment.resumed(path, listeners=dies)[0].fit()
    else:
        shutil.rmtree(path, ignore_errors=True)
        experiment.run(path, listeners=dies)


@dataclass
class Life:
    """What this process has done of a study so far, and what comes of it."""

    folder: Path
    mine: tuple[str, ...]
    driver: int
    model: nn.Module | None = None
    trial: int = 0
    step: int = 0
    doomed: bool = False

    @classmethod
    def here(cls) -> Life:
        """That of this process. One that a person started tells its workers which it is."""
        if os.getppid() == int(os.environ["LAB_PERSON"]):
            os.environ["LAB_DRIVER"] = str(os.getpid())
            return cls(Path(os.environ["LAB"]), ("self",), 0)
        return cls(Path(os.environ["LAB"]), ("worker", "driver"), int(os.environ["LAB_DRIVER"]))

    def begins(self, model: nn.Module) -> None:
        """A step begins: wait, if a trial begins with it and is to wait; then meet a fate, if one is due."""
        if model is not self.model:
            self.model, self.trial, self.step = model, self.trial + 1, 0
            self._wait()
        self.step += 1
        if not self.doomed:
            self._meet()

    def _wait(self) -> None:
        hold, held = self.folder / "hold", self.folder / "held" / str(os.getpid())
        with suppress(FileNotFoundError):  # nobody is to wait, or not any more
            if self.trial > int(hold.read_text()):
                held.touch()
                until(lambda: not held.exists() or not hold.exists())

    def _meet(self) -> None:
        fates = sorted((self.folder / "fates").iterdir())
        mine = [fate for fate in fates if fate.name.split("-")[1] in self.mine]
        if fates and not mine:  # it is the turn of the others, who may come too late otherwise
            until(lambda: not any((self.folder / "fates").iterdir()))
        if not mine:
            return
        who, trial, step, calls = mine[0].name.split("-")[1:]
        if (self.trial, self.step) < (int(trial), int(step)):
            return
        with suppress(FileExistsError, FileNotFoundError):  # another process was quicker
            if who == "driver":
                if os.getppid() != self.driver:
                    return
                (self.folder / "dying" / str(self.driver)).touch(exist_ok=False)
            mine[0].rename(self.folder / "met" / mine[0].name)
            self.doomed = True
            kill_after(int(calls), self.driver if who == "driver" else os.getpid())


def only_tried() -> bool:
    """Whether a preflight computes the loss, which is no step of a trial."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "check_loss":
        frame = frame.f_back
    return frame is not None


LIFE = Life.here() if "LAB" in os.environ else None


class Mortal(Sorting):
    """Sorting, in processes whose fates are counted."""

    def loss(self, model: nn.Module, batch: lw.Batch, criterion: Any, phase: str) -> Tensor:
        assert LIFE is not None
        if not only_tried():
            LIFE.begins(model)
        return super().loss(model, batch, criterion, phase)
