"""The sides of pictures.py, a file for each part: functions that train for the processor time of a `Piece`.

A side's budget is of training alone, and of loading its pictures: neither of imports, of reading a folder for the
first time nor of measuring. Peers with a loop of their own here set the learning rate by the share of the time that is
gone, so that a schedule ends with the budget; labwright and ultralytics are timed for some steps first and then train
anew for as many steps or epochs as fit in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Figures = dict[str, float]
_NEVER = 1_000_000_000
_TIMED = (2, 8)  # steps; what the second takes more than the first is of steps alone


@dataclass(frozen=True)
class Piece:
    """What a side is given: the public set, an empty folder, seconds of the processor, a seed, what is measured on."""

    data: Path
    scratch: Path
    seconds: float
    seed: int
    split: str


def by_labwright(recipe: str, settings: Sequence[str], piece: Piece, figures: Sequence[str]) -> Figures:
    """Train a recipe without evaluating on the way, and measure its averaged weights."""
    import labwright as lw
    import torch

    never = [f'train.{name}_every="{_NEVER} steps"' for name in ("evaluate", "save")]
    quiet = ["log=[]", "device.threads=1", "train.epochs=", f"train.log_every={_NEVER}", f"train.seed={piece.seed}"]

    def fitted(name: str, until: int, total: int) -> tuple[Any, float]:
        experiment = lw.Experiment.from_recipe(recipe, [*settings, *never, *quiet, f"train.steps={total}"])
        trainer = experiment.trainer(piece.scratch / name)
        start = time.process_time()
        trainer.fit(until=until)
        return trainer, time.process_time() - start

    few, more = (fitted(str(steps), steps, 1000)[1] for steps in _TIMED)
    total = max(2, round(piece.seconds * (_TIMED[1] - _TIMED[0]) / (more - few)))
    trainer, spent = fitted("whole", total, total)
    with trainer.averaged():
        measured = lw.evaluate(
            trainer.task, trainer.model, piece.split, device=torch.device("cpu"), size=32, seed=piece.seed
        )
    return {
        **{name: measured.metrics[name] for name in figures},
        "processor": spent,
        "pictures": total * trainer.train.batch_size,
        "parameters": sum(one.numel() for one in trainer.model.parameters()),
    }


def by_hand(model: Any, step: Callable[[float], int], seconds: float) -> Figures:
    """Call `step` with the share of the seconds that is gone until they are; it returns how many pictures it took."""
    pictures, spent, start = 0, 0.0, time.process_time()
    while spent < seconds:
        pictures += step(spent / seconds)
        spent = time.process_time() - start
    parameters = sum(one.numel() for one in model.parameters())
    return {"processor": spent, "pictures": pictures, "parameters": parameters}


def rate(share: float, peak: float, warm: float = 0.05) -> float:
    """A learning rate that rises to its peak within `warm` of the time and falls to 0 as a cosine."""
    return peak * (share / warm if share < warm else (1 + math.cos(math.pi * (share - warm) / (1 - warm))) / 2)


def batches(count: int, size: int, seed: int) -> Any:
    """Shuffled whole batches of indices without end."""
    import torch

    random = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=random).tolist()
        yield from (order[start : start + size] for start in range(0, count - size + 1, size))
