"""What a run's report shows of a regression: predictions and what was true. N samples, D numbers each."""

from __future__ import annotations

from labwright import Figure, Section, Table
from matplotlib.figure import Figure as Canvas
from torch import Tensor

_SHOWN = 6  # outputs that get a picture of their own
_WORST = 12


def sections(predicted_ND: Tensor, true_ND: Tensor) -> list[Section]:
    """Predicted against true values, an output each, and the samples that are furthest off."""
    return [_scatter(predicted_ND, true_ND), _worst(predicted_ND, true_ND)]


def _scatter(predicted_ND: Tensor, true_ND: Tensor) -> Figure:
    shown = min(true_ND.shape[1], _SHOWN)
    columns = min(shown, 3)
    rows = -(-shown // columns)
    canvas = Canvas(figsize=(4 * columns, 4 * rows), layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[shown:]:
        axes.set_axis_off()
    for number, axes in enumerate(grid[:shown]):
        across, up = true_ND[:, number].numpy(), predicted_ND[:, number].numpy()
        axes.scatter(across, up, s=8, alpha=0.5)
        axes.axline((float(across[0]), float(across[0])), slope=1, color="gray", linewidth=1)
        axes.set(xlabel="true", ylabel="predicted", title=f"output {number}" if shown > 1 else "")
    return Figure("Predicted against true", canvas, "On the line a prediction is exact.")


def _worst(predicted_ND: Tensor, true_ND: Tensor) -> Table:
    off_N = (predicted_ND - true_ND).square().mean(dim=1).sqrt()
    rows: list[tuple[object, ...]] = [
        (index, _numbers(true_ND[index]), _numbers(predicted_ND[index]), f"{off_N[index]:.4g}")
        for index in off_N.argsort(descending=True, stable=True)[:_WORST].tolist()
    ]
    note = "Counted from 0 in the order of the split."
    return Table("Furthest off", ("sample", "true", "predicted", "root mean squared error"), rows, note)


def _numbers(values_D: Tensor) -> str:
    return ", ".join(f"{value:.4g}" for value in values_D[:_SHOWN].tolist())
