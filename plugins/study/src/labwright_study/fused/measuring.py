"""How many times as fast trials are as one program: measured, not assumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from labwright import isolated
from labwright.engine import Trainer

from labwright_study.fused.fuse_key import CannotFuse
from labwright_study.fused.fused_loop import FusedLoop, program_for
from labwright_study.fused.program import FORMS, Form

STEPS = 3


def gain(trainers: Sequence[Trainer]) -> tuple[Form, float]:
    """The first form that these trials can take, and how many times as fast it is.

    A step of one trial, and a step of all of them: feeding, the objective, the update. Of each the fastest of a few
    counts, after one that warms up; CPU time where it is computed on the CPU. The trainers are used up: their weights
    move, nothing is written. Raises CannotFuse, saying why, if they can take none.
    """
    first = trainers[0]
    steps = min(STEPS, first.intervals.total - 1)
    if steps < 1:
        raise CannotFuse("a trial of a single step is over before it is measured")
    with isolated(first.device, threads=first.settings.threads):
        feed = first.batches()
        alone = _fastest(lambda: first.step(next(feed)), steps, first.device)
        first.run.step, first.loss_log.steps = 0, []
        program, reasons = program_for(trainers, FORMS)
        if program is None:
            raise CannotFuse("; ".join(reasons))
        together = _fastest(FusedLoop(program).advance, steps, first.device)
    program.rows.release()
    return program.form, alone * len(trainers) / together


def _fastest(advance: Callable[[], object], steps: int, device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds = []
    for _ in range(steps + 1):
        begun = clock()
        advance()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - begun)
    return min(seconds[1:])
