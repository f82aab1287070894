"""Samples that count more than others, by weights of their own. N samples, B batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labwright import Batch, LabwrightError, Loss
from torch import Tensor


@dataclass(frozen=True)
class WeightedBatch(Batch):
    """A batch whose samples count by `weights` (B,), float32 and not negative."""

    weights: Tensor


def weighed(batch: Batch, weights_N: Tensor | None, indices: Tensor) -> Batch:
    """A batch of the samples at `indices`, with their weights if there are any."""
    return batch if weights_N is None else WeightedBatch(batch.inputs, batch.targets, weights_N[indices])


def weights_in(batch: Batch) -> Tensor | None:
    """The weights of a batch's samples, (B,), of whatever class the batch is; None if they have none."""
    weights: Tensor | None = getattr(batch, "weights", None)
    return weights


def weight_of(batch: Batch) -> float:
    """What a loss over a batch divides by: its samples, or the sum of their weights."""
    weights_B = weights_in(batch)
    return len(batch) if weights_B is None else float(weights_B.sum())


def weighted_loss(criterion: Any, outputs: Tensor, batch: Batch) -> Tensor:
    """A loss's mean over a batch; where samples have weights w it is sum(w * loss) / sum(w), and 0 if all weigh 0.

    Raises LabwrightError for a loss that gives none for each sample, or weighs samples itself.
    """
    if not isinstance(batch, WeightedBatch):
        mean: Tensor = criterion(outputs, batch.targets)
        return mean
    name = type(criterion).__name__
    if getattr(criterion, "weights", None) is not None:
        raise LabwrightError(
            "loss.weights: samples have weights of their own, by task.data.weight; leave one of them out. What a class "
            "weighs can be part of each sample's weight."
        )
    # each sample is a batch of its own: a Loss passes axes before the batch through
    each_B = criterion(outputs.unsqueeze(1), batch.targets.unsqueeze(1)) if isinstance(criterion, Loss) else None
    if not isinstance(each_B, Tensor) or each_B.shape != batch.weights.shape:
        raise LabwrightError(
            f"loss {name}: task.data.weight weighs samples, and this loss gives none for each of them: it should be a "
            "labwright.Loss that reduces over the last axes alone, as 'cross-entropy' and 'mse' do."
        )
    total = batch.weights.sum()
    return (batch.weights.to(each_B.dtype) * each_B).sum() / total.where(total > 0, 1.0)
