"""What several domains share: objectives, data around other data, metrics, losses, methods, schedules.

What the core asks for by name is imported on its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright_tasks.overridden import effects as effects
    from labwright_tasks.schedules import schedule as schedule

_MODULE_OF = {"effects": "overridden", "schedule": "schedules"}

__all__ = ["effects", "schedule"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'labwright_tasks' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"labwright_tasks.{_MODULE_OF[name]}"), name)
