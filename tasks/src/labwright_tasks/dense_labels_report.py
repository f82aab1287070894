"""What a run's report shows of labels for each position. C classes, H height, W width, T tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from labwright import LEFT_OUT, Batch, Data, Pictures, Section, Table, Text
from torch import Tensor

from labwright_tasks.classification_report import matrix, stretched
from labwright_tasks.label_pictures import palette
from labwright_tasks.overlap import overlaps

_UNLABELLED = (0.5, 0.5, 0.5)  # of positions that don't count


def sections(confusion_CC: Tensor, names: tuple[str, ...], examples: Batch, given: Tensor, data: Data) -> list[Section]:
    """A confusion matrix in percent, a table of the classes, and examples with the labels given to them."""
    counts = np.asarray(confusion_CC)
    percent = np.rint(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(int)
    figure = replace(matrix(percent, names), note="Rows are the true classes, in percent of a row's positions.")
    shown: list[Section] = [figure, _table(confusion_CC, names)]
    inputs = data.show(examples.inputs)
    if inputs and isinstance(inputs[0], Tensor) and given.dim() == 3:
        shown.append(_pictures(cast(Sequence[Tensor], inputs), examples.targets, given, len(names)))
    elif inputs and given.dim() == 2:
        shown.append(_texts(examples, given, names, data))
    return shown


def _table(confusion_CC: Tensor, names: tuple[str, ...]) -> Table:
    colours = palette(len(names))
    figures = zip(
        names, confusion_CC.sum(1).tolist(), confusion_CC.sum(0).tolist(), overlaps(confusion_CC).tolist(), strict=True
    )
    rows: list[tuple[object, ...]] = [
        (name, "#" + bytes(colours[label]).hex(), true, of_class, "-" if iou != iou else f"{iou:.4f}")
        for label, (name, true, of_class, iou) in enumerate(figures)
    ]
    note = "IoU is right positions over those that are of the class or given it; a hyphen stands where there is none."
    return Table("Classes", ("class", "colour", "positions", "given", "IoU"), rows, note)


def _pictures(inputs: Sequence[Tensor], labels_BHW: Tensor, given_BHW: Tensor, classes: int) -> Pictures:
    images: list[Tensor] = []
    captions: list[str] = []
    for picture, true_HW, given_HW in zip(inputs, labels_BHW, given_BHW, strict=True):
        counted = true_HW != LEFT_OUT
        right = int((true_HW == given_HW)[counted].sum()) / max(int(counted.sum()), 1)
        images += [stretched(picture), _coloured(true_HW, classes), _coloured(given_HW, classes)]
        captions += ["picture", "true", f"given: {right:.0%} right"]
    note = "The worst first. Colours are those of the classes above; grey doesn't count."
    return Pictures("Worst examples", images, captions, note)


def _coloured(labels_HW: Tensor, classes: int) -> Tensor:
    colours_C3 = torch.tensor([*palette(classes), [255 * value for value in _UNLABELLED]]) / 255
    return colours_C3[labels_HW.where(labels_HW != LEFT_OUT, classes)].permute(2, 0, 1)


def _texts(examples: Batch, given_BT: Tensor, names: tuple[str, ...], data: Data) -> Text:
    """Each example as a passage in which what isn't of the most frequent class is marked."""
    labels = examples.targets[examples.targets != LEFT_OUT]
    usual = int(torch.bincount(labels, minlength=len(names)).argmax())
    passages = []
    for ids_T, length, true_T, given_T in zip(
        examples.inputs[0], examples.inputs[1].tolist(), examples.targets.tolist(), given_BT.tolist(), strict=True
    ):
        tokens = cast(Sequence[str], data.show((ids_T[:length, None], torch.ones(length, dtype=torch.int64))))
        marked = (_marked(*row, usual, names) for row in zip(tokens, true_T, given_T, strict=False))
        passages.append(" ".join(marked))
    note = (
        "The worst first. [word: class] is right, [word: given, not true] is wrong; unmarked are those of class "
        f"{names[usual]!r}."
    )
    return Text("Worst examples", passages, note=note)


def _marked(token: str, true: int, given: int, usual: int, names: tuple[str, ...]) -> str:
    if true == LEFT_OUT or true == given == usual:
        return token
    return f"[{token}: {names[given]}]" if true == given else f"[{token}: {names[given]}, not {names[true]}]"
