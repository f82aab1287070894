"""Where the conformance kit was in 0.1; it is labwright-testing now: `from labwright_testing import conformance`."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    """A name of labwright_testing. Raises LabwrightError where that isn't installed."""
    if name.startswith("__"):  # what Python itself asks for
        raise AttributeError(f"module 'labwright.testing' has no attribute {name!r}")
    try:
        kit = importlib.import_module("labwright_testing")
    except ModuleNotFoundError as error:
        from labwright.base.errors import LabwrightError

        raise LabwrightError(
            "labwright.testing comes with labwright-testing: pip install labwright[testing]"
        ) from error
    warnings.warn(
        "labwright.testing is labwright_testing since 0.2, and will be gone in 0.3", FutureWarning, stacklevel=2
    )
    return getattr(kit, name)
