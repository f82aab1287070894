"""What a run's report shows of a regression. N samples, D numbers each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from labwright import Figure, IndexedBatches, Section, Table, evaluating
from matplotlib.figure import Figure as Canvas
from torch import Tensor, nn

if TYPE_CHECKING:
    from labwright_tasks.regression import Regression

_AT_ONCE = 256  # samples the model sees together
_SHOWN = 6  # outputs that get a picture of their own
_WORST = 12


def sections(task: Regression, model: nn.Module, split: str, device: torch.device) -> list[Section]:
    """The sections for one split; none if the data has no such split."""
    part = task.data.split(split)
    if part is None or not len(part):
        return []
    predictions, targets = [], []
    with evaluating(model):
        for batch in IndexedBatches.in_order(part, _AT_ONCE):
            predicted_BD, target_BD = task.evaluate(model, batch.to(device))
            predictions.append(predicted_BD.float().cpu())
            targets.append(target_BD.cpu())
    predicted, true = torch.cat(predictions), torch.cat(targets)
    return [_scatter(predicted, true), _worst(predicted, true)]


def _scatter(predicted: Tensor, true: Tensor) -> Figure:
    shown = min(true.shape[1], _SHOWN)
    columns = min(shown, 3)
    rows = -(-shown // columns)
    canvas = Canvas(figsize=(4 * columns, 4 * rows), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[shown:]:
        axes.set_axis_off()
    for number, axes in enumerate(grid[:shown]):
        across, up = true[:, number].numpy(), predicted[:, number].numpy()
        axes.scatter(across, up, s=8, alpha=0.5)
        axes.axline((float(across[0]), float(across[0])), slope=1, color="gray", linewidth=1)
        axes.set(xlabel="true", ylabel="predicted", title=f"output {number}" if shown > 1 else "")
    return Figure("Predicted against true", canvas, "On the line a prediction is exact.")


def _worst(predicted: Tensor, true: Tensor) -> Table:
    off_N = (predicted - true).square().mean(dim=1).sqrt()
    rows: list[tuple[object, ...]] = [
        (index, _numbers(true[index]), _numbers(predicted[index]), f"{off_N[index]:.4g}")
        for index in off_N.argsort(descending=True, stable=True)[:_WORST].tolist()
    ]
    note = "Counted from 0 in the order of the split."
    return Table("Furthest off", ("sample", "true", "predicted", "root mean squared error"), rows, note)


def _numbers(values_D: Tensor) -> str:
    return ", ".join(f"{value:.4g}" for value in values_D[:_SHOWN].tolist())
