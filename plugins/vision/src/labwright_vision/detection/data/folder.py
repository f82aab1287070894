"""The user's own pictures with boxes, in any of the usual layouts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal, Self

import numpy as np
import torch
from labwright import Data, Image, LabwrightError, LeftOut, Port, listed, located
from pydantic import Field
from torch import Tensor

from labwright_vision.data.augment import Colours, Jitter
from labwright_vision.data.folders import Tally, expanded, plural
from labwright_vision.data.folders import pictures as files_of_pictures
from labwright_vision.data.pictures import Share, held_out, scaling
from labwright_vision.data.reading import SUFFIXES
from labwright_vision.data.seen import twice
from labwright_vision.detection.data import coco, lines, voc, yolo
from labwright_vision.detection.data.augment import Flip, Mosaic, Sample, Scale, Turn, Zoom
from labwright_vision.detection.data.checked import Picture, checked
from labwright_vision.detection.data.letterbox import Letterbox
from labwright_vision.detection.data.outlines import drawn
from labwright_vision.detection.data.records import Annotations, Pictures, part_of
from labwright_vision.detection.data.shapes import read_input
from labwright_vision.detection.data.split import BoxSplit, shown
from labwright_vision.detection.ports import Boxes, Instances
from labwright_vision.detection.run_lengths import Runs, decoded, encoded

_LAYOUTS = {"coco": coco, "voc": voc, "yolo": yolo, "jsonl": lines}
_KEPT = "detection_folder.json"
_NOTHING = torch.empty(0)
_IN_MEMORY = 1 << 30  # bytes of decoded pictures that a part may keep


class DetectionFolder(Data):
    """Pictures with boxes: COCO's JSON, Pascal VOC's XML, YOLO's text files, or JSON Lines, found by what is there.

    Layouts are `coco`, JSON files with images, annotations and categories; `voc`, an XML file for each picture; `yolo`,
    classes.txt and a text file for each; `jsonl`, a line for each picture with `file`, `boxes` (left, top, right,
    bottom), `labels` and perhaps `split`.

    Parts are those that the names of files and folders tell, `instances_val2017.json` or `train/`, VOC's lists, or
    `split`, and where annotations tell none the folders above the pictures; what is held out for one that isn't told is
    chosen by the pictures' names. Pictures without boxes are kept: there is nothing to be found in them. Crowds, and
    what VOC calls difficult, are neither right nor wrong.

    Every picture is decoded once before a run begins, and turned upright where the camera noted how it was held. It is
    fitted whole into what the model sees, grey beside it; decoded parts of up to a gigabyte are kept in memory.

    Args:
        folder: folder with the annotations and the pictures somewhere below it; pictures may lie in zip archives, where
            they are read.
        layout: which annotations are meant where there are several; "auto": those there are.
        height, width: of a picture as the model sees it, in pixels.
        channels: what pictures are converted to: 1 is grey, 3 is RGB.
        masks: whether each box has the mask of its object as well, from the segmentations of COCO's layout: polygons,
            and run lengths, drawn as pycocotools draws them.
        on_damaged: what to do with pictures that can't be read or whose size isn't what is said of them, and with boxes
            that are empty or reach beyond the picture by more than a pixel.
    """

    item = Image
    target = Boxes
    source = "a folder of yours"
    licence = "yours"
    suffixes = SUFFIXES
    in_memory = False

    def __init__(
        self,
        *,
        folder: Path,
        layout: Literal["auto", "coco", "voc", "yolo", "jsonl"] = "auto",
        height: Annotated[int, Field(ge=32)] = 320,
        width: Annotated[int, Field(ge=32)] = 320,
        channels: Literal[1, 3] = 3,
        masks: bool = False,
        on_damaged: Literal["refuse", "leave-out"] = "refuse",
        valid: Share = 0.1,
        test: Share = 0.1,
        scale: Scale = 0.0,
        flip: Flip = False,
        turn: Turn = False,
        mosaic: Mosaic = 0.0,
        jitter: Jitter = 0.0,
    ) -> None:
        self.folder, self.layout, self.on_damaged = folder, layout, on_damaged
        self.height, self.width, self.channels, self.masks = height, width, channels, masks
        self.shares = {"valid": valid, "test": test}
        self.zoom, self.jitter = Zoom(scale, flip, turn, mosaic), jitter
        self.names: tuple[str, ...] = ()
        self._parts: dict[str, list[Picture]] = {}
        self._splits: dict[str, BoxSplit] = {}
        self._left_out: Sequence[LeftOut] = ()

    def prepare(self) -> None:
        root, tally = _existing(expanded(self.folder), "task.data.folder"), Tally()
        found = self._annotations(root, tally)
        if not any(record.boxes for record in found.records):
            raise LabwrightError(f"{root}: no picture has a box: there is nothing to be found.")
        self.names = found.names
        labels = {name: label for label, name in enumerate(self.names)}
        usable = checked(root, found.records, labels, self.on_damaged == "leave-out", tally, masks=self.masks)
        self._parts = self._held_out(root, usable)
        if not any(len(picture.boxes) for picture in self._parts["train"]):
            raise LabwrightError(f"{root}: no training picture has a box: there is nothing to learn.")
        self._splits = {name: self._split(part, name == "train") for name, part in self._parts.items()}
        self._left_out = tally.left_out()

    def on(self, path: Path) -> Self:
        """Annotated pictures in any of the layouts, all parts together."""
        other, root, tally = copy(self), _existing(expanded(path), "--on"), Tally()
        found = self._annotations(root, tally)
        labels = {name: label for label, name in enumerate(self.names)}
        for name in {name for record in found.records for name in record.classes} - labels.keys():
            count = sum(record.classes.count(name) for record in found.records)
            tally.add("box", f"of class {name!r}, which isn't known", count=count)
        part = checked(root, found.records, labels, self.on_damaged == "leave-out", tally, masks=self.masks)
        if not part:
            raise LabwrightError(f"{root}: no picture of it can be used.")
        other._parts, other._splits = {"test": part}, {"test": self._split(part, False)}
        other._left_out = tally.left_out()
        return other

    def ports(self) -> tuple[Port, Port]:
        boxes = Instances(self.names) if self.masks else Boxes(self.names)
        return Image(self.channels, self.height, self.width), boxes

    def split(self, name: str) -> BoxSplit | None:
        return self._splits.get(name)

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        """How many boxes of each class there are in each part, which can't be learned, and copies between parts."""
        sentences = []
        for part, pictures in self._parts.items():
            some = ", ".join(f"{count:,} {name}" for name, count in zip(self.names, self._counts(part), strict=True))
            empty = sum(not len(picture.boxes) for picture in pictures)
            sentences.append(f"{part} has boxes of {some}; {empty:,} {plural('picture', empty)} without any.")
        if "train" in self._parts:
            sentences += twice(self._parts)
        counts = self._counts("train") if "train" in self._parts else [1] * len(self.names)
        lacking = [name for name, count in zip(self.names, counts, strict=True) if not count]
        return sentences + ([f"train has no box of {listed(lacking)}: it can't be learned."] if lacking else [])

    def identity(self, split: str) -> Iterator[str]:
        for picture in self._parts[split]:
            columns = f"{picture.boxes.tolist()} {picture.labels.tolist()} {picture.crowd.tolist()}"
            outlines = f" {json.dumps(picture.outlines)}" if self.masks else ""
            yield f"{picture.name} {picture.facts.digest} {columns}{outlines}"

    def place(self, split: str, index: int) -> str:
        return str(self._parts[split][index].path)

    def files(self, folder: Path) -> list[Path]:
        return files_of_pictures(folder, Tally())

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return read_input(path, self._letterbox)

    def show(self, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        return shown(inputs[0])

    def save(self, folder: Path) -> None:
        kept = {"classes": self.names, "masks": self.masks}
        kept |= {"height": self.height, "width": self.width, "channels": self.channels}
        (folder / _KEPT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        kept = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self.names, self.channels = tuple(kept["classes"]), kept["channels"]
        self.height, self.width, self.masks = kept["height"], kept["width"], kept.get("masks", False)

    @property
    def _letterbox(self) -> Letterbox:
        return Letterbox(self.height, self.width, self.channels)

    def _annotations(self, root: Path, tally: Tally) -> Annotations:
        """What the one layout that is there tells. Raises LabwrightError where there is none, or several."""
        asked: dict[str, ModuleType] = _LAYOUTS if self.layout == "auto" else {self.layout: _LAYOUTS[self.layout]}
        there = {name: files for name, layout in asked.items() if (files := layout.files(root))}
        if not there:
            raise LabwrightError(
                f"{root} has no annotations of layout {listed(asked)}: COCO's are *.json, VOC's *.xml, YOLO's "
                "classes.txt with a text file for each picture, JSON Lines *.jsonl or *.jsonl.gz."
            )
        if len(there) > 1:
            raise LabwrightError(f"{root} has annotations of several layouts: set task.data.layout to {listed(there)}.")
        ((name, files),) = there.items()
        if self.masks and name != "coco":
            raise LabwrightError(
                f"task.data.masks: annotations of layout {name!r} have boxes alone, and {root} has these; COCO's JSON "
                "has segmentations. Leave masks out, or bring them as COCO has them."
            )
        found: Annotations = _LAYOUTS[name].read(files, Pictures(root))
        for passed in found.passed:
            tally.add(passed.what, passed.why, next(iter(passed.names), ""), len(passed.names))
        return found

    def _held_out(self, root: Path, pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
        parts: dict[str, list[Picture]] = {}
        for picture in pictures:
            parts.setdefault(picture.part or part_of(picture.path, root) or "train", []).append(picture)
        rest, left = parts.get("train", []), 1.0
        if not rest:
            raise LabwrightError(f"{root} has no training pictures; its parts are {listed(parts)}.")
        for name in ("test", "valid"):
            share = self.shares[name]
            if name in parts or not share:
                continue
            if share >= left:
                raise LabwrightError(f"task.data: valid and test leave nothing to learn from, given {self.shares}.")
            mask = held_out([0] * len(rest), share / left, [picture.key for picture in rest])
            parts[name] = [picture for picture, out in zip(rest, mask, strict=True) if out]
            rest = [picture for picture, out in zip(rest, mask, strict=True) if not out]
            left -= share
            if not parts[name]:
                raise LabwrightError(
                    f"{root} has so few pictures that {share} of them is none: raise task.data.{name}, or set it to 0."
                )
        return {"train": rest, **{name: parts[name] for name in ("valid", "test") if name in parts}}

    def _split(self, part: Sequence[Picture], training: bool) -> BoxSplit:
        zoom = self.zoom if training else None
        mean, deviation = scaling(self.channels)
        colours = Colours(len(part), jitter=self.jitter, grey=0.0, mean=mean, deviation=deviation)
        source = _Decoded(part, self._letterbox, self.masks)
        return BoxSplit(source, len(part), zoom, colours if training else None, source.known)

    def _counts(self, part: str) -> list[int]:
        labels = torch.cat([picture.labels for picture in self._parts[part]])
        return labels.bincount(minlength=len(self.names)).tolist()


class _Decoded:
    """The pictures of a part as samples, decoded when they are asked for and, if all of them fit, kept."""

    def __init__(self, part: Sequence[Picture], letterbox: Letterbox, masks: bool) -> None:
        self.part, self.letterbox, self.masks = part, letterbox, masks
        self.keeps = len(part) * letterbox.channels * letterbox.height * letterbox.width <= _IN_MEMORY
        self._kept: dict[int, tuple[Tensor, list[Runs]]] = {}

    def __call__(self, index: int) -> Sample:
        pixels, coded = self._kept.get(index) or self._decoded(self.part[index])
        if self.keeps:
            self._kept[index] = pixels, coded
        return replace(self.known(index), pixels=pixels, masks=self._masks(coded) if self.masks else None)

    def known(self, index: int) -> Sample:
        """What is known without decoding: the boxes."""
        picture = self.part[index]
        boxes_N4 = self.letterbox.boxes(picture.boxes, picture.size)
        return Sample(_NOTHING, boxes_N4, picture.labels, picture.crowd)

    def _decoded(self, picture: Picture) -> tuple[Tensor, list[Runs]]:
        """The pixels, and its masks as run lengths, which are small."""
        pixels = torch.from_numpy(self.letterbox.read(picture.path)[0].copy())
        masks = [self.letterbox.mask(drawn(outline, picture.size)) for outline in picture.outlines]
        return pixels, encoded(np.stack(masks)) if masks else []

    def _masks(self, coded: Sequence[Runs]) -> Tensor:
        if not coded:
            return torch.zeros(0, self.letterbox.height, self.letterbox.width, dtype=torch.bool)
        return torch.from_numpy(decoded(coded))


def _existing(root: Path, setting: str) -> Path:
    try:
        exists = root.is_dir()
    except OSError as error:  # a name too long, a folder above that may not be entered
        raise LabwrightError(f"{setting}: {str(root)!r} can't be read: {error.strerror}.") from error
    if not exists:
        raise LabwrightError(f"{setting}: there is no folder {located(root)}.")
    return root
