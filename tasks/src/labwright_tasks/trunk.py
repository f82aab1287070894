"""A model as the trunk of another: built as if what it returns were features. B batch, D features."""

from __future__ import annotations

from typing import Any

from labwright import Classes, LabwrightError, Port
from torch import nn


def built_trunk(trunk: Any, inputs: Port, features: int) -> nn.Module:
    """A setting's model for these inputs, which gives so many features: what would be the logits of so many classes."""
    if isinstance(trunk, nn.Module):
        raise LabwrightError(
            f"model.trunk: {type(trunk).__name__} takes no ports, so that it can't be given {features} outputs; its "
            "constructor needs `inputs` and `outputs: Classes`."
        )
    built: nn.Module = trunk(inputs=inputs, outputs=Classes(tuple(map(str, range(features)))))
    return built
