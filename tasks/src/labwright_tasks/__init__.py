"""Objectives that several domains share, and what else of training they do: metrics, losses, methods, schedules.

What the core asks for by name is here, and imports what it needs when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labwright import LRSchedule


def schedule(name: str) -> LRSchedule:
    """The schedule of a name, where there is no recipe: `AdamW(parameters, schedule="cosine")`.

    Raises LabwrightError for a name that can't be given so.
    """
    from labwright import LabwrightError, nearest

    from labwright_tasks.schedules import PLAIN

    if name not in PLAIN:
        raise LabwrightError(
            f"schedule: given {name!r}{nearest(name, PLAIN)} By its name alone an optimizer takes constant, "
            f'{", ".join(PLAIN)}; any other as an object of its class, lw.Plugins.discover().load("schedule", NAME).'
        )
    return PLAIN[name]()
