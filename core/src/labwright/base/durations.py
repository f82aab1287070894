"""Stretches of training as recipes say them, and of time in words, as progress lines and reports do."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Stretch = Annotated[str, Field(pattern=r"^[1-9][0-9]* (step|epoch)s?$")]


def in_steps(stretch: str, per_epoch: int) -> int:
    """How many steps "500 steps" or "3 epochs" are, where an epoch has `per_epoch`."""
    number, _, unit = stretch.partition(" ")
    return int(number) * (per_epoch if unit.startswith("epoch") else 1)


def duration(seconds: float) -> str:
    """A stretch of time in words: 9.3 s, 12 s, 4 min 05 s, 2 h 07 min."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
