"""A run's model as a file for other programs: `labwright_export.export("runs/digits", "digits-model")` writes ONNX."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright_export.to_onnx import export as export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'labwright_export' has no attribute {name!r}")
    return getattr(importlib.import_module("labwright_export.to_onnx"), name)
