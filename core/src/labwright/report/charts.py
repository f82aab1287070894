"""Charts in the page's own colours and letters, so that they follow light and dark: their frame, and their SVG.

A figure is drawn with stand-ins for the page's colours (INK, GRID, CARD, SERIES), which `svg` replaces.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

LOG_SCALE_FROM = 30.0  # the ratio of the highest to the lowest value from which the scale is logarithmic
SERIES = ("#a10001", "#a10002", "#a10003", "#a10004")  # stand for the page's variables, see `_COLOURS`
INK, GRID, CARD = "#a10005", "#a10006", "#a10007"
_COLOURS = {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)} | {
    INK: "var(--soft)",
    GRID: "var(--line)",
    CARD: "var(--card)",
}


def figure(width: float, height: float, *, grid: Literal["x", "y"] = "y") -> tuple[Figure, Axes]:
    """A figure of a size in inches, and its axes in the frame that all charts of a page have.

    Hairlines where values are read, along the axis that `grid` names, a base line, and quiet letters without tick
    marks.
    """
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(width, height), layout="constrained")
    axes = canvas.subplots()
    axes.tick_params(length=0, labelsize=9, labelcolor=INK, pad=6)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set(color=GRID, linewidth=1.2)
    return canvas, axes


def ticks(axis: Axis, low: float, high: float, *, log: bool, text: Callable[[float], str] = "{:.4g}".format) -> None:
    """Few ticks at round values for an axis whose values go from low to high; `text` is what stands at one."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if log:
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high / low < 1e3 else (1.0,), numticks=6))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(float(value))))


def counted(axes: Axes, name: str, *, most: int = 8) -> None:
    """The axis across for what is counted: steps, trials, evaluations; at most so many ticks."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel(name, color=INK, fontsize=9)


def svg(canvas: Figure, label: str, *, own_colours: bool) -> str:
    """A figure as an SVG element for a page; `own_colours` keeps its colours and draws its letters as shapes.

    `label` is read out in place of the picture, and keeps the marks of one figure apart from another's.
    """
    import html

    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path" if own_colours else "none", "svg.hashsalt": label}):
        canvas.savefig(out, format="svg", transparent=not own_colours, metadata=dict.fromkeys(("Date", "Creator")))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    opening = (
        rf'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \1 role="img" '
        rf'aria-label="{html.escape(label)}" style="max-width: {canvas.get_size_inches()[0]:.2f}in">'
    )
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', opening, text, count=1)
    if own_colours:
        return text
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    return re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
