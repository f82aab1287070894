"""The objective that every tool searches: a perceptron on scikit-learn's digits, trained as labwright trains a trial.

What a training took is written down beside its result, so that a tool's own cost is what is left of the wall time.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import labwright as lw
from labwright.plugin.hookspecs import hookimpl

SPACE = {"optimizer.lr": (1e-5, 1e-1), "optimizer.weight_decay": (1e-4, 1e-1)}
TOOLS = ("by_hand", "by_labwright", "by_hydra", "by_ray")


def experiment(epochs: int) -> lw.Experiment:
    return lw.Experiment(
        task={"name": "classification", "data": {"name": "vision/digits", "valid": 0.2}},
        model={"name": "vision/mlp", "width": 128},
        loss="cross-entropy",
        optimizer={"name": "adamw", "lr": 3e-3},
        train={"epochs": epochs, "batch_size": 32},
        device={"name": "cpu", "threads": 1},
        search={"only": list(SPACE)},
        log=(),
    )


class Objective:
    """Accuracy on the valid part; data is read once in a process, as anybody would."""

    def __init__(self, epochs: int, folder: Path) -> None:
        self.base, self.folder, self._task = experiment(epochs), folder, None

    def __call__(self, number: int | str, values: dict[str, Any], listener: object = None) -> float:
        self._task = self._task or self.base.prepared()
        last = Last()
        listeners = [last] if listener is None else [last, listener]
        trainer = self.base.varied(values).trial(self.folder / "runs" / str(number), self._task, listeners=listeners)
        begun = time.perf_counter()
        trainer.fit()
        with (self.folder / "trained.jsonl").open("a") as file:
            file.write(json.dumps(time.perf_counter() - begun) + "\n")
        return last.value


class Last:
    value = 0.0

    @hookimpl
    def labwright_evaluated(self, split: str, metrics: dict[str, float]) -> None:
        if split == "valid":
            self.value = metrics["accuracy"]
