"""A study under `torchrun`: the first rank asks, tells and decides, and every rank trains the same trial.

What the first rank says is broadcast with a word for what it is, so that a rank whose trial has broken waits for the
next trial while the others finish theirs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from labwright import StopRun
from torch import distributed

from labwright_study.trial import Answer, Group, Result, Spec, Trials
from labwright_study.workers import Pool


def several() -> bool:
    """Whether this process was started by `torchrun` beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and distributed.is_available()


def follows() -> bool:
    """Whether another rank leads."""
    return several() and int(os.environ.get("RANK", "0")) != 0


def meet() -> None:
    """Make the process group, if there are several ranks and the program hasn't made one."""
    if several() and not distributed.is_initialized():
        distributed.init_process_group("gloo")


class Ranks(Pool):
    """Runs trials on all ranks; for the first one."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials

    def run(self, groups: Iterator[Group], answer: Answer) -> Iterator[Result]:
        def shared(number: int, reports: Sequence[Sequence[float]]) -> bool:
            pruned = answer(number, [list(one) for one in reports])
            _say("answer", pruned)
            return pruned

        while not self.stopping:
            group = next(groups, None)
            if group is None:
                return
            _say("trial", group.json())
            yield from self.trials.run(group, shared)

    def close(self) -> None:
        _say("end", None)
        distributed.destroy_process_group()


def follow(trials: Trials) -> None:
    """Train what the first rank says until it says that it is over."""
    rank = distributed.get_rank()
    waiting: list[tuple[str, Any]] = []

    def hear() -> tuple[str, Any]:
        return waiting.pop() if waiting else _heard()

    def answer(_: int, __: Sequence[Sequence[float]]) -> bool:
        word, value = hear()
        if word != "answer":  # the first rank has gone on: its trial broke
            waiting.append((word, value))
            raise StopRun("the first rank has ended this trial")
        return bool(value)

    while True:
        word, value = hear()
        if word == "end":
            distributed.destroy_process_group()
            return
        if word == "trial":
            specs = (Spec(**spec) for spec in value["specs"])
            own = tuple(replace(spec, folder=str(Path(spec.folder) / f"rank-{rank}")) for spec in specs)
            for _ in trials.run(Group(own), answer):
                pass  # what came of it is for the first rank to say


def _say(word: str, value: Any) -> None:
    distributed.broadcast_object_list([word, value], src=0, device=torch.device("cpu"))


def _heard() -> tuple[str, Any]:
    heard: list[Any] = [None, None]
    distributed.broadcast_object_list(heard, src=0, device=torch.device("cpu"))
    return heard[0], heard[1]
