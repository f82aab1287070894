"""Regression: real numbers that belong to an input. B batch, D numbers each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol

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
    Task,
    Values,
    evaluating,
)
from torch import Tensor, nn

from labwright_tasks.chosen_metrics import chosen, chosen_goal, new_metrics
from labwright_tasks.intervals import with_intervals
from labwright_tasks.model_output import output
from labwright_tasks.weights import weight_of, weighted_loss

if TYPE_CHECKING:
    from labwright import Section

_AT_ONCE = 256  # samples the model sees together for a report


class RegressionLoss(Protocol):
    """What a loss is called with: two tensors of shape (B, D), float."""

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor: ...


class Regression(Task):
    """Predict real numbers from an input of any kind. Lower is better: root mean squared error, or what `goal` says.

    Targets are taken as the data gives them: nothing is scaled, and every metric is in the target's own unit. Where
    data weighs its samples, the loss is their weighted mean; metrics count each alike, as scikit-learn's do unless
    given weights.

    Args:
        data: inputs of any kind, each with one or more real numbers.
        metrics: what is measured; left out, `rmse` and `mae`, over all samples and outputs, and `r2`, the share of
            variance explained, the mean over outputs.
        goal: metric by which models are compared and the best weights chosen, such as `mae`, or with its direction
            `NAME:maximize`; left out, `rmse`.
    """

    goal = Goal("rmse", "minimize")
    contract = RegressionLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        metrics: list[Annotated[Metric, Part("metric")]] | None = None,
        goal: str | None = None,
    ) -> None:
        if not issubclass(data.target, Values):
            raise LabwrightError(
                f"task.data: regression needs numbers to predict; {type(data).__name__} has targets "
                f"{data.target.__name__}. Task 'classification' takes Classes."
            )
        usual: dict[str, Metric] = {"rmse": RootMeanSquare(), "mae": MeanAbsolute(), "r2": Explained()}
        self.chosen = chosen(metrics, usual, data.target, ("predictions", "targets"))
        self.goal = chosen_goal(goal, self.chosen, Regression.goal)
        self.data = data

    def loss(self, model: nn.Module, batch: Batch, criterion: RegressionLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        return weighted_loss(criterion, _fitting(output(model, batch), batch.targets), batch)

    def weight(self, batch: Batch) -> float:
        return weight_of(batch)

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and targets, both (B, D)."""
        return _fitting(output(model, batch), batch.targets), batch.targets

    def metrics(self) -> dict[str, Metric]:
        return with_intervals(new_metrics(self.chosen, *self.ports()), self.data)

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """The mean of the training targets, and of what is in memory a ridge regression and gradient boosting.

        The first is of features, tables, pictures and sounds; the second of one number from features and tables.
        """
        from labwright_tasks.boosting_floor import boosting
        from labwright_tasks.floors import of_model
        from labwright_tasks.linear_floor import Answering, ridge

        train = self.part("train", plain=True)
        if not self.data.in_memory or not train or not self.part(split):
            return {}
        targets = [batch.targets for batch in IndexedBatches.in_order(train, _AT_ONCE)]
        mean_D = torch.cat(targets).double().mean(dim=0).float()
        rules: dict[str, nn.Module] = {"mean": Answering(lambda *inputs: mean_D.expand(len(inputs[0]), -1))}
        inputs = self.ports()[0]
        simple = [ridge(inputs, train), boosting(inputs, train) if len(mean_D) == 1 else None]
        rules |= dict(named for named in simple if named is not None)
        return {name: of_model(self, split, model) for name, model in rules.items()}

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each row the numbers predicted."""
        return [{"values": values} for values in model(*inputs).detach().float().cpu().tolist()]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Predicted against true values, and the samples that are furthest off."""
        from labwright_tasks.regression_report import sections

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        predictions, targets = [], []
        with evaluating(model):
            for batch in IndexedBatches.in_order(part, _AT_ONCE):
                predicted_BD, target_BD = self.evaluate(model, batch.to(device))
                predictions.append(predicted_BD.float().cpu())
                targets.append(target_BD.cpu())
        return sections(torch.cat(predictions), torch.cat(targets))


class RootMeanSquare:
    """The root of the mean squared difference; nan before the first."""

    higher_is_better = False

    root = True

    def __init__(self) -> None:
        self._mean = Mean()

    def of_each(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions.float() - targets).square().flatten(1).mean(1)

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        self._mean.update((predictions.float() - targets).square())

    def compute(self) -> float:
        return math.sqrt(self._mean.compute())

    def reset(self) -> None:
        self._mean.reset()


class MeanAbsolute:
    """The mean absolute difference; nan before the first."""

    higher_is_better = False
    loss = "mae"

    root = False

    def __init__(self) -> None:
        self._mean = Mean()

    def of_each(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions.float() - targets).abs().flatten(1).mean(1)

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        self._mean.update((predictions.float() - targets).abs())

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()


class Explained:
    """The share of the targets' variance explained (R squared), the mean over outputs; nan before the first.

    An output whose target never changes counts 1 if predicted exactly, else 0, as in scikit-learn. Sums are kept about
    the running mean (Chan, Golub & LeVeque 1979), so that targets far from 0 lose no digits.
    """

    higher_is_better = True

    _count: int
    _mean: Tensor | float
    _spread: Tensor | float
    _missed: Tensor | float

    def __init__(self) -> None:
        self.reset()

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        precise = torch.float32 if targets.device.type == "mps" else torch.float64
        p_BD, t_BD = predictions.detach().to(precise), targets.to(precise)
        count, mean_D = len(t_BD), t_BD.mean(dim=0)
        delta_D = mean_D - self._mean
        total = self._count + count
        self._spread = self._spread + (t_BD - mean_D).square().sum(dim=0) + delta_D**2 * (self._count * count / total)
        self._mean = self._mean + delta_D * (count / total)
        self._missed = self._missed + (p_BD - t_BD).square().sum(dim=0)
        self._count = total

    def compute(self) -> float:
        if not self._count:
            return math.nan
        missed, spread = torch.as_tensor(self._missed), torch.as_tensor(self._spread)
        constant = torch.where(missed == 0, 1.0, 0.0)
        return float(torch.where(spread == 0, constant, 1 - missed / spread).mean())

    def reset(self) -> None:
        self._count = 0
        self._mean = self._spread = self._missed = 0.0


def _fitting(predictions: Tensor, targets: Tensor) -> Tensor:
    """The predictions, if they have the targets' shape: broadcasting would compare every sample with every other."""
    if predictions.shape != targets.shape:
        raise LabwrightError(
            f"the model gives predictions of shape {tuple(predictions.shape)} for targets of shape "
            f"{tuple(targets.shape)}; both are (batch, numbers per sample)."
        )
    return predictions
