"""Studies whose trials several processes train together, in float64: `torchrun ... together.py FOLDER CASE ...`.

The same functions on one process are what they are compared with.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import labwright as lw
import torch
from divided import Plain, settings
from labwright import Choice
from torch import Tensor

Fault = Annotated[str, Choice("none", "diverges", "breaks", "first breaks", "second breaks", "can't be built")]


class Faulty(Plain):
    """A model in which something goes wrong in its third step, on both processes or on the second alone."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes, *, fault: Fault = "none") -> None:
        super().__init__(inputs, outputs)
        if fault == "can't be built":
            raise ValueError("of this test")
        self.fault, self.steps = fault, 0

    def forward(self, x_BD: Tensor) -> Tensor:
        self.steps += self.training
        logits: Tensor = super().forward(x_BD)
        second = lw.ranks.number() == lw.ranks.count() - 1
        if self.steps == 3 and self.training:
            if self.fault == "diverges" and second:  # its share of the loss alone is no number
                return logits * torch.inf
            if self.fault in ("breaks", "second breaks" if second else "first breaks"):
                raise ZeroDivisionError("of this test")
        return logits


class Signals:
    """Sends all processes Ctrl-C in the second trial, as torchrun does, twice."""

    trials = 0

    @lw.hookimpl
    def labwright_run_started(self) -> None:
        Signals.trials += 1
        if Signals.trials == 2:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

    labwright_run_started.every_process = True  # type: ignore[attr-defined]


def study(folder: Path, trials: int = 4, listeners: Sequence[Any] = (), **given: Any) -> lw.Study:
    """A study of the learning rate, with reports after every step."""
    changed: dict[str, Any] = {key: given.pop(key) for key in ("model", "loss") if key in given}
    train = {"steps": 9, "batch_size": 30, "evaluate_every": "1 steps", "log_every": 1}
    experiment = lw.Experiment(**settings(train=train, **changed) | {"stop": listeners})
    how = {"search": {"optimizer.lr": {"low": 1e-3, "high": 1.0, "log": True}}, "goals": ["cross_entropy:minimize"]}
    return lw.Study(experiment, trials, folder=folder, **{"pruner": "none", "batch": 4, "quiet": True} | how | given)


def plain(folder: Path) -> None:
    study(folder).run()


def pruned(folder: Path) -> None:
    study(folder, 8, pruner={"name": "median", "startup": 2}).run()


def interrupted(folder: Path) -> None:
    """Ended after the second trial, and gone on with."""
    signals = Signals()
    found = study(folder, batch=2, listeners=[signals]).run()
    assert found.interrupted and found.trials == 2  # on every process
    study(folder, batch=2, listeners=[signals]).run()


def confirmed(folder: Path) -> None:
    one = study(folder)
    one.run()
    again = one.confirm(top=2, seeds=2)
    assert len(again.seeds) == 2  # on every process


def faulty(*faults: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        search = {"only": ["model.fault"], "model.fault": list(faults)}
        study(folder, len(faults), model=Faulty, search=search, sampler="grid").run()

    return run


def refused(folder: Path) -> None:
    """What doesn't go together, and what the first process finds out, is raised on all."""
    given: Sequence[dict[str, Any]] = (
        {"workers": 2},
        {"fuse": "auto"},
        {"asynchronous": True},
        {"goals": ["speed:maximize"]},
    )
    for number, beside in enumerate(given):
        try:
            study(folder / str(number), **beside).run()
        except lw.LabwrightError as error:
            folder.mkdir(exist_ok=True)
            (folder / f"{number}-{lw.ranks.number()}.txt").write_text(str(error))


CASES: dict[str, Callable[[Path], None]] = {
    "plain": plain,
    "pruned": pruned,
    "interrupted": interrupted,
    "confirmed": confirmed,
    "faults": faulty("none", "diverges", "breaks", "can't be built"),
    "first": faulty("none", "first breaks"),
    "second": faulty("none", "second breaks"),
    "refused": refused,
}


def search(folder: Path, names: Sequence[str]) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        for name in names:
            CASES[name](folder / name)
    finally:
        torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        search(Path(sys.argv[1]), sys.argv[2:])
    except lw.LabwrightError as error:
        if lw.ranks.speaks(str(error)):
            print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        lw.ranks.leave()
