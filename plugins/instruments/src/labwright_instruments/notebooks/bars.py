"""A bar in the output of a notebook's cell.

It is drawn by what IPython itself can show: rich's and tqdm's bars need ipywidgets, and without these they warn, or
write line by line in red. A page that was made of the notebook has the bar as it was drawn last.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from html import escape
from typing import Any

from labwright import Run
from labwright.engine import duration

SECONDS = 0.25  # between two pictures at least


class Bar:
    """How many of a total are done, drawn anew in its place: `bar = Bar(20); bar.draw(3, "best 0.97"); bar.close()`.

    Nothing is drawn but by `draw`, so that nothing goes on if the work breaks.
    """

    def __init__(self, total: int, done: int = 0, text: str = "") -> None:
        self.total, self.done, self.text = total, done, text
        self._drawn = time.monotonic()
        self._shown: Any = importlib.import_module("IPython.display").display(self, display_id=True)

    def draw(self, done: int, text: str = "") -> None:
        """So many are done; at most a few pictures are made a second."""
        self.done, self.text = done, text
        if time.monotonic() - self._drawn >= SECONDS:
            self.close()

    def close(self) -> None:
        """Show the last state."""
        self._drawn = time.monotonic()
        self._shown.update(self)

    def __repr__(self) -> str:
        return f"{self.done:,}/{self.total:,}  {self.text}"

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self.done}" max="{self.total}" style="width: 20em; max-width: 50%"></progress>'
        return (
            f'<div style="font-variant-numeric: tabular-nums; white-space: pre-wrap">{bar} {escape(repr(self))}</div>'
        )


class RunBar:
    """The bar of a run: steps, speed, time left, and what was logged last."""

    def __init__(self, run: Run) -> None:
        self._run, self._first, self._begun = run, run.step, time.monotonic()
        self._values: dict[str, float] = {}
        self._bar = Bar(run.total_steps, run.step)

    def draw(self, values: Mapping[str, float]) -> None:
        self._values |= values
        self._bar.draw(self._run.step, self._text())

    def close(self) -> None:
        self._bar.done, self._bar.text = self._run.step, self._text()
        self._bar.close()

    def _text(self) -> str:
        step, total = self._run.step, self._run.total_steps
        parts = [f"{name} {value:.4g}" for name, value in self._values.items() if name != "steps_per_second"]
        if self._first < step < total:
            each = (time.monotonic() - self._begun) / (step - self._first)
            parts = [f"{1 / each:.4g} steps/s", f"{duration(each * (total - step))} left", *parts]
        return "  ".join(parts)
