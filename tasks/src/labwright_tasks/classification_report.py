"""What a run's report shows of a classifier: figures and tables. N samples, B batch, C classes or channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from labwright import Figure, IndexedBatches, Section, Table, evaluating
from matplotlib.figure import Figure as Canvas
from torch import Tensor, nn

if TYPE_CHECKING:
    from labwright_tasks.classification import Classification

_AT_ONCE = 256  # samples the model sees together
_WORST = 24
_JOINED = "\u00a0"  # a blank at which no line is broken
_NAMED = 30  # classes up to which a confusion matrix names them and its cells


def sections(task: Classification, model: nn.Module, split: str, device: torch.device) -> list[Section]:
    """The sections for one split; none if the data has no such split."""
    part = task.data.split(split)
    if part is None or not len(part):
        return []
    probabilities, labels = _answers(task, model, split, device)
    confusion = _confusion(labels, probabilities.argmax(1), len(task.names))
    found: list[Section] = [_matrix(confusion, task.names), _table(confusion, task.names)]
    given = probabilities.argmax(1)
    of_true = probabilities.gather(1, labels[:, None])[:, 0]
    wrong = (given != labels).nonzero()[:, 0]
    worst = wrong[of_true[wrong].argsort(stable=True)][:_WORST]
    shown = task.data.show(part.fetch(worst, 0, 0).inputs) if len(worst) else []
    if shown:
        verdicts = [
            (
                f"{task.names[given[one]]}{_JOINED}{probabilities[one, given[one]]:.0%}",
                f"{task.names[labels[one]]}{_JOINED}{of_true[one]:.0%}",
            )
            for one in worst.tolist()
        ]
        share = f"{len(wrong):,} of {len(labels):,} are wrong"
        found.append(_mistakes(shown, verdicts, f"{share}; of these the true class was found least probable."))
    return found


def _answers(task: Classification, model: nn.Module, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Probabilities (N, C) and labels (N,) in the order of the split, on the CPU."""
    part = task.data.split(split)
    assert part is not None
    probabilities, labels = [], []
    with evaluating(model):
        for batch in IndexedBatches.in_order(part, _AT_ONCE):
            logits_BC, labels_B = task.evaluate(model, batch.to(device))
            probabilities.append(logits_BC.float().softmax(dim=1).cpu())
            labels.append(labels_B.cpu())
    return torch.cat(probabilities), torch.cat(labels)


def _confusion(labels: Tensor, given: Tensor, classes: int) -> np.ndarray:
    """Counts (C, C): row the true class, column the given one."""
    counts = torch.bincount(labels * classes + given, minlength=classes * classes)
    return np.asarray(counts.view(classes, classes))


def _matrix(confusion: np.ndarray, names: tuple[str, ...]) -> Figure:
    classes = len(names)
    side = min(12.0, 2.5 + 0.4 * classes)
    canvas = Canvas(figsize=(side, side), layout="constrained")
    axes = canvas.subplots()
    rows = confusion.sum(axis=1, keepdims=True)
    axes.imshow(confusion / np.maximum(rows, 1), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="given", ylabel="true")
    if classes <= _NAMED:
        axes.set_xticks(range(classes), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(classes), names)
        for row, column in zip(*confusion.nonzero(), strict=True):
            dark = confusion[row, column] > rows[row, 0] / 2
            text = str(confusion[row, column])
            axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black", fontsize=8)
    return Figure("Confusion matrix", canvas, "Rows are the true classes; a cell's shade is its share of the row.")


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
    shown: Sequence[str] | Sequence[Tensor], verdicts: Sequence[tuple[str, str]], note: str
) -> Figure | Table:
    """Inputs as a report shows them, each with the class given and the true one: texts in a table, or pictures."""
    if isinstance(shown[0], str):
        rows: list[tuple[object, ...]] = [(text, *one) for text, one in zip(shown, verdicts, strict=True)]
        return Table("Worst mistakes", ("input", "given", "true"), rows, note)
    columns = min(8, len(shown))
    rows_needed = -(-len(shown) // columns)
    canvas = Canvas(figsize=(1.5 * columns, 1.9 * rows_needed), layout="constrained")
    grid = canvas.subplots(rows_needed, columns, squeeze=False).flatten()
    for axes in grid:
        axes.set_axis_off()
    for axes, picture, (given, true) in zip(grid, cast(Sequence[Tensor], shown), verdicts, strict=False):
        axes.imshow(_visible(picture), cmap="gray")
        axes.set_title(f"{given}\ntrue: {true}", fontsize=7)
    return Figure("Worst mistakes", canvas, note)


def _visible(picture: Tensor) -> np.ndarray:
    """A scaled picture as values 0..1: (H, W, 3) if it has three channels, else the mean channel, (H, W)."""
    picture = picture.float().cpu()
    low, high = picture.min(), picture.max()
    values = (picture - low) / (high - low).clamp(min=1e-12)
    return np.asarray(values.permute(1, 2, 0) if len(values) == 3 else values.mean(dim=0))
