"""What a run's report shows of a generator: its samples beside real ones. N samples, K in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from labwright import Figure, Section, Split, evaluating, generator
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Circle
from torch import Tensor, nn

from labwright_gan.data.ring import KnownModes
from labwright_gan.pictures import sheet

if TYPE_CHECKING:
    from labwright_gan.task import Adversarial

_SEED = 32
_ROWS, _COLUMNS = 10, 8  # classes, or rows of any; samples in a row
_POINTS = 2000
_LOOKED_AT = 2000  # real samples among which those of each class are sought


def sections(task: Adversarial, model: nn.Module, split: str, device: torch.device) -> list[Section]:
    """The sections for one split; none if the data has no such split, or points that aren't in the plane."""
    part = task.data.split(split)
    if part is None or not len(part):
        return []
    if task.of_pictures:
        return [_pictures(task, model, part, device)]
    return _points(task, model, part, device)


def _pictures(task: Adversarial, model: nn.Module, part: Split, device: torch.device) -> Figure:
    found = part.fetch(torch.arange(min(len(part), _LOOKED_AT)), 0, 0)
    assert task.scaling is not None
    everything = task.scaling.unit(found.inputs[0])
    classes = task.names[:_ROWS] if task.conditional else ()
    if classes:
        real = [everything[found.targets == label][:_COLUMNS] for label in range(len(classes))]
    else:
        real = list(torch.split(everything[: _ROWS * _COLUMNS], _COLUMNS))
    rows = len(real)
    labels = torch.arange(rows).repeat_interleave(_COLUMNS) if classes else None
    made = list(torch.split(_made(task, model, rows * _COLUMNS, labels, device), _COLUMNS))
    canvas = Canvas(figsize=(9, 4.5 * rows / _COLUMNS + 0.4), layout="constrained")
    for axes, title, pictures in zip(canvas.subplots(1, 2), ("generated", "real"), (made, real), strict=True):
        axes.imshow(sheet(pictures, _COLUMNS), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_xticks([])
        side = everything.shape[2] + 1
        axes.set_yticks([row * side + side / 2 for row in range(rows)] if classes else [], classes, fontsize=8)
        axes.tick_params(length=0)
    about = "" if task.judge is None else f"FID and KID are of {task.judge.about}."
    return Figure("Samples", canvas, f"{'A row for each class asked for. ' if classes else ''}{about}")


def _points(task: Adversarial, model: nn.Module, part: Split, device: torch.device) -> list[Section]:
    found = part.fetch(torch.arange(min(len(part), _POINTS)), 0, 0)
    real = found.inputs[0]
    if real.shape[1:] != (2,):
        return []
    made = _made(task, model, len(real), found.targets if task.conditional else None, device)
    canvas = Canvas(figsize=(9, 4.6), layout="constrained")
    for axes, title, points in zip(
        canvas.subplots(1, 2, sharex=True, sharey=True), ("generated", "real"), (made, real), strict=True
    ):
        axes.scatter(points[:, 0], points[:, 1], s=3, alpha=0.4, linewidths=0)
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal")
        if isinstance(task.data, KnownModes):
            _circles(axes, task.data)
    note = "Circles are 3 standard deviations about each mode." if isinstance(task.data, KnownModes) else ""
    return [Figure("Samples", canvas, note)]


def _circles(axes: Axes, data: KnownModes) -> None:
    for x, y in data.centres.tolist():
        axes.add_patch(Circle((x, y), 3 * data.sigma, fill=False, linewidth=0.8, color="black"))


def _made(task: Adversarial, model: nn.Module, count: int, labels: Tensor | None, device: torch.device) -> Tensor:
    """Generated samples on the CPU, the same at each call."""
    latents = torch.randn(count, task.latent, generator=generator(_SEED)).to(device)
    arguments = (latents,) if labels is None else (latents, labels.to(device))
    with evaluating(model):
        made: Tensor = model(*arguments)
    return made.float().cpu()
