"""Instruments: trackers that runs are written to, what to look at before and while training, and notebooks' pictures.

What the core asks for by name is here, and imported on its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright_instruments.dry_run import tell_dry_run as tell_dry_run
    from labwright_instruments.notebooks.bars import Bar as Bar
    from labwright_instruments.notebooks.bars import RunBar as RunBar
    from labwright_instruments.notebooks.plots import plot as plot
    from labwright_instruments.notebooks.tables import html as html
    from labwright_instruments.terminal import TerminalBar as TerminalBar

_MODULE_OF = {
    "Bar": "notebooks.bars",
    "RunBar": "notebooks.bars",
    "TerminalBar": "terminal",
    "html": "notebooks.tables",
    "plot": "notebooks.plots",
    "tell_dry_run": "dry_run",
}

__all__ = ["Bar", "RunBar", "TerminalBar", "html", "plot", "tell_dry_run"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'labwright_instruments' has no attribute {name!r}")
    return getattr(importlib.import_module(f"labwright_instruments.{_MODULE_OF[name]}"), name)
