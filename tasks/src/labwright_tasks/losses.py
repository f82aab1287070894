"""Losses for classes and for real numbers, and penalties on the weights.

B batch, C classes, D values of a sample. They are means over a batch; axes before it, such as one of stacked trials,
pass through, so that logits of shape (N, B, C) give N losses.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from math import inf
from typing import Annotated, Any, Literal, final

import torch
import torch.nn.functional as F  # noqa: N812 - the name it has everywhere
from labwright import (
    LEFT_OUT,
    Classes,
    LabwrightError,
    Loss,
    Part,
    PerTrial,
    Port,
    Uniform,
    listed,
    nearest,
    normalizer,
    separable,
)
from pydantic import Field
from torch import Tensor, nn

from labwright_tasks.dense_labels import PositionClasses


@final
class CrossEntropy(Loss):
    """Negative log-likelihood of the class, in nats.

    A label of -100 leaves its sample out of the mean. Source of the smoothing: Szegedy et al. 2016, section 7.

    With `weights` the mean is over weights, which are known after `prepare`. Samples that weigh 0 are left out, of a
    smoothing too; a batch of these alone has a loss of 0.

    Args:
        label_smoothing: share of a label's probability that is spread evenly over all classes.
        weights: of samples by their class: a number for each class, a table of some classes' where others weigh 1, or
            "balanced", N / (C * N_c) for N_c of N training samples (King & Zeng 2001, as in scikit-learn); left out,
            each weighs 1.
    """

    def __init__(
        self,
        *,
        label_smoothing: Annotated[float, Field(ge=0, lt=1), Uniform(0.0, 0.3), PerTrial()] = 0.0,
        weights: Literal["balanced"] | list[float] | dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.label_smoothing: float | Tensor = label_smoothing  # a tensor with one value per trial will do as well
        self.weights = weights
        self.weight_C: Tensor | None  # as the task's data gives it, so that no checkpoint needs it
        self.register_buffer("weight_C", None, persistent=False)
        self.some_weigh_0 = False

    def prepare(self, outputs: Port) -> None:
        if self.weights is not None:
            weights = _class_weights(self.weights, outputs)
            self.weight_C, self.some_weigh_0 = torch.tensor(weights), 0 in weights

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (..., B, C) and int64 labels (..., B) in 0..C-1 to losses of shape (...)."""
        if self.weights is not None and self.weight_C is None:
            raise LabwrightError(
                "loss.weights: a task that holds a loss itself has to call its prepare(outputs) first."
            )
        smoothing, weight_C = self.label_smoothing, self.weight_C
        if weight_C is not None:  # half precision would round weights before they are summed
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            weight_C = weight_C.to(logits.dtype)
        if logits.dim() == 2 and not isinstance(smoothing, Tensor) and not self.some_weigh_0:
            return F.cross_entropy(logits, labels, weight_C, label_smoothing=smoothing)
        log_shares = logits.log_softmax(-1)
        counted = labels != LEFT_OUT
        known = labels.where(counted, 0)
        divisor = counted
        if weight_C is not None:
            log_shares, divisor = log_shares * weight_C, weight_C[known].where(counted, 0.0)
        each = log_shares.gather(-1, known.unsqueeze(-1)).squeeze(-1)
        if isinstance(smoothing, Tensor):
            each = each.lerp(log_shares.mean(-1), smoothing.to(each.dtype).unsqueeze(-1))
        elif smoothing:
            each = each.lerp(log_shares.mean(-1), smoothing)
        total = divisor.sum(-1)
        if self.some_weigh_0:  # where all do, the mean is 0, and so is its gradient, instead of 0 / 0
            each, total = each.where(divisor > 0, 0.0), total.where(total > 0, 1.0)
        return -each.where(counted, 0.0).sum(-1) / total

    def grouped(self, stacks: Mapping[str, Tensor], logits: Tensor, labels: Tensor) -> Any:
        """The losses (N,) of N fused trials in one call, of logits (N, B, C); `stacks` may hold their smoothing."""
        smoothing = self.label_smoothing
        others = "label_smoothing" in stacks or self.weight_C is not None
        if logits.dim() != 3 or isinstance(smoothing, Tensor) or others:
            return NotImplemented
        flat = logits.flatten(0, 1), labels.flatten()
        each_NB = F.cross_entropy(*flat, reduction="none", label_smoothing=smoothing).view(labels.shape)
        return each_NB.sum(1) / (labels != LEFT_OUT).sum(1)

    def normalizer(self, targets: Tensor) -> float | None:
        """The weights of the labels, or the labels that count, where some don't."""
        if self.weight_C is not None:
            return float(self.weight_C.cpu().double()[targets[targets != LEFT_OUT]].sum())
        counted = int((targets != LEFT_OUT).sum())
        return counted if counted < targets.numel() else None


def _class_weights(weights: str | list[float] | dict[str, float], outputs: Port) -> list[float]:
    """A weight for each class. Raises LabwrightError for weights of other classes, and if all are 0."""
    if not isinstance(outputs, Classes | PositionClasses):
        raise LabwrightError(f"loss.weights: the targets are {type(outputs).__name__}, not Classes; leave it out.")
    names, counts = outputs.names, outputs.counts or [0]
    if isinstance(weights, dict):
        if unknown := next((name for name in weights if name not in names), ""):
            raise LabwrightError(f"loss.weights: no class is called {unknown!r}{nearest(unknown, names)}")
        weights = [weights.get(name, 1.0) for name in names]
    elif isinstance(weights, str):
        if 0 in counts:
            lacking = f"class {names[counts.index(0)]!r} has none" if outputs.counts else "how many isn't told here"
            needs = f"'balanced' needs training samples of each class: {lacking}"
            raise LabwrightError(f"loss.weights: {needs}; give a number for each class.")
        weights = [sum(counts) / (len(counts) * count) for count in counts]
    if len(weights) != len(names):
        raise LabwrightError(f"loss.weights: given {len(weights)} numbers for {len(names)} classes: {listed(names)}.")
    if not any(weights) or not all(0 <= weight < inf for weight in weights):
        raise LabwrightError(f"loss.weights: given {weights}; each is a number from 0 on, and not all are 0.")
    return weights


class _OfValues(Loss):
    """A mean over samples and over the values of each."""

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Predictions and targets, both (..., B, D), to losses of shape (...).

        Raises LabwrightError if their shapes differ.
        """
        if predictions.shape != targets.shape:
            raise LabwrightError(
                f"loss {type(self).__name__}: predictions have shape {tuple(predictions.shape)}, targets "
                f"{tuple(targets.shape)}; they are compared value by value, so that both need the same."
            )
        if predictions.dim() <= 2:
            return self._between(predictions, targets, "mean")
        return self._between(predictions, targets, "none").mean((-2, -1))

    @abstractmethod
    def _between(self, predictions: Tensor, targets: Tensor, reduction: str) -> Tensor:
        """The loss of each value, or their mean."""


@final
class MeanSquaredError(_OfValues):
    """(prediction - target)**2, without a factor 1/2."""

    def _between(self, predictions: Tensor, targets: Tensor, reduction: str) -> Tensor:
        return F.mse_loss(predictions, targets, reduction=reduction)


@final
class MeanAbsoluteError(_OfValues):
    """|prediction - target|; its gradient at 0 is 0."""

    def _between(self, predictions: Tensor, targets: Tensor, reduction: str) -> Tensor:
        return F.l1_loss(predictions, targets, reduction=reduction)


@final
class Huber(_OfValues):
    """error**2 / 2 up to an absolute error of `delta`, delta * (|error| - delta / 2) beyond (Huber 1964).

    Args:
        delta: absolute error from which the loss grows linearly, in units of the targets.
    """

    def __init__(self, *, delta: Annotated[float, Field(gt=0), Uniform(0.1, 10.0, log=True)] = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def _between(self, predictions: Tensor, targets: Tensor, reduction: str) -> Tensor:
        return F.huber_loss(predictions, targets, reduction=reduction, delta=self.delta)


@final
class Summed(Loss):
    """The sum of several losses over classes, such as cross-entropy and dice, each with its weight.

    Each is logged by its name. They may be cut into micro-batches if each may, and all are means over the same.

    Args:
        losses: losses over classes, each under a name.
        weights: factor of each loss, by its name; 1 where none is given.
    """

    def __init__(
        self,
        losses: dict[str, Annotated[Any, Part("loss")]],
        *,
        weights: dict[str, Annotated[float, Field(ge=0)]] | None = None,
    ) -> None:
        super().__init__()
        self.weights = weights or {}
        if unknown := next((name for name in self.weights if name not in losses), ""):
            raise LabwrightError(f"loss.weights.{unknown}: the sum has no such loss{nearest(unknown, losses)}")
        if not any(self.weights.get(name, 1.0) for name in losses):
            raise LabwrightError("loss: there is nothing to sum; name losses, not all of which weigh 0.")
        if wrong := next((name for name, loss in losses.items() if not isinstance(loss, Loss)), ""):
            raise LabwrightError(f"loss.losses.{wrong}: a sum is one of losses over classes, given {losses[wrong]!r}.")
        self.losses = nn.ModuleDict(losses)
        self.separable = all(map(separable, losses.values()))

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Logits (..., B, C) and int64 labels (..., B) to the parts of the sum by their names."""
        return {name: self.weights.get(name, 1.0) * loss(logits, labels) for name, loss in self.losses.items()}

    def prepare(self, outputs: Port) -> None:
        for loss in self.losses.values():
            assert isinstance(loss, Loss)
            loss.prepare(outputs)
        if isinstance(outputs, Classes | PositionClasses):
            # alone, each class shows whether one of the losses weighs it as another doesn't
            alone = [torch.tensor([label, LEFT_OUT]) for label in range(len(outputs.names))]
            same = (len({normalizer(loss, labels) for loss in self.losses.values()}) == 1 for labels in alone)
            self.separable = self.separable and all(same)

    def normalizer(self, targets: Tensor) -> float | None:
        """What they divide by, if it is the same."""
        divisors = {normalizer(loss, targets) for loss in self.losses.values()}
        return divisors.pop() if len(divisors) == 1 else None

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        terms = [
            self.weights.get(name, 1.0) * term
            for name, loss in self.losses.items()
            if isinstance(loss, Loss) and (term := loss.penalty(parameters)) is not None
        ]
        return torch.stack(terms).sum() if terms else None


@final
class Penalized(Loss):
    """Another loss, and l1 * (sum of |w|) + l2 * (sum of w**2) over all the model's parameters.

    Calls, of methods other than `forward` too, go to the loss within, `inner`; its own penalty is added as well.

    Args:
        loss: the loss that the penalty is added to, one that needs no ports.
        l1: factor of the sum of absolute values.
        l2: factor of the sum of squares, whose gradient is 2 * l2 * w: half a `weight_decay` is the same for plain SGD.
    """

    def __init__(
        self,
        loss: Annotated[Any, Part("loss")],
        *,
        l1: Annotated[float, Field(ge=0), Uniform(1e-8, 1e-2, log=True)] = 0.0,
        l2: Annotated[float, Field(ge=0), Uniform(1e-8, 1e-2, log=True)] = 0.0,
    ) -> None:
        super().__init__()
        if not isinstance(loss, nn.Module):  # one that needs ports comes as a callable awaiting them
            raise LabwrightError(f"loss.loss: a penalty goes with a loss that is complete in itself, given {loss!r}.")
        self.inner = loss
        self.separable = separable(loss)
        self.l1 = l1
        self.l2 = l2

    def forward(self, *arguments: Any, **named: Any) -> Tensor:
        value: Tensor = self.inner(*arguments, **named)
        return value

    def prepare(self, outputs: Port) -> None:
        if isinstance(self.inner, Loss):
            self.inner.prepare(outputs)

    def normalizer(self, targets: Tensor) -> float | None:
        """What the loss within divides by."""
        return normalizer(self.inner, targets)

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """What is added for the parameters, a scalar; None if both factors are 0 and the loss within adds nothing."""
        terms = [self.inner.penalty(parameters) if isinstance(self.inner, Loss) else None]
        if self.l1:
            terms += [self.l1 * parameter.abs().sum() for parameter in parameters.values()]
        if self.l2:
            terms += [self.l2 * parameter.square().sum() for parameter in parameters.values()]
        added = [term for term in terms if term is not None]
        return torch.stack(added).sum() if added else None

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "inner":  # not there yet
                raise
            return getattr(self.inner, name)
