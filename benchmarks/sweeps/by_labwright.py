"""The same search as a study of labwright's."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import labwright as lw
import torch
from labwright.interfaces.run import Outcome
from labwright.train.trainer import Trainer
from labwright_study import study as studies
from objective import experiment


def search(trials: int, epochs: int, folder: Path, *, reported: bool) -> None:
    if not reported:
        studies.write_report = lambda *_: None  # type: ignore[assignment]
    lw.Study(experiment(epochs), trials, folder=folder, pruner="none", quiet=True).run()


def timed(file: Path) -> None:
    """What a training takes, measured where the other tools' is."""
    fit = Trainer.fit

    def timing(self: Trainer, **settings: Any) -> Outcome:
        begun = time.perf_counter()
        outcome = fit(self, **settings)
        with file.open("a") as lines:
            lines.write(json.dumps(time.perf_counter() - begun) + "\n")
        return outcome

    Trainer.fit = timing  # type: ignore[method-assign]


if __name__ == "__main__":
    torch.set_num_threads(1)
    timed(Path(sys.argv[3]) / "trained.jsonl")
    search(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), reported=True)
