"""Floors: what simple rules reach on a split, measured as a model is, by the task's own metrics. N samples."""

from __future__ import annotations

from copy import copy

import torch
from labwright import Task, TensorSplit, evaluate
from torch import Tensor, nn

_AT_ONCE = 1024  # samples


def measured(task: Task, split: str, answers: Tensor, targets: Tensor) -> dict[str, float]:
    """The task's metrics of a split's answers (N, ...), such as logits, that are there already, and its targets."""
    answered = copy(task)  # whose samples are the answers, for a model that passes them on
    answered.part = lambda split, plain=False: TensorSplit((answers,), targets)  # type: ignore[method-assign]  # noqa: ARG005
    return of_model(answered, split, nn.Identity())


def of_model(
    task: Task, split: str, model: nn.Module, *, size: int = _AT_ONCE, most: int | None = None
) -> dict[str, float]:
    """The task's metrics of a simple model, in batches of `size`, `most` of them; none if there is no such split.

    Without their intervals: what a rule reaches is a mark beside the result.
    """
    evaluated = evaluate(task, model, split, device=torch.device("cpu"), size=size, seed=0, most=most, alone=True)
    metrics = {} if evaluated is None else evaluated.metrics
    return {name: value for name, value in metrics.items() if "_95/" not in name}
