"""What a run's report shows of representations: how many directions they fill. N samples, D numbers of a projection."""

from __future__ import annotations

import math

import torch
from labwright import Figure
from matplotlib.figure import Figure as Canvas
from torch import Tensor
from torch.nn import functional

_DOTTED = 40  # directions up to which each has a dot


def deviations(projections_ND: Tensor) -> Tensor:
    """Standard deviations of normalised projections along their principal directions, (D,) float64, the largest first.

    In units of what each would be if they were spread evenly over the sphere: all 1; in a collapse all are near 0.
    """
    directions_ND = functional.normalize(projections_ND.double(), dim=1)
    variances_D = torch.linalg.eigvalsh(torch.cov(directions_ND.T, correction=0).view(2 * directions_ND.shape[1:]))
    deviations_D: Tensor = variances_D.flip(0).clamp(min=0).sqrt() * math.sqrt(directions_ND.shape[1])
    return deviations_D


def directions(projections_ND: Tensor) -> Figure:
    """The deviations, with a line where they would be if all directions were filled alike."""
    deviations_D = deviations(projections_ND)
    canvas = Canvas(figsize=(6.0, 3.2), layout="constrained")
    axes = canvas.subplots()
    axes.axhline(1.0, color="gray", linewidth=1)
    places = range(1, len(deviations_D) + 1)
    axes.plot(places, deviations_D.numpy(), linewidth=1.8, marker="o" if len(places) <= _DOTTED else "", markersize=3)
    axes.set(xlabel="direction, from the widest", ylabel="deviation, 1 is even", ylim=(0, None))
    axes.grid(axis="y", alpha=0.4)
    note = (
        "How far projections are spread in each of their principal directions; at 0 none differ. How the spread and "
        "the accuracy of neighbours went from step to step is among the learning curves."
    )
    return Figure("Directions that projections fill", canvas, note)
