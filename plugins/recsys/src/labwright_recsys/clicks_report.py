"""What a run's report shows of predicted clicks. N pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from labwright import Figure, IndexedBatches, Section, Table, evaluating
from matplotlib.figure import Figure as Canvas
from torch import Tensor, nn

if TYPE_CHECKING:
    from labwright_recsys.clicks import Clicks

_AT_ONCE = 8192  # pairs the model sees together
_GROUPS = 10
_WORST = 12


def sections(task: Clicks, model: nn.Module, split: str, device: torch.device) -> list[Section]:
    """The sections for one split; none if the data has no such split."""
    part = task.data.split(split)
    if part is None:
        return []
    found = []
    with evaluating(model):
        for batch in IndexedBatches.in_order(part, _AT_ONCE):
            logits_B, clicked_B = task.evaluate(model, batch.to(device))
            found.append((logits_B.float().sigmoid().cpu(), clicked_B.cpu()))
    probability_N, clicked_N = (torch.cat(parts) for parts in zip(*found, strict=True))
    worst = (probability_N - clicked_N).abs().argsort(descending=True, stable=True)[:_WORST]
    data = task.data
    rows: list[tuple[object, ...]] = [
        (
            data.users[int(part.users_N[one])],
            data.titles[int(part.items_N[one])],
            f"{probability_N[one]:.3f}",
            f"{part.ratings_N[one]:g}",
        )
        for one in worst
    ]
    note = f"Rated {task.threshold:g} or higher is a click."
    return [
        _calibration(probability_N, clicked_N),
        Table("Misjudged most", ("user", "item", "probability", "rating"), rows, note),
    ]


def _calibration(probability_N: Tensor, clicked_N: Tensor) -> Figure:
    """Groups of equal size by the probability given: its mean against the share of clicks."""
    groups = probability_N.argsort(stable=True).tensor_split(min(_GROUPS, len(probability_N)))
    given = [float(probability_N[group].mean()) for group in groups]
    clicked = [float(clicked_N[group].mean()) for group in groups]
    canvas = Canvas(figsize=(4.5, 4.5), layout="constrained")
    axes = canvas.subplots()
    axes.axline((0.0, 0.0), slope=1, color="gray", linewidth=1)
    axes.plot(given, clicked, marker="o")
    axes.set(xlabel="probability given", ylabel="share clicked", xlim=(0, 1), ylim=(0, 1))
    return Figure("Probabilities and clicks", canvas, f"{len(groups)} groups of pairs; on the line they agree.")
