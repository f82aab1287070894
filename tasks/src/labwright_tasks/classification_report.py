"""What a run's report shows of a classifier's answers. N samples, C classes or channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from labwright import Batch, Figure, Pictures, Section, Split, Table
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure as Canvas
from torch import Tensor

_WORST = 24
_JOINED = "\u00a0"  # a blank at which no line is broken
_NAMED = 20  # classes up to which a confusion matrix names them and its cells
_PAIRS = 15  # of classes that are taken for one another
_RIGHT, _WRONG = (0.25, 0.5, 0.95), (0.93, 0.42, 0.05)  # seen through which letters can be read on light and on dark

Show = Callable[[tuple[Tensor, ...]], Sequence[str] | Sequence[Tensor]]


def sections(
    probabilities_NC: Tensor,
    labels_N: Tensor,
    names: tuple[str, ...],
    part: Split,
    show: Show,
    reasons: Callable[[Batch, Tensor], Sequence[Section]] | None = None,
) -> list[Section]:
    """A confusion matrix, a table of the classes, and the inputs whose true class was found least probable.

    `probabilities_NC` and `labels_N` are the answers to a part of the data and the truth, in its order; `show` turns
    inputs into what a person sees of them (`Data.show`), or nothing; `reasons`, a batch and the classes given, into
    what these rest on.
    """
    given_N = probabilities_NC.argmax(1)
    confusion = _confusion(labels_N, given_N, len(names))
    shown: list[Section] = [matrix(confusion, names), *confused(confusion, names), _table(confusion, names)]
    of_true_N = probabilities_NC.gather(1, labels_N[:, None])[:, 0]
    wrong = (given_N != labels_N).nonzero()[:, 0]
    worst = wrong[of_true_N[wrong].argsort(stable=True)][:_WORST]
    batch = part.fetch(worst, 0, 0) if len(worst) else None
    inputs = show(batch.inputs) if batch is not None else []
    if inputs:
        given = [f"{names[given_N[n]]}{_JOINED}{probabilities_NC[n, given_N[n]]:.0%}" for n in worst.tolist()]
        true = [f"{names[labels_N[n]]}{_JOINED}{of_true_N[n]:.0%}" for n in worst.tolist()]
        share = f"{len(wrong):,} of {len(labels_N):,} are wrong"
        shown.append(_mistakes(inputs, given, true, f"{share}; of these the true class was found least probable."))
    if reasons and batch is not None:
        shown.extend(reasons(batch, given_N[worst]))
    return shown


def _confusion(labels_N: Tensor, given_N: Tensor, classes: int) -> np.ndarray:
    """Counts (C, C): row the true class, column the given one."""
    counts = torch.bincount(labels_N * classes + given_N, minlength=classes * classes)
    return np.asarray(counts.view(classes, classes))


def matrix(confusion: np.ndarray, names: tuple[str, ...]) -> Figure:
    """Counts (C, C) as cells: what is right and what is wrong in two colours, each on a scale of its own.

    On one scale a few errors would be as pale as none. Up to 20 classes have their names and numbers.
    """
    classes = len(names)
    side = min(9.0, 2.2 + 0.4 * classes)
    canvas = Canvas(figsize=(side, side), layout="constrained")
    axes = canvas.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    worst = float((shares - np.diag(shares.diagonal())).max())
    axes.set(xlabel="given", ylabel="true", aspect="equal", xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    cells = [*zip(*(places.tolist() for places in confusion.nonzero()), strict=True)]
    strengths = [0.1 + 0.6 * shares[cell] / (1 if cell[0] == cell[1] else worst) for cell in cells]
    colours = [(*(_RIGHT if row == column else _WRONG), by) for (row, column), by in zip(cells, strengths, strict=True)]
    corners, told = [_corners(*cell) for cell in cells], [_said(confusion, names, *cell) for cell in cells]
    axes.add_collection(PolyCollection(corners, facecolors=colours, urls=told))
    note = (
        f"Rows are the true classes. Blue is right, by its share of the row; orange is wrong, up to {worst:.1%} of one."
    )
    if classes <= _NAMED:
        axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(classes), names)
        for edge in range(classes + 1):
            axes.axhline(edge - 0.5, color="gray", linewidth=0.5, alpha=0.4)
            axes.axvline(edge - 0.5, color="gray", linewidth=0.5, alpha=0.4)
        for row, column in cells:
            axes.text(column, row, str(confusion[row, column]), ha="center", va="center", fontsize=9)
    else:
        note += f" {classes} classes are too many for names: point at a cell to read it."
    return Figure("Confusion matrix", canvas, note)


def _corners(row: int, column: int) -> list[tuple[float, float]]:
    return [(column + across, row + down) for across, down in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))]


def _said(confusion: np.ndarray, names: tuple[str, ...], row: int, column: int) -> str:
    return f"title:true {names[row]}, given {names[column]}: {confusion[row, column]:,} of {confusion[row].sum():,}"


def confused(confusion: np.ndarray, names: tuple[str, ...]) -> list[Section]:
    """The classes that were most often taken for another, where the matrix has no names."""
    wrong = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(place), len(names)) for place in order if wrong.flat[place]]
    rows: list[tuple[object, ...]] = [
        (names[true], names[given], int(wrong[true, given]), _share(wrong[true, given], confusion[true].sum()))
        for true, given in pairs
    ]
    columns = ("true", "given", "count", "share of the true")
    return [Table("Most confused", columns, rows)] if rows and len(names) > _NAMED else []


def _table(confusion: np.ndarray, names: tuple[str, ...]) -> Table:
    rows: list[tuple[object, ...]] = []
    for label, name in enumerate(names):
        right, given, true = confusion[label, label], confusion[:, label].sum(), confusion[label].sum()
        precision, recall = _share(right, given), _share(right, true)
        rows.append((name, int(true), precision, recall, _share(2 * right, given + true)))
    note = "F1 is the harmonic mean of precision and recall; a hyphen stands where there is nothing to divide by."
    return Table("Classes", ("class", "samples", "precision", "recall", "F1"), rows, note)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "-"


def _mistakes(
    inputs: Sequence[str] | Sequence[Tensor], given: Sequence[str], true: Sequence[str], note: str
) -> Pictures | Table:
    """Inputs as a person sees them, each with the class given and the true one: texts in a table, or pictures."""
    if isinstance(inputs[0], str):
        rows: list[tuple[object, ...]] = list(zip(cast(Sequence[str], inputs), given, true, strict=True))
        return Table("Worst mistakes", ("input", "given", "true"), rows, note)
    captions = [f"{answer}\ntrue: {truth}" for answer, truth in zip(given, true, strict=True)]
    return Pictures(
        "Worst mistakes", [stretched(picture) for picture in cast(Sequence[Tensor], inputs)], captions, note
    )


def stretched(picture_CHW: Tensor) -> Tensor:
    """A picture with values 0..1, its lowest 0 and its highest 1: its own scale isn't known."""
    low, high = picture_CHW.float().aminmax()
    return (picture_CHW - low) / (high - low).clamp(min=1e-12)
