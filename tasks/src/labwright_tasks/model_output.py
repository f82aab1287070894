"""What a model returned, checked: one tensor with a row for each sample."""

from __future__ import annotations

from collections.abc import Mapping

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
