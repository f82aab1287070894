"""The user's own pictures and masks, in folders side by side. N samples, C channels, H height, W width."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from labwright import LEFT_OUT, Data, Finding, Image, Input, LabwrightError, LeftOut, Port, listed
from labwright_tasks import other_data
from labwright_tasks.dense_labels import PositionClasses
from labwright_tasks.other_data import Facts, drift
from pydantic import Field
from torch import Tensor

from labwright_vision.data.augment import Affine, Colours, Crop, Flip, Grey, Jitter, Rotate, Scale, Shift
from labwright_vision.data.coco_masks import VOID, CocoMask
from labwright_vision.data.folders import Found, Tally, entries, existing, expanded, pictures
from labwright_vision.data.framing import Fit, Frame
from labwright_vision.data.mask_examples import (
    Example,
    check_two_classes,
    check_values,
    held_out_pairs,
    label_counts,
    seen,
    twice,
)
from labwright_vision.data.mask_pairs import Pair, paired, together
from labwright_vision.data.masked_pictures import InMemory, MaskedPictures, Source, scaled
from labwright_vision.data.masks import ClassTable, check_names, class_rows, class_table, named_rows
from labwright_vision.data.own_pictures import Background, White
from labwright_vision.data.pictures import Share, scaling
from labwright_vision.data.reading import BACKGROUNDS, SUFFIXES, Readable, size_of, upright

_IN_MEMORY = 512 * 2**20  # bytes of pixels and labels; more of them are read when they are asked for
_LABEL_BYTES = 2  # of a pixel
_LOOKED_AT = 64  # pictures whose brightness stands for that of all
_THREADS = 8  # Pillow decodes beside Python
_TABLES = ("classes.txt", "classes.json")
_KEPT = "segmentation_folder.json"


class SegmentationFolder(Data):
    """Pictures of any format Pillow reads and, beside them, masks: PNGs whose pixels say the class of the picture's.

    The folder has images/ and masks/, in which a picture and its mask have the same name up to the ending. It may have
    train/, val/ and test/ with these two in each, or train.zip and so on, or these names within images/ and masks/;
    other names for parts are training, valid, validation, dev and testing. What is held out for a part without a folder
    is chosen by the pictures' names. Frames of one film are no strangers to each other: give those parts of their own.

    A mask's values are classes, also those of a palette. Where masks have colours, classes.txt has NAME RED GREEN BLUE
    in each line, or classes.json {name: [red, green, blue]}. In the place of masks/ a json of COCO's may stand, and its
    whole folder be `folder`, with train2017/ and annotations/instances_train2017.json: smaller objects lie above larger
    ones, crowds don't count, all else is background, and classes are its categories.

    Each picture is read once before a run begins; together with masks, and up to 512 MB, they are kept in memory. Masks
    are resized by their nearest pixel, and measures are those of the resized ones. Values are scaled by the mean and
    deviation of ImageNet. Augmentation moves pictures and masks alike.

    Args:
        folder: folder or zip archive of the pictures and masks.
        height, width: of a picture as the model sees it, in pixels.
        fit: how a picture of another aspect becomes one of that size: within a border that doesn't count, cut to the
            aspect around its middle, or stretched.
        channels: what pictures are converted to: 1 is grey, 3 is RGB.
        classes: names of the classes, in the order of the masks' values. Left out: those of classes.txt in the folder,
            a line for each, or classes.json, a list or {name: value}; without such a file each value is a class.
        void: values of a mask whose pixels don't count; of masks with colours, lines of classes.txt counted from 0.
        mask_suffix: what a mask's name has behind its picture's, before the ending.
    """

    item = Image
    target = PositionClasses
    source = "a folder of yours"
    licence = "yours"
    suffixes = SUFFIXES

    def __init__(
        self,
        *,
        folder: Path,
        height: Annotated[int, Field(ge=4)] = 120,
        width: Annotated[int, Field(ge=4)] = 160,
        fit: Fit = "letterbox",
        channels: Literal[1, 3] = 3,
        classes: list[str] | None = None,
        void: list[Annotated[int, Field(ge=0)]] = [255],  # noqa: B006 - read, never changed
        mask_suffix: str = "",
        background: Background = "white",
        white: White | None = None,
        valid: Share = 0.1,
        test: Share = 0.1,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
        flip: Flip = False,
        crop: Crop = 0.0,
        jitter: Jitter = 0.0,
        grey: Grey = 0.0,
    ) -> None:
        if grey and channels == 1:
            raise LabwrightError("task.data.grey: pictures of one channel are grey as they are; leave it out.")
        self.folder, self.frame, self.channels, self.classes = folder, Frame(height, width, fit), channels, classes
        self.void, self.mask_suffix, self.white, self.background = void, mask_suffix, white, BACKGROUNDS[background]
        self.valid, self.test = valid, test
        self.rotate, self.shift, self.scale, self.flip, self.crop = rotate, shift, scale, flip, crop
        self.jitter, self.grey = jitter, grey
        self.names: tuple[str, ...] = ()
        self.facts: Facts = {}  # of the training pictures
        self.table = ClassTable((), {}, {})
        self._examples: dict[str, list[Example]] = {}
        self._splits: dict[str, MaskedPictures] = {}
        self._left_out: Sequence[LeftOut] = ()
        self._remarks: Sequence[str] = ()

    def prepare(self) -> None:
        root, tally = existing(expanded(self.folder), "task.data.folder"), Tally()
        pairs = paired(root, self.mask_suffix, tally)
        all_seen = iter(seen(root, [pair for part in pairs.values() for pair in part]))
        parts = {name: [next(all_seen) for _ in part] for name, part in pairs.items()}
        rows = named_rows(self.classes, "task.data.classes") if self.classes else _rows(root)
        masks = [pair.mask for part in pairs.values() for pair in part]
        if coco := [mask.categories for mask in masks if isinstance(mask, CocoMask)]:
            if self.classes:
                raise LabwrightError(
                    f"task.data.classes: masks of {root} are COCO's, whose categories are the classes; leave it out."
                )
            rows, self.void = list(coco[0]), [VOID]
            if any(categories != coco[0] for categories in coco):
                raise LabwrightError(f"{root}: its parts have other categories, or the same under other ids.")
        self.table = class_table(rows, self.void, {str(one.pair.mask): one.mask for one in parts["train"]})
        self.names = self.table.names
        check_values([example for part in parts.values() for example in part], self.table, self.void)
        check_two_classes(parts["train"], self.table)
        self._take_up(held_out_pairs(parts, {"test": self.test, "valid": self.valid}))
        self.facts = self._facts_of("train")
        self._left_out, self._remarks = tally.left_out(), [*self._missing(), *twice(self._examples)]

    def on(self, path: Path) -> Self:
        """Pictures and masks in images/ and masks/, or in such folders of parts, which are taken together."""
        other, root, tally = copy(self), existing(expanded(path), "--on"), Tally()
        examples = seen(root, together(root, self.mask_suffix, tally))
        check_names([] if self.classes else _rows(root), self.table, root)
        for rows in {mask.categories[1:] for one in examples if isinstance(mask := one.pair.mask, CocoMask)}:
            check_names(rows, self.table, root)
        check_values(examples, self.table, self.void)
        other._take_up({"test": examples})
        other._left_out = tally.left_out()
        other._remarks = drift(other._facts_of("test"), self.facts, len(examples))
        return other

    def ports(self) -> tuple[Port, Port]:
        height, width = self.frame.height, self.frame.width
        return Image(self.channels, height, width), PositionClasses(self.names, (height, width))

    def split(self, name: str) -> MaskedPictures | None:
        return self._splits.get(name)

    def files(self, folder: Path) -> list[Path]:
        return pictures(folder, Tally())

    def read(self, path: Path) -> Input:
        """The whole picture: within a border, or stretched where `fit` says so."""
        frame = self.frame if self.frame.fit == "stretch" else replace(self.frame, fit="letterbox")
        pixels = torch.from_numpy(self.pixels(path, frame))[None]
        width, height = size_of(path)
        picture = scaled(pixels, *scaling(self.channels))
        return Input((picture,), origin=frame.window(height, width))

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def checks(self) -> Iterator[Finding]:
        """Masks in which nothing counts."""
        empty = [
            (part, index)
            for part, examples in self._examples.items()
            for index, example in enumerate(examples)
            if not label_counts(example, self.table).keys() - {LEFT_OUT}
        ]
        if empty:
            yield Finding("masks", f"{len(empty):,} masks have no pixel that counts.", tuple(empty), wrong=True)

    def identity(self, split: str) -> list[str]:
        meaning = json.dumps([sorted(labels.items()) for labels in (self.table.of_values, self.table.of_colours)])
        files = [f"{one.pair.name} {one.picture.digest} {one.mask.digest}" for one in self._examples[split]]
        return [meaning, *files]

    def place(self, split: str, index: int) -> str:
        return str(self._examples[split][index].pair.picture)

    def save(self, folder: Path) -> None:
        kept = {"classes": self.names, "values": self.table.of_values, "colours": self.table.of_colours}
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        values, colours = ({int(code): label for code, label in kept[key].items()} for key in ("values", "colours"))
        self.names = tuple(kept["classes"])
        self.table = ClassTable(self.names, values, colours)
        self.facts = other_data.kept(folder)

    def pixels(self, path: Readable, frame: Frame) -> np.ndarray:
        """A picture within a frame, whose border is the mean colour: uint8 of shape (C, H, W)."""
        mode, least = "L" if self.channels == 1 else "RGB", (2 * frame.width, 2 * frame.height)
        picture, size = upright(path, mode, least, white=self.white, background=self.background)
        return frame.picture(picture, tuple(round(255 * value) for value in scaling(self.channels)[0]), size)

    def _take_up(self, parts: dict[str, list[Example]]) -> None:
        """Splits of the examples, in memory where they are few."""
        self._examples, self._splits = parts, {}
        mean, deviation = scaling(self.channels)
        each = self.frame.height * self.frame.width * (self.channels + _LABEL_BYTES)
        self.in_memory = each * sum(map(len, parts.values())) <= _IN_MEMORY  # type: ignore[misc]  # of these pictures
        for name, examples in parts.items():
            source: Source = _Files(self, [example.pair for example in examples])
            if self.in_memory:
                source = InMemory(*source(torch.arange(len(examples))))
            augment = self._augment(len(examples)) if name == "train" else ()
            self._splits[name] = MaskedPictures(source, mean, deviation, *augment)

    def _augment(self, length: int) -> tuple[Affine, Colours]:
        mean, deviation = scaling(self.channels)
        return (
            Affine(length, rotate=self.rotate, shift=self.shift, scale=self.scale, flip=self.flip, crop=self.crop),
            Colours(length, jitter=self.jitter, grey=self.grey, mean=mean, deviation=deviation),
        )

    def _facts_of(self, part: str) -> Facts:
        """What the pictures of a part are like: how bright some are, and each class's share of a picture's pixels."""
        examples, split = self._examples[part], self._splits[part]
        some = torch.linspace(0, len(split) - 1, min(len(split), _LOOKED_AT)).round().long()
        bright_B = split.source(some)[0].float().mean((1, 2, 3)) / 255
        counts = [label_counts(example, self.table) for example in examples]
        counted = [max(1, sum(counts_of.values()) - counts_of.get(LEFT_OUT, 0)) for counts_of in counts]
        shares = {
            f"the share of class {name!r}": torch.tensor(
                [of_mask.get(label, 0) / total for of_mask, total in zip(counts, counted, strict=True)]
            )
            for label, name in enumerate(self.names)
        }
        return other_data.facts({"brightness, from 0 to 1,": bright_B} | shares)

    def _missing(self) -> list[str]:
        """A sentence for each part without a pixel of some classes."""
        sentences = []
        for part, examples in self._examples.items():
            labels = {label for example in examples for label in label_counts(example, self.table)}
            lacking = [name for label, name in enumerate(self.names) if label not in labels]
            if lacking:
                sentences.append(f"{part} has no pixel of {listed(lacking)}.")
        return sentences


class _Files:
    """Samples that are read when they are asked for."""

    def __init__(self, data: SegmentationFolder, pairs: Sequence[Pair]) -> None:
        self.data, self.pairs = data, pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __call__(self, indices_B: Tensor) -> tuple[Tensor, Tensor]:
        pairs, frame = [self.pairs[index] for index in indices_B.tolist()], self.data.frame
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            pixels = list(pool.map(lambda pair: self.data.pixels(pair.picture, frame), pairs))
            labels = list(pool.map(lambda pair: frame.labels(self.data.table.labels(pair.mask.pixels())), pairs))
        return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(labels))


def _rows(root: Found) -> list[tuple[str, int, int | None]]:
    """What the file of classes in a folder or archive says; nothing if there is none."""
    inside = [path for path in entries(root) if path.name in _TABLES]
    return class_rows(inside[0].read_bytes().decode("utf-8-sig", "replace"), inside[0]) if inside else []
