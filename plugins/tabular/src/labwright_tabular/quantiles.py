"""Quantiles: between which numbers an answer lies, how often. B batch, Q quantiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import torch
from labwright import (
    Batch,
    Data,
    Goal,
    IndexedBatches,
    LabwrightError,
    Mean,
    Metric,
    Part,
    Port,
    Table,
    Task,
    evaluating,
)
from labwright_tasks.intervals import with_intervals
from labwright_tasks.weights import weight_of, weighted_loss
from pydantic import Field
from torch import Tensor, nn

from labwright_tabular.losses import pinball
from labwright_tabular.ports import Quantiles, Scaled

if TYPE_CHECKING:
    from labwright import Section

_AT_ONCE = 1024  # samples the model sees together for a report

Level = Annotated[float, Field(gt=0, lt=1)]


class QuantileLoss(Protocol):
    """What a loss is called with: predictions (B, Q) and targets (B, 1)."""

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor: ...


class QuantileRegression(Task):
    """Predict quantiles of a number (Koenker & Bassett 1978). Lower is better: the pinball loss, in the target's unit.

    `pinball` is the mean over samples and quantiles; `coverage` the share of targets from the lowest predicted quantile
    to the highest, which ought to be the difference of their levels; `crossed` the share of samples where a higher
    quantile is predicted below a lower one.

    Args:
        data: a table whose target is one number.
        levels: quantiles that are predicted, ascending, such as 0.5 for the median.

    Raises LabwrightError if the data's target isn't one number, or the levels don't ascend.
    """

    goal = Goal("pinball", "minimize")
    contract = QuantileLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        levels: Annotated[list[Level], Field(min_length=1)] = [0.1, 0.5, 0.9],  # noqa: B006 - never changed
    ) -> None:
        if not issubclass(data.target, Scaled):
            raise LabwrightError(
                f"task.data: quantiles are of one number of a table; {type(data).__name__} has targets "
                f"{data.target.__name__}. `labwright list data` shows 'tabular/number-table' and others."
            )
        if any(after <= before for before, after in pairwise(levels)):
            raise LabwrightError(f"task.levels: given {levels}; quantiles ascend, such as [0.1, 0.5, 0.9].")
        self.data, self.levels = data, tuple(levels)

    def port_types(self) -> tuple[type[Port], type[Port]]:
        return self.data.item, Quantiles

    def ports(self) -> tuple[Port, Port]:
        inputs, outputs = self.data.ports()
        assert isinstance(outputs, Scaled)
        count = len(self.levels)
        return inputs, Quantiles(count, outputs.mean * count, outputs.deviation * count, self.levels)

    def loss(self, model: nn.Module, batch: Batch, criterion: QuantileLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        return weighted_loss(criterion, model(*batch.inputs), batch)

    def weight(self, batch: Batch) -> float:
        return weight_of(batch)

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions (B, Q) and targets (B, 1)."""
        predictions_BQ = model(*batch.inputs)
        if predictions_BQ.shape != (len(batch), len(self.levels)):
            raise LabwrightError(
                f"the model gives predictions of shape {tuple(predictions_BQ.shape)}; {len(self.levels)} quantiles of "
                f"{len(batch)} samples are meant."
            )
        return predictions_BQ, batch.targets

    def metrics(self) -> dict[str, Metric]:
        metrics = {
            "pinball": _Share(self._pinball, "tabular/pinball"),
            "coverage": _Share(_covered),
            "crossed": _Share(_crossed),
        }
        return with_intervals(metrics, self.data)

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """The quantiles of the training targets, the same for everyone."""
        from labwright_tasks.floors import of_model
        from labwright_tasks.linear_floor import Answering

        train = self.part("train", plain=True)
        if not train or not self.part(split):
            return {}
        targets_N = torch.cat([batch.targets for batch in IndexedBatches.in_order(train, _AT_ONCE)]).flatten()
        quantiles_Q = torch.from_numpy(np.quantile(targets_N.double().numpy(), self.levels)).float()
        everyone = Answering(lambda *inputs: quantiles_Q.expand(len(inputs[0]), -1))
        return {"quantiles of the training part": of_model(self, split, everyone)}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each row the quantiles by their levels, in their order even where the model has them crossed."""
        rows = model(*inputs).detach().float().sort(dim=1).values.cpu().tolist()
        return [{"values": row, "quantiles": dict(zip(map(str, self.levels), row, strict=True))} for row in rows]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """How many targets lie below each quantile."""
        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        below, count = torch.zeros(len(self.levels)), 0
        with evaluating(model):
            for batch in IndexedBatches.in_order(part, _AT_ONCE):
                predicted_BQ, target_B1 = self.evaluate(model, batch.to(device))
                below += (target_B1 <= predicted_BQ).sum(0).cpu()
                count += len(batch)
        shares = (below / count).tolist()
        rows: list[tuple[object, ...]] = [
            (f"{level:g}", f"{share:.4g}") for level, share in zip(self.levels, shares, strict=True)
        ]
        return [Table("Quantiles", ("level", "share of targets at or below"), rows, f"{count:,} samples of {split}.")]

    def _pinball(self, predictions_BQ: Tensor, targets_B1: Tensor) -> Tensor:
        return pinball(predictions_BQ.float(), targets_B1, self.levels)


def _covered(predictions_BQ: Tensor, targets_B1: Tensor) -> Tensor:
    low_B1, high_B1 = predictions_BQ.amin(1, keepdim=True), predictions_BQ.amax(1, keepdim=True)
    return (targets_B1 >= low_B1) & (targets_B1 <= high_B1)


def _crossed(predictions_BQ: Tensor, targets_B1: Tensor) -> Tensor:  # noqa: ARG001 - as the others are called
    return (predictions_BQ.diff(dim=1) < 0).any(dim=1)


class _Share:
    """The mean of what a function makes of predictions and targets; nan before the first."""

    def __init__(self, of: Any, loss: str = "") -> None:
        self._of, self._mean, self.root, self.loss = of, Mean(), False, loss

    def of_each(self, predictions: Tensor, targets: Tensor) -> Tensor:
        each: Tensor = self._of(predictions, targets)
        return each.flatten(1).mean(1) if each.is_floating_point() else each.flatten()

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        self._mean.update(self._of(predictions, targets))

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()
