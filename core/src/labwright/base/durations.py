"""Stretches of time in words, as progress lines and reports say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A stretch of time in words: 9.3 s, 12 s, 4 min 05 s, 2 h 07 min."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
