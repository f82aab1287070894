"""Stretches of training as recipes say them, and of time in words, as progress lines and reports do."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from labwright.base.errors import nearest

_STRETCH = r"^[1-9][0-9]* (step|epoch)s?$"


def _stretch(value: Any) -> Any:
    """The value, if it is a stretch. Raises ValueError with what it should be."""
    if re.match(_STRETCH, str(value)):
        return value
    number = (re.search("[1-9][0-9]*", str(value)) or ["2"])[0]
    near = nearest(str(value), (f"{number} steps", f"{number} epochs"), "")
    raise ValueError(f'it should be a number of steps or epochs, such as "500 steps" or "2 epochs"{near}')


Stretch = Annotated[str, BeforeValidator(_stretch), Field(json_schema_extra={"pattern": _STRETCH})]
"""A stretch of training as a recipe says it: "500 steps" or "2 epochs".

Example: `every: lw.Stretch = "1 epoch"`
"""


def in_steps(stretch: str, per_epoch: int) -> int:
    """How many steps "500 steps" or "3 epochs" are, where an epoch has `per_epoch`.

    Example: `lw.in_steps("2 epochs", run.steps_per_epoch)`
    """
    number, _, unit = stretch.partition(" ")
    return int(number) * (per_epoch if unit.startswith("epoch") else 1)


def duration(seconds: float) -> str:
    """A stretch of time in words: 9.3 s, 12 s, 4 min 05 s, 2 h 07 min."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
