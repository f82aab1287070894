"""What several domains share: objectives, data around other data, metrics, and what the core asks for by name.

That is imported on its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright_tasks.overridden import effects as effects

__all__ = ["effects"]


def __getattr__(name: str) -> Any:
    if name != "effects":
        raise AttributeError(f"module 'labwright_tasks' has no attribute {name!r}")
    from importlib import import_module

    return import_module("labwright_tasks.overridden").effects
