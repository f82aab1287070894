"""What a run's report shows of a generator: its samples beside real ones. N samples, K in a row."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from labwright import Figure, Film
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Circle
from PIL import Image as Picture
from torch import Tensor

from labwright_gan.data.ring import KnownModes
from labwright_gan.pictures import sheet

_WIDE, _PAUSE = 480, 250  # pixels of a film; milliseconds of a frame


def pictures(
    made: list[Tensor], real: list[Tensor], classes: Sequence[str], judged_by: str, best: Mapping[str, float]
) -> Figure:
    """A sheet of generated pictures beside one of real ones: in each a row, (K, C, H, W) in -1..1, for each tensor.

    `classes` names the rows, if they have names; `judged_by` is what FID and KID are of, if they are measured, and
    `best` what training pictures come to.
    """
    rows, columns, side = len(real), max(map(len, made)), made[0].shape[2] + 1  # a pixel lies between two pictures
    canvas = Canvas(figsize=(9, 4.5 * rows / columns + 0.4), layout="constrained")
    for axes, title, drawn in zip(canvas.subplots(1, 2), ("generated", "real"), (made, real), strict=True):
        axes.imshow(sheet(drawn, columns), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([row * side + side / 2 for row in range(rows)] if classes else [], classes, fontsize=8)
        axes.tick_params(length=0)
    notes = ["A row for each class asked for."] if classes else []
    notes += [f"FID and KID are of {judged_by}."] if judged_by else []
    measures = ", ".join(f"{name} {value:.4g}" for name, value in best.items() if "/" not in name)
    notes += [f"Training pictures in the place of generated ones have {measures}."] if measures else []
    return Figure("Samples", canvas, " ".join(notes))


def between(rows: list[Tensor]) -> Figure:
    """Samples on the way from one latent to another, (K, C, H, W) in -1..1 for each way."""
    canvas = Canvas(figsize=(9, 9 * len(rows) / len(rows[0])), layout="constrained")
    axes = canvas.subplots()
    axes.imshow(sheet(rows, len(rows[0])), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    note = "Each row goes from one latent to another along the sphere. Where it jumps, nothing lies between."
    return Figure("From one sample to another", canvas, note)


def film(frames: Mapping[float, Tensor], rows: int) -> Film:
    """Samples of the same latents while the model learned, (N, C, H, W) in -1..1, by the share of the run done."""
    pages = []
    for frame in frames.values():
        page = Picture.fromarray(
            sheet(list(frame.view(-1, rows, *frame.shape[1:]).transpose(0, 1)), len(frame) // rows)
        )
        larger = max(1, _WIDE // page.width)
        pages.append(page.resize((page.width * larger, page.height * larger), Picture.Resampling.NEAREST))
    file = io.BytesIO()
    pages[0].save(file, "GIF", save_all=True, append_images=pages[1:], duration=_PAUSE, loop=0)
    note = "The same latents at each moment, by the weights as they were, not averaged."
    first, second, *_ = frames
    if first > second - first + 1e-9:  # a whole run's first moment is one of its steps away from nothing
        note += f" It begins at {first:.0%} of the run, which was gone on with: checkpoints hold no moments."
    return Film("While it learned", file.getvalue(), note)


def points(made_N2: Tensor, real_N2: Tensor, modes: KnownModes | None) -> Figure:
    """Generated points of the plane beside real ones, and where the data has its modes if it knows them."""
    canvas = Canvas(figsize=(9, 4.6), layout="constrained")
    both = canvas.subplots(1, 2, sharex=True, sharey=True)
    for axes, title, drawn_N2 in zip(both, ("generated", "real"), (made_N2, real_N2), strict=True):
        axes.scatter(drawn_N2[:, 0], drawn_N2[:, 1], s=3, alpha=0.4, linewidths=0)
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal")
        if modes is not None:
            _circles(axes, modes)
    note = "" if modes is None else "Circles are 3 standard deviations about each mode."
    return Figure("Samples", canvas, note)


def _circles(axes: Axes, modes: KnownModes) -> None:
    for x, y in modes.centres.tolist():
        axes.add_patch(Circle((x, y), 3 * modes.sigma, fill=False, linewidth=0.8, color="black"))
