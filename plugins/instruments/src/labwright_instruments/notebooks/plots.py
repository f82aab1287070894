"""A run's log, drawn for a notebook. The curves of report.html are the core's."""

from __future__ import annotations

import io

import labwright as lw
from matplotlib.figure import Figure

ACROSS, DOWN = 3, 4  # panels at most
INK = "#808080"  # as far from a white page as from a dark one, of which the figure shows the ground
MARKED = 40  # points up to which each is marked
APART = ("step", "epoch", "split", "seconds", "samples", "steps_per_second")  # columns that aren't drawn


class Shown(Figure):
    """A figure that a notebook shows although pyplot doesn't know it, which would show it a second time."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def plot(run: lw.Loaded) -> Figure:
    """The loss and the metrics over the steps, the goal first, with a line for each split; then the learning rate.

    Raises LabwrightError if nothing was logged.
    """
    rows = run.history()
    named = dict.fromkeys(name for row in rows for name in lw.headlines(row, "") if name not in APART)
    goal = run.task.goal.metric
    names = sorted(named, key=lambda name: (name.split("/")[0] == "lr", name.split("/")[0] != "loss", name != goal))
    if not names:
        raise lw.LabwrightError(f"{run.folder} has logged nothing that could be drawn.")
    names = names[: ACROSS * DOWN]
    across, down = min(len(names), ACROSS), -(-len(names) // ACROSS)
    figure = Shown(figsize=(3.6 * across, 2.6 * down + 0.3), layout="constrained")
    figure.set_facecolor("none")
    figure.suptitle(str(run.folder), fontsize="medium", color=INK)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        for split in dict.fromkeys(row["split"] for row in rows if name in row):
            points = [(row["step"], row[name]) for row in rows if row["split"] == split and name in row]
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, marker="." if len(points) <= MARKED else "", label=split)
        axes.set(facecolor="none")
        axes.set_title(name, color=INK, fontsize="medium")
        axes.set_xlabel("step", color=INK)
        axes.tick_params(colors=INK)
        axes.spines[:].set_color(INK)
        axes.grid(color=INK, alpha=0.25)
        axes.legend(frameon=False, labelcolor=INK)
    for axes in panels[len(names) :]:
        axes.remove()
    return figure
