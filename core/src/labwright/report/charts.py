"""Charts in the page's own colours and letters, so that they follow light and dark: their frame, and their SVG.

A figure is drawn with stand-ins for the page's colours (INK, GRID, CARD, SERIES), which `svg` replaces.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MOST_POINTS = 100  # of a line; more are averaged in stretches
LOG_SCALE_FROM = 30.0  # the ratio of the highest to the lowest value from which the scale is logarithmic
SERIES = ("#a10001", "#a10002", "#a10003", "#a10004")  # stand for the page's variables, see `_COLOURS`
INK, GRID, CARD = "#a10005", "#a10006", "#a10007"
_COLOURS = {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)} | {
    INK: "var(--soft)",
    GRID: "var(--line)",
    CARD: "var(--card)",
}
_OF_PAPER = {"#000000": "currentColor", "#ffffff": "var(--card)"}


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


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS points (step, value): means of equally long stretches, each at its stretch's last step."""
    stride = max(-(-len(points) // MOST_POINTS), 1)
    stretches = [points[start : start + stride] for start in range(0, len(points), stride)]
    return [(stretch[-1][0], sum(value for _, value in stretch) / len(stretch)) for stretch in stretches]


def zoomed(values: Sequence[float]) -> tuple[float, float]:
    """Between which values an axis goes: to the ends, but not where a few lie far from the others.

    Far is what is beyond three times the range of the middle half, to either side of it.
    """
    import numpy as np

    low, quarter, three, high = np.quantile(values, (0, 0.25, 0.75, 1)).tolist()
    reach = 3 * (three - quarter) or high - low
    return max(low, quarter - reach), min(high, three + reach)


def counted(axes: Any, name: str, *, most: int = 8, whole: bool = True) -> None:
    """The axis across for what is counted: steps, trials, evaluations; at most so many ticks."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=whole))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.set_xlabel(name, color=INK, fontsize=9)


def epochs(axes: Axes, per_epoch: float) -> None:
    """A second axis across, above, for epochs of so many steps."""
    ways: Any = (lambda step: step / per_epoch, lambda epoch: epoch * per_epoch)
    above = axes.secondary_xaxis("top", functions=ways)
    above.tick_params(length=0, labelsize=9, labelcolor=INK, pad=3)
    above.spines["top"].set_visible(False)
    counted(above, "epoch", most=6, whole=False)


def svg(canvas: Figure, label: str, *, own_colours: bool, paper: bool = False) -> str:
    """A figure as an SVG element for a page; `own_colours` keeps its colours and draws its letters as shapes.

    Of these, black and white become those of the page's letters and cards, unless it stands on `paper`. `label` is read
    out in place of the picture, and keeps the marks of one figure apart from another's. A mark whose `url` is
    `title:TEXT` says the text when one points at it.
    """
    import html

    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path" if own_colours else "none", "svg.hashsalt": label}):
        canvas.savefig(out, format="svg", transparent=not paper, metadata=dict.fromkeys(("Date", "Creator")))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(
        r"<a xlink:href=([\"'])title:(.*?)\1[^>]*>(.*?)</a>", r"<g><title>\2</title>\3</g>", text, flags=re.DOTALL
    )
    width, height = canvas.get_size_inches()
    opening = (
        f'<svg viewBox="0 0 {72 * width:g} {72 * height:g}" role="img" aria-label="{html.escape(label)}" '
        f'fill="{"black" if paper else "currentColor"}" style="--inches: {width:.2f}">'
    )
    text = opening + text.partition(">")[2]
    if paper:
        return text
    for colour, variable in (_OF_PAPER if own_colours else _COLOURS).items():
        text = text.replace(colour, variable)
    return text if own_colours else re.sub(r"font-family: [^;\"]*", "font-family: inherit", text)
