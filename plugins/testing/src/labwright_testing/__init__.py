"""The conformance kit, for tests of a plugin: what must hold of everything that a distribution brings.

from labwright_testing import conformance

test_conformance = conformance("labwright-proteins")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright_testing.checks import CHECKS as CHECKS
    from labwright_testing.kit import Check as Check
    from labwright_testing.kit import Finding as Finding
    from labwright_testing.kit import Kit as Kit
    from labwright_testing.kit import NotApplicable as NotApplicable
    from labwright_testing.kit import Subject as Subject
    from labwright_testing.kit import findings as findings
    from labwright_testing.pytest_cases import conformance as conformance
    from labwright_testing.quick_checks import QUICK_CHECKS as QUICK_CHECKS
    from labwright_testing.quick_checks import quick_findings as quick_findings

_NAMES = {
    "checks": ["CHECKS"],
    "kit": ["Check", "Finding", "Kit", "NotApplicable", "Subject", "findings"],
    "pytest_cases": ["conformance"],
    "quick_checks": ["QUICK_CHECKS", "quick_findings"],
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'labwright_testing' has no attribute {name!r}")
    return getattr(importlib.import_module(f"labwright_testing.{_MODULE_OF[name]}"), name)
