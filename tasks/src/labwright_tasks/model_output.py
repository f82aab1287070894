"""What a model returned, checked: one tensor with a row for each sample. V views, B batch, C classes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from labwright import Batch, LabwrightError
from torch import Tensor, nn


def output(model: nn.Module, batch: Batch) -> Tensor:
    """What a model gives for a batch. Raises LabwrightError if it is no tensor."""
    given = model(*batch.inputs)
    if isinstance(given, Tensor):
        return given
    named = f" of {', '.join(map(str, given))}" if isinstance(given, Mapping) else ""
    parts = f" of {len(given)}" if isinstance(given, tuple) else named
    raise LabwrightError(
        f"model {type(model).__name__} returned a {type(given).__name__}{parts}; this task takes one tensor, with a "
        "row for each sample. Return that alone, or wrap the model in a module that does."
    )


def together(views_VBC: Tensor) -> Tensor:
    """Logits (B, C) of the mean probability of several views of each sample; of one view its own."""
    if len(views_VBC) == 1:
        return views_VBC[0]
    exact_VBC = views_VBC.to(torch.promote_types(views_VBC.dtype, torch.float32))
    return exact_VBC.log_softmax(-1).logsumexp(0) - math.log(len(views_VBC))
