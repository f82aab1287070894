"""What a run's report shows of labels for each position. C classes, H height, W width, T tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from labwright import LEFT_OUT, Batch, Data, Figure, Pictures, Section, Table, Text
from torch import Tensor

from labwright_tasks.classification_report import matrix, stretched
from labwright_tasks.coloured_texts import Colour, Word, drawn, tinted
from labwright_tasks.label_pictures import palette
from labwright_tasks.overlap import overlaps

_UNLABELLED = (0.5, 0.5, 0.5)  # of positions that don't count


def sections(confusion_CC: Tensor, names: tuple[str, ...], examples: Batch, given: Tensor, data: Data) -> list[Section]:
    """A confusion matrix in percent, a table of the classes, and examples with the labels given to them."""
    counts = np.asarray(confusion_CC)
    percent = np.rint(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(int)
    drawn = matrix(percent, names)
    figure = replace(drawn, note=f"Numbers are percent of a row's positions. {drawn.note}")
    inputs = data.show(examples.inputs)
    if inputs and given.dim() == 2:
        words = _words(examples, given, data)
        labels = examples.targets[examples.targets != LEFT_OUT]
        usual = int(torch.bincount(labels, minlength=len(names)).argmax())
        colours = _tints(names, usual)
        table = _table(confusion_CC, names, [colours.get(name) for name in names])
        return [figure, table, _coloured_texts(words, names, usual, colours), _texts(words, names, usual)]
    shown: list[Section] = [figure, _table(confusion_CC, names, [_of_one(colour) for colour in palette(len(names))])]
    if inputs and isinstance(inputs[0], Tensor) and given.dim() == 3:
        shown.append(_pictures(cast(Sequence[Tensor], inputs), examples.targets, given, len(names)))
    return shown


def _of_one(colour: tuple[int, int, int]) -> Colour:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _table(confusion_CC: Tensor, names: tuple[str, ...], colours: Sequence[Colour | None]) -> Table:
    figures = zip(
        names, confusion_CC.sum(1).tolist(), confusion_CC.sum(0).tolist(), overlaps(confusion_CC).tolist(), strict=True
    )
    rows: list[tuple[object, ...]] = [
        (name, _hex(colours[label]), true, of_class, "-" if iou != iou else f"{iou:.4f}")
        for label, (name, true, of_class, iou) in enumerate(figures)
    ]
    note = "IoU is right positions over those that are of the class or given it; a hyphen stands where there is none."
    return Table("Classes", ("class", "colour", "positions", "given", "IoU"), rows, note)


def _hex(colour: Colour | None) -> str:
    return "-" if colour is None else "#" + bytes(round(255 * part) for part in colour).hex()


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


def _words(examples: Batch, given_BT: Tensor, data: Data) -> list[list[tuple[str, int, int]]]:
    """Of each example its tokens as they are written, the true label of each, and the one given."""
    found = []
    for ids_T, length, true_T, given_T in zip(
        examples.inputs[0], examples.inputs[1].tolist(), examples.targets.tolist(), given_BT.tolist(), strict=True
    ):
        tokens = cast(Sequence[str], data.show((ids_T[:length, None], torch.ones(length, dtype=torch.int64))))
        found.append([*zip(tokens, true_T, given_T, strict=False)])
    return found


def _tints(names: tuple[str, ...], usual: int) -> dict[str, Colour]:
    """What each class but the usual one is drawn on; B- and I- of a kind have one."""
    others = [name for label, name in enumerate(names) if label != usual]
    kinds = list(dict.fromkeys(map(_kind, others)))
    tints = dict(zip(kinds, (tinted(_of_one(colour)) for colour in palette(len(kinds) + 1)[1:]), strict=True))
    return {name: tints[_kind(name)] for name in others}


def _coloured_texts(
    examples: Sequence[Sequence[tuple[str, int, int]]], names: tuple[str, ...], usual: int, colours: dict[str, Colour]
) -> Figure:
    """Each example with its words on the colours of their classes."""

    def word(token: str, true: int, given: int) -> Word:
        if true == LEFT_OUT or true == given == usual:
            return Word(token)
        label = names[given] if true == given else f"{names[given]}, not {names[true]}"
        return Word(token, colours.get(names[given]), label, true != given)

    canvas = drawn([[word(*one) for one in example] for example in examples])
    note = (
        f"The worst first. A colour is that of what was given; framed is what is wrong, plain what is {names[usual]!r}."
    )
    return Figure("Worst examples in colour", canvas, note, paper=True)


def _kind(name: str) -> str:
    return name[2:] if name[:2] in ("B-", "I-") else name


def _texts(examples: Sequence[Sequence[tuple[str, int, int]]], names: tuple[str, ...], usual: int) -> Text:
    """Each example as a passage in which what isn't of the most frequent class is marked."""
    passages = [" ".join(_marked(*word, usual, names) for word in example) for example in examples]
    note = (
        "The worst first. [word: class] is right, [word: given, not true] is wrong; unmarked are those of class "
        f"{names[usual]!r}."
    )
    return Text("Worst examples", passages, note=note)


def _marked(token: str, true: int, given: int, usual: int, names: tuple[str, ...]) -> str:
    if true == LEFT_OUT or true == given == usual:
        return token
    return f"[{token}: {names[given]}]" if true == given else f"[{token}: {names[given]}, not {names[true]}]"
