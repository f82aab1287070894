"""The rule for how long, on how much at once, and how carefully: from the number of samples alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_UPDATES = 3000  # that a small network needs to come to its end
_EPOCHS = (5, 100)
_BATCHES = (16, 128)
_PER_EPOCH = 50  # updates of an epoch, where batches can be chosen so
_FEW, _MANY = 2_000, 50_000  # samples that are few, and many


@dataclass(frozen=True)
class Sizes:
    """What `sized` gives; `reasons` are the rule, in words."""

    epochs: int
    batch_size: int
    dropout: float
    patience: int
    reasons: tuple[str, ...]

    def train(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "batch_size": self.batch_size, "clip": 1.0, "seed": 0, "final": "best"}

    def stop(self) -> list[Mapping[str, Any]]:
        return [{"name": "early", "patience": self.patience}]


def sized(samples: int) -> Sizes:
    """How to train on so many samples.

    Batches of the power of two that makes about 50 updates an epoch, from 16 to 128; epochs for about 3,000 updates,
    from 5 to 100; dropout 0.5 below 2,000 samples, 0.1 from 50,000 on, 0.3 between; a fifth of the epochs without
    improvement, three at least, end the run, and the best weights on `valid` are kept.
    """
    low, high = _BATCHES
    batch = low
    while batch < high and samples / (2 * batch) >= _PER_EPOCH:
        batch *= 2
    epochs = min(max(round(_UPDATES * batch / max(1, samples)), _EPOCHS[0]), _EPOCHS[1])
    dropout = 0.5 if samples < _FEW else 0.1 if samples >= _MANY else 0.3
    patience = max(3, epochs // 5)
    reasons = (
        f"{samples:,} samples: batches of {batch} for about {_PER_EPOCH} updates an epoch (16 to 128), and {epochs} "
        f"epochs for about {_UPDATES:,} updates (5 to 100).",
        f"It ends after {patience} epochs without improvement, and keeps the weights that were best on valid.",
    )
    return Sizes(epochs, batch, dropout, patience, reasons)
