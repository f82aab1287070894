"""What a run's report shows of predicted clicks. N pairs."""

from __future__ import annotations

from labwright import Figure, Section, Table
from matplotlib.figure import Figure as Canvas
from torch import Tensor

from labwright_recsys.data.recommendation import Pairs, Recommendation

_GROUPS = 10
_WORST = 12


def sections(
    data: Recommendation, pairs: Pairs, probability_N: Tensor, clicked_N: Tensor, threshold: float
) -> list[Section]:
    """How often pairs were clicked where a probability was given, and the pairs misjudged most."""
    worst = (probability_N - clicked_N).abs().argsort(descending=True, stable=True)[:_WORST]
    rows: list[tuple[object, ...]] = [
        (
            data.users[int(pairs.users_N[pair])],
            data.titles[int(pairs.items_N[pair])],
            f"{probability_N[pair]:.3f}",
            f"{pairs.ratings_N[pair]:g}",
        )
        for pair in worst
    ]
    note = f"Rated {threshold:g} or higher is a click."
    misjudged = Table("Misjudged most", ("user", "item", "probability", "rating"), rows, note)
    return [_calibration(probability_N, clicked_N), misjudged]


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
