"""The learning rate range test: a few steps with a rate that grows from one to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from labwright import Experiment, LabwrightError, LRSchedule, nearest

from labwright_instruments.workbench import refuse_closed_form

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMOOTHING = 0.9  # of the loss's moving average: over about ten rates, as more would shift the curve to larger ones
DIVERGED = 4.0  # times the lowest smoothed loss: fastai's sign that nothing more is to be learned
_SETTLING = 0.1  # share of the updates in which the average still follows single batches


@dataclass(frozen=True)
class Range:
    """What each update showed: its rate, the loss before it, and that loss smoothed.

    `steepest` is the rate at which the smoothed loss fell fastest over the logarithm of the rate, None where it never
    fell; `lowest` where it was lowest. `diverged` says that the test ended there, before the last rate.
    """

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float | None
    lowest: float
    diverged: bool


def phase_of(experiment: Experiment, phase: str | None) -> tuple[str, int]:
    """The phase whose rate is tried, and once in how many steps it is due.

    Raises LabwrightError where there is no optimizer, several phases and none is named, or none of this name.
    """
    refuse_closed_form(experiment, "find-lr")
    every = {one.name: one.every for one in experiment.task.build().phases() if one.name in experiment.optimizers}
    if not every:
        raise LabwrightError(f"find-lr: {experiment.name} has no optimizer, and so no learning rate to find.")
    if phase is None and len(every) > 1:
        raise LabwrightError(
            f"find-lr: {experiment.name} has the phases {', '.join(every)}, each with a rate of its own. --phase says "
            "whose is tried; the others keep what the recipe gives them."
        )
    name = phase or next(iter(every))
    if name not in every:
        raise LabwrightError(
            f"--phase: there is no phase {name!r}{nearest(name, every)} {experiment.name} has {', '.join(every)}."
        )
    return name, every[name]


def lr_range(trainer: Any, phase: str, low: float, high: float, updates: int) -> Range:
    """Train with a rate that grows by the same factor from update to update (Smith 2017, section 3.3).

    Smith's grows linearly; over many orders of magnitude fastai's exponential growth shows more. The loss is smoothed
    by an exponential moving average with its bias corrected, as there (its 0.98 would look back over half of a hundred
    updates; ours is 0.9). Groups keep their factors on the rate.

    Args:
        trainer: what is trained; it is of no further use.
        phase: whose rate it is.
        low: the first rate.
        high: the last one, unless the loss diverges before.
        updates: how many.
    """
    optimizer = next(one.optimizer for one in trainer.phase_steps if one.name == phase)
    optimizer.lr_schedule, optimizer.warmup = LRSchedule(), 0.0  # what is given is then what is used
    lrs: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    average, diverged = 0.0, False
    for batch in trainer.built.method.feed(trainer):
        optimizer.lr = low * (high / low) ** (len(lrs) / max(updates - 1, 1))
        found = trainer.step(batch)
        if phase not in found:  # not due in this step
            continue
        loss = float(found[phase])
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smooth = average / (1 - SMOOTHING ** (len(losses) + 1))
        lowest = min(smoothed, default=smooth)
        # a loss below zero has no multiples that would be worse
        diverged = not math.isfinite(smooth) or (lowest > 0 and smooth > DIVERGED * lowest)
        if math.isfinite(smooth):
            lrs.append(optimizer.lr)
            losses.append(loss)
            smoothed.append(smooth)
        if diverged or len(lrs) == updates:
            break
    if not lrs:
        raise LabwrightError(f"find-lr: the loss of the first update is {loss}, before any rate could matter.")
    return Range(tuple(lrs), tuple(losses), tuple(smoothed), *_marks(lrs, smoothed), diverged)


def _marks(lrs: Sequence[float], smoothed: Sequence[float]) -> tuple[float | None, float]:
    """The rate of the steepest descent, if there is any, and that of the lowest loss."""
    lowest = int(np.argmin(smoothed))
    first = math.ceil(_SETTLING * len(lrs))
    if lowest - first < 1:
        return None, lrs[lowest]
    slopes = np.gradient(np.asarray(smoothed), np.log(lrs))[first : lowest + 1]
    return (lrs[first + int(np.argmin(slopes))] if slopes.min() < 0 else None), lrs[lowest]


def draw(found: Range, title: str, file: Path) -> None:
    """Write the curve to a picture file. Raises LabwrightError if it can't be written."""
    try:
        _figure(found, title).savefig(file)
    except OSError as error:
        raise LabwrightError(f"can't write {file}: {error.strerror or error}.") from error


def _figure(found: Range, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.lrs, found.losses, color="#b8c4d6", linewidth=1, label="loss of each batch")
    axes.plot(found.lrs, found.smoothed, color="#1f5fbf", linewidth=2, label="smoothed")
    if found.steepest is not None:
        axes.axvline(found.steepest, color="#c0392b", linestyle="--", linewidth=1, label=f"{found.steepest:.2g}")
    axes.set_xscale("log")
    # what diverges would press all that matters into a line
    low, high = min(*found.smoothed, *found.losses), max(found.smoothed[: max(2, len(found.smoothed) // 2)])
    space = 0.25 * (high - low or abs(high) or 1.0)
    axes.set_ylim(low - space, high + space)
    axes.set(title=title, xlabel="learning rate", ylabel="loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
