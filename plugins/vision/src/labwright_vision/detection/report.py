"""What a run's report shows of detections. K detections, N boxes of a picture, R points of recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from labwright import Data, Figure, Pictures, Section, Split, Table
from torch import Tensor

from labwright_vision.detection.drawing import Found, drawn
from labwright_vision.detection.metrics import Detected, Kind, evaluated, figures
from labwright_vision.detection.overlap import iou, within
from labwright_vision.detection.run_lengths import Runs, decoded

_SHOWN = 12  # pictures
_HALF = 0  # the first of the overlaps .5, .55, ... .95
_RIGHT = 0.5  # the overlap from which on a detection is right


def sections(
    pictures: Sequence[Detected], names: Sequence[str], part: Split, data: Data, score: float
) -> list[Section]:
    """Each class's figures, curves of precision and recall, and the pictures with most mistakes."""
    kinds: dict[str, Kind] = {"": "bbox"}
    if any(picture.masks is not None for picture in pictures):
        kinds["mask "] = "segm"
    counted = {of: evaluated(pictures, names, kind) for of, kind in kinds.items()}
    return [
        _table(pictures, {of: figures(coco, names) for of, coco in counted.items()}, names, score),
        *(_curves(coco, names, of) for of, coco in counted.items()),
        _worst(pictures, names, part, data, score),
    ]


def mistakes(picture: Detected, score: float) -> tuple[int, int, int]:
    """How many detections of at least `score` are right, how many are wrong, and how many boxes are missed.

    The best detection takes the box of its class that it overlaps most, by one half at least. Those that are wrong
    but lie in a crowd of it, by one half at least, count as neither.
    """
    true_N4 = torch.from_numpy(picture.true_boxes)
    free = ~picture.crowd
    count = int(free.sum())
    right = wrong = 0
    chosen = picture.scores >= score
    for box, label in zip(picture.boxes[chosen], picture.labels[chosen], strict=True):
        overlaps_N = iou(torch.from_numpy(box), true_N4).numpy() * (picture.true_labels == label)
        candidates_N = np.where(free, overlaps_N, 0.0)
        if candidates_N.size and candidates_N.max() >= _RIGHT:
            free[candidates_N.argmax()] = False
            right += 1
            continue
        ignored_N = picture.crowd & (picture.true_labels == label)
        if not (within(torch.from_numpy(box), true_N4).numpy()[ignored_N] >= _RIGHT).any():
            wrong += 1
    return right, wrong, count - right


def _table(
    pictures: Sequence[Detected], values: Mapping[str, Mapping[str, Any]], names: Sequence[str], score: float
) -> Table:
    rows: list[tuple[object, ...]] = []
    for label, name in enumerate(names):
        of_class = [picture.only(label) for picture in pictures]
        right, wrong, missed = np.array([mistakes(picture, score) for picture in of_class]).sum(0).tolist()
        cells = [_figure(one[ap][name]) for one in values.values() for ap in ("ap50", "ap")]
        rows.append((name, right + missed, right, wrong, missed, *cells))
    note = (
        f"Right, wrong and missed are boxes, counted at score {score:g} and an overlap of {_RIGHT:g}. AP50 is the "
        "average precision at that overlap, AP the mean of those at .5, .55 to .95; a hyphen stands where there is no "
        "box."
    )
    columns = [f"{of}{ap}" for of in values for ap in ("AP50", "AP")]
    return Table("Classes", ("class", "boxes", "right", "wrong", "missed", *columns), rows, note)


def _curves(coco: Any, names: Sequence[str], of: str) -> Figure:
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(5, 4))
    axes = drawing.add_subplot(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
    precision_RC = coco.eval["precision"][_HALF, :, :, 0, 0]
    for label, name in enumerate(names):
        if (precision_RC[:, label] > -1).all():
            axes.plot(coco.params.recThrs, precision_RC[:, label], label=name)
    if axes.lines:
        axes.legend(loc="lower left")
    what = "masks" if of else "boxes"
    note = (
        f"Of {what} that overlap by {_RIGHT:g}: how many of those found are right, as the score that counts is lowered."
    )
    return Figure(f"Precision and recall{', masks' if of else ''}", drawing, note)


def _worst(pictures: Sequence[Detected], names: Sequence[str], part: Split, data: Data, score: float) -> Pictures:
    counts = [mistakes(picture, score) for picture in pictures]
    order = sorted(range(len(pictures)), key=lambda place: -counts[place][1] - counts[place][2])[:_SHOWN]
    inputs = data.show(part.fetch(torch.tensor(order), 0, 0).inputs)
    images: list[Tensor] = []
    captions: list[str] = []
    for place, shown in zip(order, inputs, strict=True):
        picture, (right, wrong, missed) = pictures[place], counts[place]
        given = zip(picture.boxes, picture.labels, _decoded(picture.masks, picture.labels), picture.scores, strict=True)
        true = zip(
            picture.true_boxes, picture.true_labels, _decoded(picture.true_masks, picture.true_labels), strict=True
        )
        found = [Found(_sides(box), names[label], float(one), mask) for box, label, mask, one in given if one >= score]
        images += [
            drawn(
                torch.as_tensor(shown),
                [Found(_sides(box), names[label], mask=mask) for box, label, mask in true],
                names,
            ),
            drawn(torch.as_tensor(shown), found, names),
        ]
        captions += ["true", f"found: {right} right, {wrong} wrong, {missed} missed"]
    note = f"Those with most mistakes at score {score:g} first; each class has its colour."
    return Pictures("Pictures", images, captions, note)


def _sides(box: np.ndarray) -> tuple[float, float, float, float]:
    left, top, right, bottom = map(float, box)
    return left, top, right, bottom


def _decoded(masks: Sequence[Runs] | None, labels: np.ndarray) -> Sequence[Tensor | None]:
    """The pixels of each mask, (H, W) bool; of each label None where there are none."""
    if masks is None:
        return [None] * len(labels)
    return [*torch.from_numpy(decoded(masks))] if masks else []


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"
