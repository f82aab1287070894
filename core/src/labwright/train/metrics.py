"""The few metrics the core has itself.

A metric is anything with update, compute and reset. These sum up in float64 on the device (float32 where it has no
float64, on mps) and read a value in `compute` alone, so that a GPU never waits. B batch, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from labwright.base.errors import LabwrightError, listed, nearest
from labwright.interfaces.task import Metric


class Mean:
    """The weighted mean of all values it was given, of any shape; nan before the first.

    Example: `mean = lw.Mean(); mean.update(errors_B); mean.compute()`
    """

    def __init__(self) -> None:
        self._total: Tensor | float = 0.0
        self._weight: Tensor | float = 0.0

    def update(self, values: Tensor | float, weights: Tensor | float | None = None) -> None:
        """Take in values; `weights` has their shape or one that expands to it, 1 if left out."""
        values, weights = _precise(values), 1.0 if weights is None else _precise(weights)
        total = values * weights
        if isinstance(values, Tensor) and isinstance(weights, Tensor):
            weights = weights.expand_as(values)
        elif isinstance(values, Tensor):
            weights = weights * values.numel()
        self.add(total, weights)

    def add(self, total: Tensor | float, weight: Tensor | float) -> None:
        """Take in a sum of values that were weighed, and of their weights."""
        self._total = self._total + _summed(_precise(total))
        self._weight = self._weight + _summed(_precise(weight))

    def compute(self) -> float:
        weight = float(self._weight)
        return float(self._total) / weight if weight else math.nan

    def reset(self) -> None:
        self._total = self._weight = 0.0


class _OfMean:
    """A metric that is the mean of something."""

    def __init__(self) -> None:
        self._mean = Mean()

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()


class Accuracy(_OfMean):
    """The share of labels that have the highest logit, from 0 to 1; nan before the first.

    Example: `def metrics(self): return {"accuracy": lw.Accuracy()}`
    """

    higher_is_better = True

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in logits (B, C) and labels (B,); further axes may stand between B and C."""
        self._mean.update(logits.argmax(-1) == labels)


class LogLoss(_OfMean):
    """The mean negative log-likelihood of the labels, in nats per sample; nan before the first.

    Example: `def metrics(self): return {"log_loss": lw.LogLoss()}`
    """

    higher_is_better = False
    loss = "cross-entropy"

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in logits (B, C) and labels (B,); further axes may stand between B and C."""
        logits = logits.flatten(0, -2)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        self._mean.update(functional.cross_entropy(logits, labels.flatten(), reduction="none"))


class Perplexity(_OfMean):
    """The exponential of the mean negative log-likelihood of a token, in nats; nan before the first.

    Source: Jelinek et al. 1977.

    Example: `def metrics(self): return {"perplexity": lw.Perplexity()}`
    """

    higher_is_better = False

    def update(self, nats_sum: Tensor | float, tokens: Tensor | float) -> None:
        """Take in the summed negative log-likelihood of some tokens, and how many they are."""
        self._mean.add(nats_sum, tokens)

    def compute(self) -> float:
        try:
            return math.exp(super().compute())
        except OverflowError:
            return math.inf


class Of(nn.Module):
    """A metric of some of what `Task.evaluate` returns as a table, computed on `splits` alone if any are named.

    Example: `def metrics(self): return {"accuracy": lw.Of(lw.Accuracy(), "logits", "labels", splits=["test"])}`
    """

    def __init__(self, metric: Metric, *names: str, splits: Sequence[str] = ()) -> None:
        super().__init__()
        self.metric, self.names = metric, names  # a module: so that one of torchmetrics within it is moved along
        self.splits = tuple(splits) or getattr(metric, "splits", None)
        self.loss = getattr(metric, "loss", "")

    def update(self, results: Mapping[str, Any]) -> None:
        """Take in the results of those names. Raises LabwrightError for one that isn't there."""
        for name in self.names:
            if name not in results:
                raise LabwrightError(
                    f"evaluate() of the task gives {listed(results)}, and no {name!r}{nearest(name, results)}"
                )
        self.metric.update(*(results[name] for name in self.names))

    def compute(self) -> Any:
        return self.metric.compute()

    def reset(self) -> None:
        self.metric.reset()


def _precise(values: Tensor | float) -> Tensor | float:
    if not isinstance(values, Tensor):
        return values
    return values.detach().to(torch.float32 if values.device.type == "mps" else torch.float64)


def _summed(values: Tensor | float) -> Tensor | float:
    return values.sum() if isinstance(values, Tensor) else values
