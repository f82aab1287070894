"""The conformance kit, for tests of a plugin: what must hold of everything that a distribution brings.

from labwright_testing import conformance

test_conformance = conformance("labwright-proteins")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright_testing.checks import CHECKS as CHECKS
    from labwright_testing.pytest_cases import conformance as conformance

_MODULE_OF = {"CHECKS": "checks", "conformance": "pytest_cases"}

__all__ = ["CHECKS", "conformance"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'labwright_testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"labwright_testing.{_MODULE_OF[name]}"), name)
