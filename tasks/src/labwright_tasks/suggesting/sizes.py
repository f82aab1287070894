"""The rule for how long, on how much at once, and how carefully: from the number of samples alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GOAL = "cross_entropy"  # of classes, by which the best is chosen: of few samples it says more than how many are right
CHOSEN = "The best is chosen by the cross-entropy on valid, which says more of few samples than the accuracy beside it."
_BATCHES = (16, 128)
_PER_EPOCH = 50  # updates of an epoch, where batches can be chosen so
_FEW, _MANY = 2_000, 50_000  # samples that are few, and many
_PATIENCE = 10  # epochs


@dataclass(frozen=True)
class Sizes:
    """What `sized` gives; `reasons` are the rule, in words."""

    batch_size: int
    dropout: float
    reasons: tuple[str, ...]

    def train(self) -> dict[str, Any]:
        return {"epochs": "auto", "batch_size": self.batch_size, "clip": 1.0, "seed": 0, "final": "best"}

    def stop(self) -> list[Mapping[str, Any]]:
        return [{"name": "early", "patience": _PATIENCE}]


def sized(samples: int) -> Sizes:
    """How to train on so many samples.

    Batches of the power of two that makes about 50 updates an epoch, from 16 to 128; dropout 0.5 below 2,000 samples,
    0.1 from 50,000 on, 0.3 between. Epochs are left to the run, which makes about 3,000 updates of them; ten without
    improvement end it, and the best weights on `valid` are kept.
    """
    low, high = _BATCHES
    batch = low
    while batch < high and samples / (2 * batch) >= _PER_EPOCH:
        batch *= 2
    dropout = 0.5 if samples < _FEW else 0.1 if samples >= _MANY else 0.3
    reasons = (
        f"{samples:,} samples: batches of {batch} for about {_PER_EPOCH} updates an epoch ({low} to {high}), and as "
        "many epochs as make about 3,000 updates (auto: 5 to 100).",
        f"It ends after {_PATIENCE} epochs without improvement, and keeps the weights that were best on valid.",
    )
    return Sizes(batch, dropout, reasons)
