"""Records compared with their pictures: what can be used of them, with labels for names. N boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from labwright import LabwrightError
from torch import Tensor

from labwright_vision.data.checking import examined
from labwright_vision.data.folders import Found, Tally, plural
from labwright_vision.data.reading import Facts, size_of
from labwright_vision.detection.data.outlines import fault
from labwright_vision.detection.data.records import Record

_BEYOND = 1.0  # pixel: so far a box may reach over a side, by rounding or by counting from 1
_NAMED = 3  # things that are wrong, in a message


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that can be read: its width and height as it is shown, and its boxes in its pixels."""

    path: Found
    name: str
    part: str | None
    size: tuple[int, int]
    boxes: Tensor  # (N, 4)
    labels: Tensor  # (N,)
    crowd: Tensor  # (N,)
    facts: Facts
    outlines: tuple[Any, ...] = ()  # N of them, where masks are asked for

    @property
    def key(self) -> int:
        """Those with the smallest keys are held out; a function of the name alone."""
        return int.from_bytes(hashlib.sha256(self.name.encode("utf-8", "surrogateescape")).digest()[:8])


def checked(
    root: Path, records: Sequence[Record], labels: Mapping[str, int], leave_out: bool, tally: Tally, *, masks: bool
) -> list[Picture]:
    """The pictures that can be read with their boxes, cut off at the sides, and with `masks` their outlines.

    Boxes of other classes than those of `labels` are left out. Raises LabwrightError for two annotations of a picture,
    and for damaged pictures and boxes that can't be, unless they are to be left out.
    """
    seen: set[str] = set()
    for record in records:
        if str(record.path) in seen:
            raise LabwrightError(f"{root}: {record.name!r} is annotated twice; its boxes belong into one annotation.")
        seen.add(str(record.path))
    usable, wrong = [], []
    for record, facts in zip(records, examined(root, [record.path for record in records]), strict=True):
        if facts.problem:
            wrong.append(("picture", f"{record.name}: {facts.problem}"))
            continue
        size = size_of(record.path)
        if record.size is not None and record.size != size:
            wrong.append(
                (
                    "picture",
                    _unlike(record.name, record.size, size),
                )
            )
            continue
        boxes, faults = _boxes(record, size, masks)
        wrong += [("box", fault) for fault in faults]
        usable.append(_labelled(record, size, boxes, labels, facts, masks))
    if wrong and not leave_out:
        few = "; ".join(fault for _, fault in wrong[:_NAMED])
        more = f"; and {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
        raise LabwrightError(
            f"{root}: {len(wrong):,} {plural('thing', len(wrong))} can't be used ({few}{more}). Mend or take them "
            "away, or leave them out: task.data.on_damaged=leave-out."
        )
    for what in ("picture", "box"):
        faults = [fault for kind, fault in wrong if kind == what]
        tally.add(what, "damaged or impossible", faults[0] if faults else "", len(faults))
    return usable


def _boxes(record: Record, size: tuple[int, int], masks: bool) -> tuple[list[tuple[float, ...] | None], list[str]]:
    """Each box in pixels, or None where it can't be, and why."""
    boxes: list[tuple[float, ...] | None] = []
    faults = []
    for place, (box, name) in enumerate(zip(record.boxes, record.classes, strict=True)):
        sides = [side * size[axis % 2] for axis, side in enumerate(box)] if record.relative else [*box]
        left, top, right, bottom = sides
        cut = max(left, 0.0), max(top, 0.0), min(right, size[0]), min(bottom, size[1])
        said = f"{name!r} at {', '.join(f'{side:g}' for side in sides)}"
        if not (right > left and bottom > top):  # also one with a nan
            faults.append(f"{record.name}: {said} is empty")
        elif min(left, top) < -_BEYOND or right > size[0] + _BEYOND or bottom > size[1] + _BEYOND:
            faults.append(f"{record.name}: {said} reaches beyond the picture's {_by(size)}")
        elif not (cut[2] > cut[0] and cut[3] > cut[1]):  # by less than a pixel, but all of it
            faults.append(f"{record.name}: {said} lies beside the picture's {_by(size)}")
        elif masks and (why := fault(record.outlines[place], size)):
            faults.append(f"{record.name}: {said} {why}")
        else:
            boxes.append(cut)
            continue
        boxes.append(None)
    return boxes, faults


def _labelled(
    record: Record,
    size: tuple[int, int],
    boxes: Sequence[tuple[float, ...] | None],
    labels: Mapping[str, int],
    facts: Facts,
    masks: bool,
) -> Picture:
    outlines = record.outlines if masks else [None] * len(boxes)
    columns = zip(boxes, record.classes, record.crowd, outlines, strict=True)
    kept = [(box, labels[name], crowd, outline) for box, name, crowd, outline in columns if box and name in labels]
    return Picture(
        record.path,
        record.name,
        record.part,
        size,
        torch.tensor([box for box, _, _, _ in kept], dtype=torch.float32).view(-1, 4),
        torch.tensor([label for _, label, _, _ in kept], dtype=torch.int64),
        torch.tensor([crowd for _, _, crowd, _ in kept], dtype=torch.bool),
        facts,
        tuple(outline for _, _, _, outline in kept) if masks else (),
    )


def _unlike(name: str, said: tuple[int, int], size: tuple[int, int]) -> str:
    """What to know where an annotation is of another size than the picture as it is shown."""
    turned = (
        ": the camera noted how it was held, and its boxes are those of the file as it lies; save it upright and "
        "annotate it anew"
    )
    return f"{name} is {_by(size)}, its annotation says {_by(said)}{turned if said == size[::-1] else ''}"


def _by(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))
