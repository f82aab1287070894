"""The interface of a loss, and what a loss says of itself. B batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from labwright.data.ports import Port


class Loss(nn.Module, ABC):
    """A callable to a scalar, or to named parts of one; what it is called with is the task's contract.

    It reduces over trailing axes, so that a leading axis of trials passes through. `separable` says that the loss of a
    batch is the mean of its micro-batches' losses, weighed by `normalizer`; a loss that compares samples with one
    another isn't, and is refused with `device.accumulate`.

    Example: `class Focal(lw.Loss): ...`
    """

    separable: bool = True

    @abstractmethod
    def forward(self, *arguments: Any, **named: Any) -> Tensor | dict[str, Tensor]: ...

    def prepare(self, outputs: Port) -> None:
        """Take up what is known of the targets once the data is read, such as how often each class occurs."""

    def normalizer(self, targets: Tensor) -> float | None:
        """What the mean over a batch with these targets divides by, such as the sum of its classes' weights.

        None: by what `Task.weight` counts.
        """
        return None

    def penalty(self, parameters: Mapping[str, Tensor]) -> Tensor | None:
        """What is added for the model's parameters themselves, a scalar; None adds nothing."""
        return None


LEFT_OUT = -100
"""The label of a sample or token that doesn't count, as in torch.nn.CrossEntropyLoss.

Example: `labels_BT[padding_BT] = lw.LEFT_OUT`
"""


def separable(criterion: Any) -> bool:
    """Whether a loss says that it may be cut into micro-batches, or says nothing.

    Example: `if not lw.separable(criterion): raise lw.LabwrightError("this task cuts its batches.")`
    """
    return bool(getattr(criterion, "separable", True))


def normalizer(criterion: Any, targets: Tensor) -> float | None:
    """What the mean that a loss takes over a batch divides by; torch's losses over classes included. None: samples.

    Example: `divisor = lw.normalizer(self.loss, targets)`
    """
    if isinstance(criterion, Loss):
        return criterion.normalizer(targets)
    if isinstance(criterion, nn.CrossEntropyLoss | nn.NLLLoss) and targets.dtype == torch.int64:
        counted = targets[targets != criterion.ignore_index]
        if criterion.weight is not None:
            return float(criterion.weight.cpu()[counted].double().sum())
        return len(counted) if len(counted) < targets.numel() else None
    return None
