"""Sections that a task adds to report.html."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.figure


@dataclass(frozen=True)
class Figure:
    """A section with a picture: a matplotlib Figure made without pyplot, drawn for white paper."""

    title: str
    figure: matplotlib.figure.Figure
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A section with rows; each row has one cell for each column."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    note: str = ""


Section = Figure | Table
